#include "cli/unpushed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/git.h"
#include "cli/words.h"

enum { BOUNDARIES_MAX = 32 };

void unpushed_free(struct unpushed *unpushed)
{
    if (unpushed)
        buf_release(&unpushed->bundle);
    free(unpushed);
}

/* Where the commits that origin lacks end: the ids in LIST that have a '-' before them. The others
 * are counted. */
static size_t find_boundaries(char *list, const char *boundaries[BOUNDARIES_MAX], size_t *count)
{
    size_t found = 0;
    for (char *line; (line = strsep(&list, "\n")) && *line;) {
        if (*line != '-')
            ++*count;
        else if (found < BOUNDARIES_MAX && object_id_valid(line + 1))
            boundaries[found++] = line + 1;
    }
    return found;
}

/* The newest commit below COMMIT that origin has. */
static int find_known(const char *top, struct unpushed *unpushed, struct err *err)
{
    const char *const args[] = {"rev-list", "--boundary",       unpushed->commit,
                                "--not",    "--remotes=origin", NULL};
    const char *newest[BOUNDARIES_MAX + 8] = {"rev-list", "--max-count=1", "--topo-order"};
    const char *boundaries[BOUNDARIES_MAX];
    AUTO_FREE char *known = NULL;
    AUTO_BUF struct buf list;
    buf_init(&list, GIT_OUTPUT_MAX);
    int status = git_run(top, args, -1, &list, NULL, err);
    if (status < 0)
        return status;
    size_t found = find_boundaries(list.data, boundaries, &unpushed->count);
    memcpy(newest + 3, boundaries, found * sizeof boundaries[0]);
    status = found ? git_line(top, newest, &known, err) : 1;
    if (status < 0)
        return status;
    char digits[8];
    short_commit(unpushed->commit, digits);
    if (status || !known || !object_id_valid(known))
        return err_set(err, ERR_REFUSED,
                       "origin has nothing of the history of commit %s (as of the last 'git "
                       "fetch'): push it, or work on this checkout alone with --repo .",
                       digits);
    memcpy(unpushed->known, known, OBJECT_ID_SIZE);
    return 0;
}

/* The header is that of docs/protocols.md's work bundles. */
static int make_bundle(const char *top, struct unpushed *unpushed, struct err *err)
{
    static const char *const args[] = {
        "pack-objects", "--quiet", "--revs", "--stdout", "--thin", "--delta-base-offset", NULL};
    AUTO_FREE char *revisions = str_format("%s\n^%s\n", unpushed->commit, unpushed->known);
    AUTO_FD int input = io_memfd("revisions", revisions, strlen(revisions), err);
    if (input < 0)
        return input;
    buf_appendf(&unpushed->bundle, "# v2 git bundle\n-%s\n%s refs/codex/work\n\n", unpushed->known,
                unpushed->commit);
    int status = git_run(top, args, input, &unpushed->bundle, NULL, err);
    if (status == -ERANGE)
        return err_set(err, ERR_REFUSED,
                       "what origin lacks is more than %d MiB: push it first, or work on this "
                       "checkout alone with --repo .",
                       UNPUSHED_MAX >> 20);
    return status <= 0 ? status : err_set(err, ERR_USAGE, "git pack-objects failed in '%s'", top);
}

struct unpushed *unpushed_new(const char *top, const char *commit, struct err *err)
{
    struct unpushed *unpushed = calloc(1, sizeof *unpushed);
    if (!unpushed)
        abort();
    buf_init(&unpushed->bundle, UNPUSHED_MAX);
    memcpy(unpushed->commit, commit, strnlen(commit, OBJECT_ID_LEN));
    if (find_known(top, unpushed, err) < 0 || make_bundle(top, unpushed, err) < 0) {
        unpushed_free(unpushed);
        return NULL;
    }
    return unpushed;
}

int unpushed_send(struct api *api, const struct unpushed *unpushed, json_t *body, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, 65536);
    int status = api_send(api, "/v1/bundles", &unpushed->bundle, &answer, err);
    if (status < 0)
        return status;
    json_t *told = json_loadb(answer.data, answer.len, 0, NULL);
    const char *id = field_text_or(told, "bundle", "");
    json_object_set_new(body, "bundle", json_string(id));
    json_object_set_new(body, "bundle_base", json_string(unpushed->known));
    json_object_set_new(body, "base_commit", json_string(unpushed->commit));
    json_decref(told);
    return 0;
}
