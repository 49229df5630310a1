#include "agent/tools/patch_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/tools/patch_child.h"
#include "agent/tools/user_child.h"
#include "base/str.h"

enum { TIMEOUT_MS = 60000 };

struct patch_run {
    const struct tool_host *host;
    char *directory; /* where relative paths begin; NULL: the workdir, and they are told as such */
    patch_run_fn *done;
    void *arg;
    struct user_child *child;
};

/* The next frame of REPORT at *AT; false at its end. */
static bool next_frame(const struct buf *report, size_t *at, struct patch_frame *frame,
                       const char **bytes)
{
    if (report->len - *at < sizeof *frame)
        return false;
    memcpy(frame, report->data + *at, sizeof *frame);
    if (report->len - *at - sizeof *frame < frame->len)
        return false;
    *bytes = report->data + *at + sizeof *frame;
    *at += sizeof *frame + frame->len;
    return true;
}

static char *event_path(const struct patch_run *run, const char *path, size_t len)
{
    if (!run->directory || *path == '/')
        return str_format("%.*s", (int)len, path);
    return str_format("%s/%.*s", run->directory, (int)len, path);
}

static void report_changes(const struct patch_run *run, const struct buf *report, bool ok)
{
    struct event_change *changes = NULL;
    size_t count = 0, room = 0, at = 0;
    struct patch_frame frame;
    const char *bytes;
    while (next_frame(report, &at, &frame, &bytes)) {
        const char *kind = frame.type == 'A'   ? "add"
                           : frame.type == 'D' ? "delete"
                           : frame.type == 'M' ? "update"
                                               : NULL;
        if (!kind)
            continue;
        if (count == room) {
            room = room ? room * 2 : 16;
            changes = realloc(changes, room * sizeof *changes);
            if (!changes)
                abort();
        }
        changes[count++] = (struct event_change){event_path(run, bytes, frame.len), kind};
    }
    char id[EVENTS_ID_SIZE];
    events_item_id(run->host->events, id);
    events_file_change(run->host->events, EVENT_COMPLETED, id, changes, count,
                       ok ? "completed" : "failed");
    for (size_t i = 0; i < count; i++)
        free((char *)changes[i].path);
    free(changes);
}

/* The last frame, or what to say when there is none. */
static bool result(const struct buf *report, int wait_status, const char **text, size_t *len,
                   char *fallback, size_t fallback_size)
{
    size_t at = 0;
    struct patch_frame frame;
    while (next_frame(report, &at, &frame, text)) {
        *len = frame.len;
        if (frame.type == PATCH_FRAME_OK || frame.type == PATCH_FRAME_FAILED)
            return frame.type == PATCH_FRAME_OK;
    }
    if (WIFSIGNALED(wait_status))
        snprintf(fallback, fallback_size,
                 "apply_patch was ended by signal %d; look at the files before you go on\n",
                 WTERMSIG(wait_status));
    else if (WEXITSTATUS(wait_status) == USER_CHILD_NOT_THE_USER)
        snprintf(fallback, fallback_size, "apply_patch cannot become the sandbox's user\n");
    else
        snprintf(fallback, fallback_size, "apply_patch ended with status %d\n",
                 WEXITSTATUS(wait_status));
    *text = fallback;
    *len = strlen(fallback);
    return false;
}

static void on_done(void *arg, int wait_status, const struct buf *report)
{
    struct patch_run *run = arg;
    char fallback[128];
    const char *text;
    size_t len;
    bool ok = result(report, wait_status, &text, &len, fallback, sizeof fallback);
    run->child = NULL; /* it frees itself */
    report_changes(run, report, ok);
    run->done(run->arg, ok, text, len);
    patch_run_free(run);
}

struct patch_run *patch_run_start(const struct tool_host *host, struct slice directory,
                                  struct slice patch, patch_run_fn *done, void *arg,
                                  struct err *err)
{
    struct patch_run *run = calloc(1, sizeof *run);
    if (!run)
        abort();
    *run = (struct patch_run){.host = host, .done = done, .arg = arg};
    if (directory.at)
        run->directory = str_format("%.*s", (int)directory.len, directory.at);
    struct patch_work work = {run->directory ? run->directory : host->workdir, patch};
    run->child = user_child_start(host,
                                  &(struct user_child_options){.work = patch_child,
                                                               .work_arg = &work,
                                                               .report_max = PATCH_REPORT_MAX_BYTES,
                                                               .timeout_ms = TIMEOUT_MS,
                                                               .done = on_done,
                                                               .done_arg = run},
                                  err);
    if (run->child)
        return run;
    patch_run_free(run);
    return NULL;
}

void patch_run_stop(struct patch_run *run)
{
    user_child_stop(run->child);
}

void patch_run_free(struct patch_run *run)
{
    if (!run)
        return;
    user_child_free(run->child);
    free(run->directory);
    free(run);
}
