#include "agent/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static const char name[] = "journal.jsonl";

struct journal {
    int fd;
    bool dirty;
};

/* A POSIX lock: it ends with the process, and no child inherits it. */
static int lock(int fd, struct err *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &whole) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES)
        return err_errno(err, "cannot lock %s", name);
    return err_set(err, ERR_CONFLICT, "another agent works on this journal");
}

/* The whole lines of TEXT; *USED counts their bytes. */
static int read_lines(const struct buf *text, journal_line_fn *fn, void *arg, size_t *used,
                      struct err *err)
{
    *used = 0;
    for (unsigned number = 1;; number++) {
        const char *line = text->data + *used;
        const char *end = memchr(line, '\n', text->len - *used);
        if (!end)
            return 0;
        int status = fn(arg, line, (size_t)(end - line), err);
        if (status < 0) {
            err_context(err, "%s line %u", name, number);
            return status;
        }
        *used += (size_t)(end - line) + 1;
    }
}

static int restore(struct journal *journal, journal_line_fn *fn, void *arg, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, JOURNAL_MAX_BYTES);
    int status = io_read_all(journal->fd, &text, err);
    if (status < 0)
        return err_context(err, "cannot read %s", name);
    size_t used;
    status = read_lines(&text, fn, arg, &used, err);
    if (status < 0)
        return status;
    if (used < text.len && ftruncate(journal->fd, (off_t)used) < 0)
        return err_errno(err, "cannot cut the torn line off %s", name);
    return 0;
}

struct journal *journal_open(int dir_fd, journal_line_fn *fn, void *arg, struct err *err)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        abort();
    journal->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = journal->fd < 0 ? err_errno(err, "cannot open %s", name) : lock(journal->fd, err);
    if (status == 0)
        status = restore(journal, fn, arg, err);
    if (status == 0)
        return journal;
    journal_free(journal);
    return NULL;
}

void journal_free(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal);
}

int journal_append(struct journal *journal, const char *line, size_t len, struct err *err)
{
    journal->dirty = true;
    int status = io_write_all(journal->fd, line, len, err);
    return status < 0 ? err_context(err, "cannot write %s", name) : 0;
}

int journal_sync(struct journal *journal, struct err *err)
{
    if (!journal->dirty)
        return 0;
    if (fdatasync(journal->fd) < 0)
        return err_errno(err, "cannot sync %s", name);
    journal->dirty = false;
    return 0;
}
