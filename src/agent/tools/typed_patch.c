#include "agent/tools/typed_patch.h"

#include <stdlib.h>

#include "agent/tools/exec_arguments.h"
#include "agent/tools/job.h"
#include "agent/tools/patch_run.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

struct typed_patch {
    struct typed_patches *patches;
    struct typed_patch *next;
    struct patch_run *run;
    struct tool_call *call;
    int64_t began_us;
};

static void remove_patch(struct typed_patch *patch)
{
    struct typed_patch **at = &patch->patches->first;
    while (*at != patch)
        at = &(*at)->next;
    *at = patch->next;
    free(patch);
}

static void applied(void *arg, bool ok, const char *text, size_t len)
{
    struct typed_patch *patch = arg;
    struct tool_call *call = patch->call;
    struct output output;
    AUTO_BUF struct buf answer;
    output_init(&output, SESSION_KEPT_BYTES);
    buf_init(&answer, SESSION_KEPT_BYTES);
    output_append(&output, text, len);
    job_text(patch->began_us, ok ? "Process exited with code 0" : "Process exited with code 1",
             &output, EXEC_OUTPUT_TOKENS, &answer);
    output_release(&output);
    remove_patch(patch);
    tool_call_finish(call, true, answer.data, answer.len);
}

void typed_patches_add(struct typed_patches *patches, struct tool_call *call, const char *workdir,
                       const struct shell_patch *typed)
{
    struct typed_patch *patch = calloc(1, sizeof *patch);
    if (!patch)
        abort();
    *patch = (struct typed_patch){
        .patches = patches, .next = patches->first, .call = call, .began_us = clock_mono_us()};
    patches->first = patch;
    AUTO_FREE char *joined = NULL;
    struct slice directory = typed->directory.at ? typed->directory : slice_of(workdir);
    if (directory.at[0] != '/') {
        joined = str_format("%s/%.*s", workdir, (int)directory.len, directory.at);
        directory = slice_of(joined);
    }
    if (slice_is(directory, patches->host->workdir))
        directory.at = NULL; /* the paths are then reported as they are in the patch */
    struct err err;
    patch->run = patch_run_start(patches->host, directory, typed->patch, applied, patch, &err);
    if (patch->run)
        return;
    remove_patch(patch);
    tool_call_finishf(call, false, "%s", err.message);
}

size_t typed_patches_running(const struct typed_patches *patches)
{
    size_t count = 0;
    for (const struct typed_patch *patch = patches->first; patch; patch = patch->next)
        count++;
    return count;
}

void typed_patches_stop(const struct typed_patches *patches)
{
    for (const struct typed_patch *patch = patches->first; patch; patch = patch->next)
        patch_run_stop(patch->run);
}

void typed_patches_release(struct typed_patches *patches)
{
    while (patches->first) {
        patch_run_free(patches->first->run);
        remove_patch(patches->first);
    }
}
