/*
 * apply_patch without files: the patch is parsed, and every update in it is carried out on a file's
 * bytes. Input: two bytes with the length of the file's content, that, and the patch.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tools/patch_match.h"
#include "agent/tools/patch_parse.h"
#include "agent/tools/shell_patch.h"
#include "base/cleanup.h"
#include "base/err.h"

enum { RESULT_MAX = 1 << 20, INPUT_MAX = 1 << 16 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void require_within(struct slice s, const char *text, size_t len)
{
    require(!s.at || (s.at >= text && s.at + s.len <= text + len));
}

static void check(const struct patch *patch, const char *text, size_t len)
{
    for (size_t i = 0; i < patch->op_count; i++) {
        const struct patch_op *op = &patch->ops[i];
        require(op->path.len > 0);
        require_within(op->path, text, len);
        require_within(op->move_to, text, len);
        require(op->first_chunk + op->chunk_count <= patch->chunk_count);
        require(op->first_line + op->line_count <= patch->line_count);
        require(op->kind == PATCH_UPDATE ? op->chunk_count > 0 : op->chunk_count == 0);
    }
    for (size_t i = 0; i < patch->chunk_count; i++) {
        const struct patch_chunk *chunk = &patch->chunks[i];
        require(chunk->line_count > 0 && chunk->old_count <= chunk->line_count);
        require(chunk->first_line + chunk->line_count <= patch->line_count);
        require_within(chunk->context, text, len);
    }
    for (size_t i = 0; i < patch->line_count; i++)
        require_within(patch->lines[i].text, text, len);
}

static void update(const struct patch *patch, const struct patch_op *op, struct slice content)
{
    AUTO_BUF struct buf out, message;
    buf_init(&out, RESULT_MAX);
    buf_init(&message, PATCH_MESSAGE_MAX);
    int status = patch_update(patch, op, content, "file", &out, &message);
    require(status == 0 || status == ERR_NOT_FOUND || status == ERR_LIMIT);
    require((status == 0) == (message.len == 0));
    if (status == 0 && out.len)
        require(out.data[out.len - 1] == '\n' || out.data[out.len - 1] == '\r');
}

static void recognise(const char *text, size_t len)
{
    AUTO_FREE char *command = strndup(text, len);
    struct shell_patch typed;
    if (!shell_patch_find(command, &typed))
        return;
    require_within(typed.directory, command, strlen(command));
    require_within(typed.patch, command, strlen(command));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    const char *bytes = (const char *)data + 2;
    size -= 2;
    size_t content_len = data[0] | (size_t)data[1] << 8;
    if (content_len > size)
        content_len = size;
    /* Copies of exactly their size, so that a read past their end is seen. */
    AUTO_FREE char *content = malloc(content_len ? content_len : 1);
    AUTO_FREE char *text = malloc(size - content_len ? size - content_len : 1);
    size_t len = size - content_len;
    require(content && text);
    memcpy(content, bytes, content_len);
    memcpy(text, bytes + content_len, len);

    struct patch patch;
    AUTO_BUF struct buf message;
    buf_init(&message, PATCH_MESSAGE_MAX);
    int status = patch_parse(&patch, text, len, &message);
    require(status == 0 || (status == ERR_USAGE && message.len && patch.op_count == 0));
    check(&patch, text, len);
    for (size_t i = 0; i < patch.op_count; i++)
        if (patch.ops[i].kind == PATCH_UPDATE)
            update(&patch, &patch.ops[i], (struct slice){content, content_len});
    patch_release(&patch);
    recognise(text, len);
    return 0;
}
