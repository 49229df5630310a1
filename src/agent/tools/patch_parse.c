#include "agent/tools/patch_parse.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static const char BEGIN_PATCH[] = "*** Begin Patch";
static const char END_PATCH[] = "*** End Patch";

enum section { NOT_STARTED, STARTED, IN_ADD, IN_DELETE, IN_UPDATE, ENDED };

struct parser {
    struct patch *patch;
    struct buf *message;
    enum section section;
    size_t line_number;   /* of the line that is looked at, from 1 */
    size_t header_number; /* of the last "*** Update File:" */
    bool environment_seen;
};

/* Room for one more element of SIZE bytes; memory exhaustion aborts. The text's size bounds it. */
static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    void *grown = realloc(array, *room * size);
    if (!grown)
        abort();
    return grown;
}

static struct patch_op *push_op(struct patch *patch, enum patch_kind kind, struct slice path)
{
    patch->ops = grow(patch->ops, patch->op_count, &patch->op_room, sizeof *patch->ops);
    struct patch_op *op = &patch->ops[patch->op_count++];
    *op = (struct patch_op){.kind = kind,
                            .path = path,
                            .first_chunk = patch->chunk_count,
                            .first_line = patch->line_count};
    return op;
}

static struct patch_chunk *push_chunk(struct patch *patch, struct slice context)
{
    patch->chunks =
        grow(patch->chunks, patch->chunk_count, &patch->chunk_room, sizeof *patch->chunks);
    struct patch_chunk *chunk = &patch->chunks[patch->chunk_count++];
    *chunk = (struct patch_chunk){.context = context, .first_line = patch->line_count};
    patch->ops[patch->op_count - 1].chunk_count++;
    return chunk;
}

static void push_line(struct patch *patch, char sign, struct slice text)
{
    patch->lines = grow(patch->lines, patch->line_count, &patch->line_room, sizeof *patch->lines);
    patch->lines[patch->line_count++] = (struct patch_line){sign, text};
}

static struct patch_op *last_op(struct patch *patch)
{
    return &patch->ops[patch->op_count - 1];
}

/* The chunk that lines now go to; NULL when the update has none yet. */
static struct patch_chunk *last_chunk(struct patch *patch)
{
    return last_op(patch)->chunk_count ? &patch->chunks[patch->chunk_count - 1] : NULL;
}

static int bad_patch(struct buf *message, const char *reason)
{
    buf_clear(message);
    buf_appendf(message, "Invalid patch: %s", reason);
    return ERR_USAGE;
}

/* "Invalid patch hunk on line N: BEFORE'LINE'AFTER"; at worst the maximum cuts its end. */
static int bad_line(struct parser *parser, size_t number, const char *before, struct slice line,
                    const char *after)
{
    struct buf *message = parser->message;
    buf_clear(message);
    buf_appendf(message, "Invalid patch hunk on line %zu: %s", number, before);
    size_t room = (message->max - message->len) / 2;
    buf_append(message, line.at, line.len < room ? line.len : room);
    buf_append_str(message, after);
    return ERR_USAGE;
}

static int not_a_header(struct parser *parser, struct slice line)
{
    return bad_line(parser, parser->line_number, "'", line,
                    "' is not a valid hunk header. Valid hunk headers: '*** Add File: {path}', "
                    "'*** Delete File: {path}', '*** Update File: {path}'");
}

static int unexpected_line(struct parser *parser, struct slice line)
{
    return bad_line(parser, parser->line_number, "Unexpected line found in update hunk: '", line,
                    "'. Every line should start with ' ' (context line), '+' (added line), or "
                    "'-' (removed line)");
}

static int context_expected(struct parser *parser, struct slice line)
{
    return bad_line(parser, parser->line_number,
                    "Expected update hunk to start with a @@ context marker, got: '", line, "'");
}

static int no_lines(struct parser *parser)
{
    return bad_line(parser, parser->line_number, "Update hunk does not contain any lines",
                    (struct slice){"", 0}, "");
}

static int check_path(struct parser *parser, struct slice path)
{
    if (!memchr(path.at, '\0', path.len))
        return 0;
    return bad_line(parser, parser->line_number, "the path holds a NUL character",
                    (struct slice){"", 0}, "");
}

/* An update that ends at LINE must have said something. */
static int finish_update(struct parser *parser, struct slice line)
{
    if (parser->section != IN_UPDATE)
        return 0;
    struct patch_chunk *chunk = last_chunk(parser->patch);
    if (!chunk)
        return bad_line(parser, parser->header_number, "Update file hunk for path '",
                        last_op(parser->patch)->path, "' is empty");
    if (chunk->line_count)
        return 0;
    return slice_is(line, END_PATCH) ? no_lines(parser) : unexpected_line(parser, line);
}

static int environment_id(struct parser *parser, struct slice id)
{
    if (parser->environment_seen)
        return bad_patch(parser->message,
                         "apply_patch environment_id cannot be specified more than once");
    if (slice_trim(id).len == 0)
        return bad_patch(parser->message, "apply_patch environment_id cannot be empty");
    parser->environment_seen = true;
    return 1;
}

/* 1: LINE was a header or the end, and is done. 0: it is something else. */
static int header_or_end(struct parser *parser, struct slice line)
{
    static const struct {
        const char *marker;
        enum patch_kind kind;
        enum section section;
    } headers[] = {
        {"*** Add File: ", PATCH_ADD, IN_ADD},
        {"*** Delete File: ", PATCH_DELETE, IN_DELETE},
        {"*** Update File: ", PATCH_UPDATE, IN_UPDATE},
    };
    struct slice rest = line;
    if (parser->section == STARTED && slice_skip(&rest, "*** Environment ID:"))
        return environment_id(parser, rest);
    if (slice_is(line, END_PATCH)) {
        int status = finish_update(parser, line);
        parser->section = ENDED;
        return status < 0 ? status : 1;
    }
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        if (!slice_skip(&rest, headers[i].marker))
            continue;
        int status = finish_update(parser, line);
        if (status == 0)
            status = check_path(parser, rest);
        if (status < 0)
            return status;
        push_op(parser->patch, headers[i].kind, rest);
        parser->section = headers[i].section;
        parser->header_number = parser->line_number;
        return 1;
    }
    return 0;
}

/* "@@", "@@ context" or "*** End of File". 1: it was one of them; 0: it is something else. */
static int chunk_marker(struct parser *parser, struct slice line, struct slice trimmed)
{
    struct patch_chunk *chunk = last_chunk(parser->patch);
    struct slice context = trimmed;
    bool bare = slice_is(trimmed, "@@");
    bool named = slice_skip(&context, "@@ ");
    if (chunk && chunk->at_end_of_file && !bare && !named)
        return trimmed.len ? context_expected(parser, line) : 1;
    if (bare || named) {
        if (chunk && !chunk->line_count)
            return unexpected_line(parser, line);
        push_chunk(parser->patch, named ? context : (struct slice){NULL, 0});
        return 1;
    }
    if (slice_is(trimmed, "*** End of File")) {
        if (chunk && !chunk->line_count)
            return no_lines(parser);
        if (chunk)
            chunk->at_end_of_file = true;
        return 1;
    }
    return 0;
}

static int update_line(struct parser *parser, struct slice line)
{
    struct patch *patch = parser->patch;
    struct slice trimmed = slice_trim_end(line);
    int status = header_or_end(parser, trimmed);
    if (status)
        return status;
    struct slice move_to = trimmed;
    struct patch_op *op = last_op(patch);
    if (!op->chunk_count && !op->move_to.at && slice_skip(&move_to, "*** Move to: ")) {
        op->move_to = move_to;
        return check_path(parser, move_to);
    }
    status = chunk_marker(parser, line, trimmed);
    if (status)
        return status;
    struct patch_chunk *chunk = last_chunk(patch);
    char sign = line.len ? line.at[0] : ' '; /* an empty line is an empty line of context */
    if (sign != ' ' && sign != '-' && sign != '+')
        return chunk && chunk->line_count ? context_expected(parser, line)
                                          : unexpected_line(parser, line);
    if (!chunk)
        chunk = push_chunk(patch, (struct slice){NULL, 0});
    push_line(patch, sign, line.len ? (struct slice){line.at + 1, line.len - 1} : line);
    chunk->line_count++;
    chunk->old_count += sign != '+';
    return 0;
}

static int parse_line(struct parser *parser, struct slice line)
{
    struct slice trimmed = slice_trim(line);
    switch (parser->section) {
    case NOT_STARTED: /* find_patch() has seen that it begins so */
        parser->section = STARTED;
        return 0;
    case IN_UPDATE:
        return update_line(parser, line);
    case ENDED:
        if (trimmed.len == 0 || slice_is(trimmed, END_PATCH))
            return 0;
        return bad_patch(parser->message, "The last line of the patch must be '*** End Patch'");
    default:
        break;
    }
    int status = header_or_end(parser, trimmed);
    if (status)
        return status;
    if (parser->section != IN_ADD || line.len == 0 || line.at[0] != '+')
        return not_a_header(parser, trimmed);
    push_line(parser->patch, '+', (struct slice){line.at + 1, line.len - 1});
    last_op(parser->patch)->line_count++;
    return 0;
}

/* Cut the next line off TEXT, without its "\n" or "\r\n". */
static struct slice next_line(struct slice *text)
{
    const char *end = memchr(text->at, '\n', text->len);
    struct slice line = {text->at, end ? (size_t)(end - text->at) : text->len};
    size_t skip = end ? line.len + 1 : line.len;
    text->at += skip;
    text->len -= skip;
    if (line.len && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

static struct slice last_line(struct slice text)
{
    const char *before = memrchr(text.at, '\n', text.len);
    if (!before)
        return text;
    return (struct slice){before + 1, text.len - (size_t)(before + 1 - text.at)};
}

/* NULL, or what is wrong with the first or last line. */
static const char *check_boundaries(struct slice text)
{
    struct slice rest = text;
    if (text.len && !slice_is(slice_trim(next_line(&rest)), BEGIN_PATCH))
        return "The first line of the patch must be '*** Begin Patch'";
    if (!text.len || !slice_is(slice_trim(last_line(text)), END_PATCH))
        return "The last line of the patch must be '*** End Patch'";
    return NULL;
}

/* Some models send what they would type into a shell: <<'EOF', the patch, EOF. Cut that off. */
static bool unwrap_here_document(struct slice *text)
{
    struct slice inner = *text;
    struct slice word = next_line(&inner);
    if (!slice_skip(&word, "<<") || !word.len)
        return false;
    if (word.at[0] == '\'' || word.at[0] == '"') {
        if (word.len < 3 || word.at[word.len - 1] != word.at[0])
            return false;
        word = (struct slice){word.at + 1, word.len - 2};
    }
    struct slice last = last_line(inner);
    if (last.at == inner.at || last.len < word.len ||
        memcmp(last.at + last.len - word.len, word.at, word.len) != 0)
        return false;
    inner.len = (size_t)(last.at - inner.at - 1);
    *text = inner;
    return true;
}

static int find_patch(struct slice *text, struct buf *message)
{
    *text = slice_trim(*text);
    const char *problem = check_boundaries(*text);
    if (problem && unwrap_here_document(text))
        problem = check_boundaries(*text);
    return problem ? bad_patch(message, problem) : 0;
}

int patch_parse(struct patch *patch, const char *text, size_t len, struct buf *message)
{
    *patch = (struct patch){0};
    if (len > PATCH_MAX_BYTES)
        return bad_patch(message, "it is larger than 16 MiB");
    struct slice rest = {text, len};
    int status = find_patch(&rest, message);
    struct parser parser = {.patch = patch, .message = message};
    while (status >= 0 && rest.len) {
        struct slice line = next_line(&rest);
        parser.line_number++;
        /* The last line may be indented, also behind an update, where others are context then. */
        status = parse_line(&parser, rest.len ? line : slice_trim(line));
    }
    if (status < 0) {
        patch_release(patch);
        return status;
    }
    return 0;
}

void patch_release(struct patch *patch)
{
    free(patch->ops);
    free(patch->chunks);
    free(patch->lines);
    *patch = (struct patch){0};
}
