#include "agent/tools/patch_child.h"

#include "agent/tools/patch_apply.h"

enum { TEXT_MAX_BYTES = 40000 /* 10,000 tokens: what a model is shown of any output */ };

static void put(struct buf *report, char type, const char *bytes, size_t len)
{
    struct patch_frame frame = {type, (uint32_t)len};
    buf_append(report, &frame, sizeof frame);
    buf_append(report, bytes, len);
}

static void put_text(struct buf *report, bool ok, const struct patch *patch,
                     struct patch_progress *progress)
{
    struct buf *text = &progress->text;
    if (!ok && progress->done) {
        buf_append_str(text, "Done before that, and not undone:\n");
        for (size_t i = 0; i < progress->done; i++) {
            struct slice path = patch_op_path(&patch->ops[i]);
            buf_appendf(text, "%c %.*s\n", patch_op_letter(&patch->ops[i]), (int)path.len, path.at);
        }
    }
    put(report, ok ? PATCH_FRAME_OK : PATCH_FRAME_FAILED, text->data, text->len);
}

void patch_child(void *arg, struct buf *report)
{
    const struct patch_work *work = arg;
    struct patch patch;
    struct patch_progress progress = {0};
    buf_init(&progress.text, TEXT_MAX_BYTES);
    int status = patch_parse(&patch, work->patch.at, work->patch.len, &progress.text);
    if (status == 0)
        status = patch_apply(&patch, work->base, &progress);
    for (size_t i = 0; i < progress.done; i++) {
        struct slice path = patch_op_path(&patch.ops[i]);
        put(report, patch_op_letter(&patch.ops[i]), path.at, path.len);
    }
    put_text(report, status == 0, &patch, &progress);
}
