#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/checkout.h"
#include "cli/fields.h"
#include "cli/git.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/verb.h"

struct apply_options {
    struct common_options common;
};

/* What a diff changes, as `git apply --numstat` counts it. */
struct totals {
    long long files, insertions, deletions;
};

static int fetch_diff(const char *id, struct buf *diff, struct err *err)
{
    struct session session;
    int status = session_open_task(&session, id, err);
    if (status < 0)
        return status;
    AUTO_FREE char *target = api_task_target(id, "/diff");
    status = api_call(&session.api, "GET", target, NULL, diff, err);
    session_close(&session);
    return status;
}

/* git apply ARGS in TOP with DIFF as its input; the exit status. */
static int git_apply(const char *top, const char *const *args, const struct buf *diff,
                     struct buf *out, struct buf *errors, struct err *err)
{
    AUTO_FD int input = io_memfd("diff", diff->data, diff->len, err);
    if (input < 0)
        return input;
    return git_run(top, args, input, out, errors, err);
}

static int count_changes(const char *top, const struct buf *diff, struct totals *totals,
                         struct err *err)
{
    static const char *const args[] = {"apply", "--numstat", NULL};
    AUTO_BUF struct buf out, errors;
    buf_init(&out, GIT_OUTPUT_MAX);
    buf_init(&errors, GIT_OUTPUT_MAX);
    int status = git_apply(top, args, diff, &out, &errors, err);
    if (status < 0)
        return status;
    if (status > 0) {
        AUTO_FREE char *reason = git_reason(&errors);
        return err_set(err, ERR_REFUSED, "the task's diff is not one that git takes: %s", reason);
    }
    *totals = (struct totals){0};
    for (const char *line = out.data; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *rest;
        totals->files++;
        totals->insertions += strtoll(line, &rest, 10); /* "-" for a binary file: 0 */
        totals->deletions += *rest == '\t' ? strtoll(rest + 1, NULL, 10) : 0;
    }
    return 0;
}

/* The files that git left with conflicts: its lines "U path". */
static json_t *conflicts_in(const struct buf *errors)
{
    json_t *paths = json_array();
    for (const char *line = errors->data; *line;
         line += strcspn(line, "\n"), line += *line == '\n') {
        if (!str_starts_with(line, "U "))
            continue;
        AUTO_BUF struct buf path;
        buf_init(&path, GIT_OUTPUT_MAX);
        str_append_utf8(&path, line + 2, strcspn(line + 2, "\n"));
        json_array_append_new(paths, json_string(path.data));
    }
    return paths;
}

static void tell_applied(const char *id, const struct totals *totals, const json_t *conflicts)
{
    const json_t *path;
    size_t i;
    printf("%s %s: %lld file%s changed, +%lld -%lld; in your checkout and staged, not committed\n",
           json_array_size(conflicts) ? "applied with conflicts" : "applied", id, totals->files,
           totals->files == 1 ? "" : "s", totals->insertions, totals->deletions);
    json_array_foreach(conflicts, i, path) {
        AUTO_FREE char *clean = text_clean(json_string_value(path));
        printf("conflict: %s\n", clean);
    }
    if (json_array_size(conflicts))
        puts("resolve them and 'git add' the files, or take it back with 'git checkout HEAD -- "
             "FILE'");
}

static void print_json(const char *id, const struct totals *totals, json_t *conflicts)
{
    json_t *answer =
        json_pack("{s:s,s:I,s:I,s:I,s:O}", "task", id, "files", (json_int_t)totals->files,
                  "insertions", (json_int_t)totals->insertions, "deletions",
                  (json_int_t)totals->deletions, "conflicts", conflicts);
    json_print(answer);
    json_decref(answer);
}

static int run_apply(const void *arg, const char *const *arguments, int count, struct err *err)
{
    static const char *const args[] = {"apply", "--3way", "--whitespace=nowarn", NULL};
    const struct apply_options *options = arg;
    const char *id = arguments[0];
    AUTO_FREE char *top = NULL;
    struct totals totals = {0};
    AUTO_BUF struct buf diff, errors;
    buf_init(&diff, API_ANSWER_MAX);
    buf_init(&errors, GIT_OUTPUT_MAX);
    int status = fetch_diff(id, &diff, err);
    if (status == 0)
        status = checkout_top(&top, err);
    if (status == 0 && diff.len)
        status = count_changes(top, &diff, &totals, err);
    if (status == 0 && diff.len)
        status = git_apply(top, args, &diff, NULL, &errors, err);
    if (status < 0)
        return status;
    json_t *conflicts = conflicts_in(&errors);
    bool refused = status > 0 && json_array_size(conflicts) == 0;
    if (refused) {
        AUTO_FREE char *reason = git_reason(&errors);
        err_set(err, ERR_REFUSED, "nothing was changed, the diff does not apply here: %s%s", reason,
                str_ends_with(reason, ": does not match index")
                    ? " (it has changes that are not staged: commit or stash them)"
                    : "");
    } else if (options->common.json) {
        print_json(id, &totals, conflicts);
    } else if (!diff.len) {
        printf("%s changed nothing\n", id);
    } else {
        tell_applied(id, &totals, conflicts);
    }
    json_decref(conflicts);
    return refused ? err->code : status > 0 ? EXIT_TASK_FAILED : EXIT_OK;
}

const struct verb verb_apply = {
    .name = "apply",
    .summary = "put a task's changes into the checkout you stand in",
    .arguments = "ID",
    .examples = "  codex apply task-abc123 && git diff --cached\n",
    .options_size = sizeof(struct apply_options),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_apply,
};
