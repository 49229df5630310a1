#include "gateway/event_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "task/limits.h"
#include "task/phase.h"

enum {
    LINE_MAX_BYTES = 32 << 20, /* an agent's line is at most 4 MiB, and grows six-fold at worst */
    KEEP_BYTES = 16384,        /* of the line's memory, until the next event */
};

struct event_file {
    int fd;
    struct buf line;
    bool has_failed;
    event_failed_fn *failed;
    void *arg;
};

/* The last byte of the file is no line end: then the next line would be lost in it. */
static bool is_cut(int fd)
{
    struct stat st;
    char last;
    if (fstat(fd, &st) < 0 || st.st_size == 0)
        return false;
    return pread(fd, &last, 1, st.st_size - 1) != 1 || last != '\n';
}

struct event_file *event_file_new(int fd, event_failed_fn *failed, void *arg, struct err *err)
{
    if (is_cut(fd) && io_write_all(fd, "\n", 1, err) < 0) {
        err_context(err, "the event file");
        return NULL;
    }
    struct event_file *events = calloc(1, sizeof *events);
    if (!events)
        abort();
    *events = (struct event_file){.fd = fd, .failed = failed, .arg = arg};
    buf_init(&events->line, LINE_MAX_BYTES);
    return events;
}

void event_file_free(struct event_file *events)
{
    if (!events)
        return;
    buf_release(&events->line);
    free(events);
}

static int fail(struct event_file *events, const struct err *err)
{
    if (!events->has_failed)
        events->failed(events->arg, err);
    events->has_failed = true;
    return err->code;
}

struct buf *event_begin(struct event_file *events, const char *type, uint32_t phase)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);
    buf_clear(&events->line);
    buf_appendf(&events->line, "{\"ts\":\"%s\",\"type\":\"%s\",\"phase\":\"%s\"", now, type,
                phase_name(phase));
    return &events->line;
}

/* A line is in the file whole or not at all: what a full disk took of it is cut off again. */
static void write_line(struct event_file *events)
{
    struct err err;
    off_t end = lseek(events->fd, 0, SEEK_END);
    if (io_write_all(events->fd, events->line.data, events->line.len, &err) == 0)
        return;
    int ignored = end < 0 ? -1 : ftruncate(events->fd, end);
    (void)ignored; /* then the next gateway ends the line: is_cut() */
    err_context(&err, "the event file");
    fail(events, &err);
}

void event_end(struct event_file *events)
{
    /* Its parts were appended without looking: a line that does not fit lacks its end. */
    bool whole = buf_append_str(&events->line, "}\n") == 0;
    if (!whole) {
        struct err err;
        err_set(&err, -EMSGSIZE, "the event file: an event is larger than %d bytes",
                LINE_MAX_BYTES);
        fail(events, &err);
    }
    if (!events->has_failed)
        write_line(events);
    if (events->line.cap > KEEP_BYTES)
        buf_release(&events->line);
}

void event_limit_hit(struct event_file *events, uint32_t phase, const char *limit, uint64_t figure)
{
    struct buf *line = event_begin(events, "limit.hit", phase);
    buf_appendf(line, ",\"limit\":\"%s\",\"figure\":%" PRIu64 ",\"unit\":\"%s\"", limit, figure,
                limit_unit(limit));
    event_end(events);
}

int event_file_sync(struct event_file *events)
{
    struct err err;
    if (events->has_failed)
        return -EIO;
    if (fsync(events->fd) == 0)
        return 0;
    err_errno(&err, "the event file: cannot sync");
    return fail(events, &err);
}
