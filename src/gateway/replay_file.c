#include "gateway/replay_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "gateway/replay_item.h"

enum { READ_SIZE = 65536 };

static int check_first(const json_t *line, struct err *err)
{
    if (json_integer_value(json_object_get(line, "replay")) != 1)
        return err_set(err, ERR_USAGE, "the first line must be {\"replay\":1, …}");
    return 0;
}

static int check_turn(const json_t *line, struct err *err)
{
    const json_t *output = json_object_get(line, "output");
    if (!json_is_array(output) || json_array_size(output) == 0)
        return err_set(err, ERR_USAGE, "'output' must be an array of items");
    const json_t *usage = json_object_get(line, "usage");
    if (!json_is_integer(json_object_get(usage, "input_tokens")) ||
        !json_is_integer(json_object_get(usage, "output_tokens")))
        return err_set(err, ERR_USAGE, "'usage' must have input_tokens and output_tokens");
    size_t i;
    json_t *item;
    json_array_foreach(output, i, item) {
        int status = replay_item_check(item, err);
        if (status < 0)
            return status;
    }
    return 0;
}

static int check_line(size_t number, const char *text, size_t len, struct err *err)
{
    json_error_t why;
    json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    int status = !line         ? err_set(err, ERR_USAGE, "%s", why.text)
                 : number == 1 ? check_first(line, err)
                               : check_turn(line, err);
    json_decref(line);
    return status < 0 ? err_context(err, "line %zu", number) : 0;
}

static void add_turn(struct replay_file *file, off_t at, size_t len)
{
    /* Doubled at each power of two. */
    if ((file->turns_count & (file->turns_count - 1)) == 0) {
        size_t room = file->turns_count ? 2 * file->turns_count : 1;
        file->turns = realloc(file->turns, room * sizeof *file->turns);
        if (!file->turns)
            abort();
    }
    file->turns[file->turns_count++] = (struct replay_place){at, len};
}

/* Read on to the end of the line that LINE begins. Returns 0 at the end of the file. */
static int read_line(int fd, off_t at, struct buf *line, struct err *err)
{
    size_t searched = 0;
    for (;;) {
        const char *end = memchr(line->data + searched, '\n', line->len - searched);
        if (end)
            return (int)(end - line->data) + 1;
        searched = line->len;
        char *room = buf_reserve(line, READ_SIZE);
        if (!room)
            return err_set(err, ERR_USAGE, "longer than %d bytes", REPLAY_LINE_MAX);
        ssize_t n = pread(fd, room, READ_SIZE, at + (off_t)line->len);
        if (n < 0)
            return err_errno(err, "cannot read");
        if (n == 0) /* the last line may lack its end */
            return (int)line->len;
        buf_wrote(line, (size_t)n);
    }
}

static int load_lines(struct replay_file *file, struct err *err)
{
    AUTO_BUF struct buf line;
    buf_init(&line, REPLAY_LINE_MAX + READ_SIZE);
    off_t at = 0;
    for (size_t number = 1;; number++) {
        int len = read_line(file->fd, at, &line, err);
        if (len < 0)
            return err_context(err, "line %zu", number);
        if (len == 0)
            return number > 1 ? 0 : err_set(err, ERR_USAGE, "it is empty");
        if (at + len > REPLAY_FILE_MAX || number > REPLAY_TURNS_MAX)
            return err_set(err, ERR_USAGE, "it is too large");
        int status = check_line(number, line.data, (size_t)len, err);
        if (status < 0)
            return status;
        if (number > 1)
            add_turn(file, at, (size_t)len);
        buf_consume(&line, (size_t)len);
        at += len;
    }
}

int replay_file_load(struct replay_file *file, int fd, struct err *err)
{
    *file = (struct replay_file){.fd = fd};
    int status = load_lines(file, err);
    if (status == 0)
        return 0;
    replay_file_release(file);
    return err_context(err, "replay file");
}

void replay_file_release(struct replay_file *file)
{
    free(file->turns);
    file->turns = NULL;
    file->turns_count = 0;
}

json_t *replay_file_turn(const struct replay_file *file, int turn, struct err *err)
{
    const struct replay_place *place = &file->turns[turn - 1];
    AUTO_FREE char *text = malloc(place->len);
    if (!text)
        abort();
    json_t *line = NULL;
    if (pread(file->fd, text, place->len, place->at) == (ssize_t)place->len)
        line = json_loadb(text, place->len, 0, NULL);
    if (!line) {
        err_set(err, ERR_USAGE, "replay file: line %d changed while it was used", turn + 1);
        return NULL;
    }
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(line, "output"), i, item)
        replay_item_number(item, turn, i + 1);
    return line;
}
