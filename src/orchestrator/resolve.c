#include "orchestrator/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/object_id.h"
#include "base/str.h"
#include "orchestrator/internal.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

enum { RESOLVE_TIMEOUT_MS = 10000, REMOTE_RESOLVE_TIMEOUT_MS = 20000 };

struct git_job *resolve_start(struct orchestrator *o, const char *repo, uint32_t uid,
                              const char *base, const char *branch, git_done_fn *done, void *arg,
                              struct err *err)
{
    struct git_job *job = NULL;
    struct repo_request request;
    int64_t timeout_ms = repo_is_remote(repo) ? REMOTE_RESOLVE_TIMEOUT_MS : RESOLVE_TIMEOUT_MS;
    if (repo_request_open(&request, o, "resolve", repo, uid, timeout_ms, err) == 0) {
        if (base)
            repo_request_add(&request, "--base", base);
        if (branch)
            repo_request_add(&request, "--branch", branch);
        job = git_start(o->git, &request.git, done, arg, err);
    }
    repo_request_close(&request);
    return job;
}

void resolved_release(struct resolved *resolved)
{
    free(resolved->path);
    free(resolved->base);
    free(resolved->commit);
    *resolved = (struct resolved){0};
}

/* What git's refusal is to the submitter. */
static int refusal(const struct git_result *result, struct err *err)
{
    static const int codes[] = {
        [GIT_EXIT_REFUSED] = ERR_REFUSED,       [GIT_EXIT_USAGE] = ERR_USAGE,
        [GIT_EXIT_NOT_FOUND] = ERR_NOT_FOUND,   [GIT_EXIT_BRANCH_EXISTS] = ERR_REFUSED,
        [GIT_EXIT_UNREACHABLE] = -EHOSTUNREACH, [GIT_EXIT_DENIED] = -EACCES};
    bool known = result->status > 0 && result->status <= GIT_EXIT_DENIED;
    return err_set(err, known ? codes[result->status] : -EIO, "%s", result->message);
}

int resolve_read(const struct git_result *result, struct resolved *out, struct err *err)
{
    *out = (struct resolved){0};
    if (result->status != GIT_EXIT_DONE)
        return refusal(result, err);
    AUTO_FREE char *copy = str_dup(result->output);
    /* Lines of a key, a space and a value. */
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = '\0';
        char **field = !strcmp(line, "path")     ? &out->path
                       : !strcmp(line, "base")   ? &out->base
                       : !strcmp(line, "commit") ? &out->commit
                                                 : NULL;
        if (field) {
            free(*field);
            *field = str_dup(value);
        } else if (!strcmp(line, "branch_exists")) {
            out->branch_exists = !strcmp(value, "yes");
        }
    }
    if (!out->base || !*out->base || !out->commit || !object_id_valid(out->commit))
        return err_set(err, ERR_PROTOCOL, "codex-git did not tell the base commit");
    return 0;
}
