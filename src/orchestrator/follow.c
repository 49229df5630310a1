#include "orchestrator/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

enum {
    CHUNK = 128 * 1024, /* read and committed at once */
    KEEP_BYTES = 4096,  /* of a buffer's memory while nothing comes */
    POLL_MS = 1000,
    POLL_ALONE_MS = 100, /* without inotify */
    TROUBLE_MS = 1000,
};

struct follower {
    struct followers *all;
    int fd;
    int watch;        /* inotify's, or -1 */
    int64_t offset;   /* dealt with up to here */
    int64_t skipped;  /* bytes behind it that belong to a line too long to be one */
    bool skipping;    /* its end has not come yet */
    struct buf bytes; /* what was read behind those */
    bool ended;
    struct loop_source *timer;
    struct follow_options options;
    struct follower *next;
};

struct followers {
    struct loop *loop;
    int inotify; /* -1: polling alone */
    struct loop_source *source, *timer;
    struct follower *first;
};

static void look_in(struct follower *follower, int64_t delay_ms);

/* Which file it was does not matter: looking at a file without news costs one read. */
static void on_inotify(void *arg, uint32_t events)
{
    struct followers *all = arg;
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(all->inotify, buffer, sizeof buffer)) > 0)
        for (char *p = buffer; p < buffer + n;) {
            const struct inotify_event *event = (const struct inotify_event *)p;
            for (struct follower *f = all->first; f; f = f->next)
                if (f->watch == event->wd || event->mask & IN_Q_OVERFLOW)
                    look_in(f, 0);
            p += sizeof *event + event->len;
        }
}

static void on_poll(void *arg)
{
    struct followers *all = arg;
    all->timer = NULL;
    for (struct follower *f = all->first; f; f = f->next)
        look_in(f, 0);
    if (all->first)
        all->timer =
            loop_add_timer(all->loop, all->inotify < 0 ? POLL_ALONE_MS : POLL_MS, on_poll, all);
}

struct followers *followers_new(struct loop *loop)
{
    struct followers *all = calloc(1, sizeof *all);
    if (!all)
        abort();
    *all = (struct followers){.loop = loop};
    /* Instances are few on a machine (fs.inotify.max_user_instances): without one, polling does. */
    all->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (all->inotify >= 0)
        all->source = loop_add_fd(loop, all->inotify, EPOLLIN, on_inotify, all, NULL);
    if (all->inotify >= 0 && !all->source) {
        close(all->inotify);
        all->inotify = -1;
    }
    return all;
}

void followers_free(struct followers *all)
{
    if (!all)
        return;
    loop_remove(all->source);
    loop_remove(all->timer);
    if (all->inotify >= 0)
        close(all->inotify);
    free(all);
}

struct follower *follower_new(struct followers *all, const char *path, int64_t offset,
                              const struct follow_options *options, struct err *err)
{
    struct follower *follower = calloc(1, sizeof *follower);
    if (!follower)
        abort();
    *follower = (struct follower){
        .all = all, .watch = -1, .offset = offset, .options = *options, .next = all->first};
    buf_init(&follower->bytes, FOLLOW_LINE_MAX + CHUNK);
    follower->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (follower->fd < 0) {
        err_errno(err, "cannot open '%s'", path);
        free(follower);
        return NULL;
    }
    all->first = follower;
    if (all->inotify >= 0)
        follower->watch = inotify_add_watch(all->inotify, path, IN_MODIFY);
    if (!all->timer)
        all->timer = loop_add_timer(all->loop, POLL_ALONE_MS, on_poll, all);
    look_in(follower, 0);
    return follower;
}

void follower_free(struct follower *follower)
{
    if (!follower)
        return;
    struct follower **at = &follower->all->first;
    while (*at != follower)
        at = &(*at)->next;
    *at = follower->next;
    if (follower->watch >= 0)
        inotify_rm_watch(follower->all->inotify, follower->watch);
    loop_remove(follower->timer);
    buf_release(&follower->bytes);
    close(follower->fd);
    free(follower);
}

void follower_poke(struct follower *follower)
{
    look_in(follower, 0);
}

bool follower_is_empty(const struct follower *follower)
{
    struct stat status;
    return fstat(follower->fd, &status) == 0 && status.st_size == 0;
}

/* Drop what belongs to a line that is too long; with its newline, reading begins again. The offset
 * moves only with the next committed line, so a restart sees the long line from its beginning. */
static void skip(struct follower *f)
{
    const char *newline = memchr(f->bytes.data, '\n', f->bytes.len);
    size_t len = newline ? (size_t)(newline - f->bytes.data) + 1 : f->bytes.len;
    f->skipped += (int64_t)len;
    buf_consume(&f->bytes, len);
    f->skipping = !newline;
}

/* Hand the whole lines on. */
static int hand_on(struct follower *f, struct err *err)
{
    if (f->skipping)
        skip(f);
    const char *last = memrchr(f->bytes.data, '\n', f->bytes.len);
    if (!last) {
        if (f->bytes.len >= FOLLOW_LINE_MAX)
            skip(f);
        return 0;
    }
    size_t len = (size_t)(last - f->bytes.data) + 1, consumed = 0;
    int status = f->options.lines(f->options.arg, f->bytes.data, len, f->offset + f->skipped,
                                  &consumed, &f->ended, err);
    if (consumed) {
        f->offset += f->skipped + (int64_t)consumed;
        f->skipped = 0;
        buf_consume(&f->bytes, consumed);
    }
    return status;
}

/* Returns how many bytes came. */
static ssize_t read_chunk(struct follower *f, struct err *err)
{
    char *room = buf_reserve(&f->bytes, CHUNK);
    if (!room)
        return 0; /* lines that failed are still there: first things first */
    ssize_t n;
    do
        n = pread(f->fd, room, CHUNK, f->offset + f->skipped + (int64_t)f->bytes.len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "cannot read an event file");
    buf_wrote(&f->bytes, (size_t)n);
    return n;
}

static void look(void *arg)
{
    struct follower *f = arg;
    struct err err = {0};
    f->timer = NULL;
    if (f->ended)
        return;
    ssize_t n = read_chunk(f, &err);
    int status = n < 0 ? (int)n : hand_on(f, &err);
    if (status < 0) {
        look_in(f, TROUBLE_MS);
        f->options.trouble(f->options.arg, &err);
        return;
    }
    if (f->ended)
        return;
    if (n == CHUNK) {
        look_in(f, 0);
        return;
    }
    if (!f->bytes.len && f->bytes.cap > KEEP_BYTES)
        buf_release(&f->bytes);
    f->options.idle(f->options.arg);
}

static void look_in(struct follower *f, int64_t delay_ms)
{
    if (!f->timer && !f->ended)
        f->timer = loop_add_timer(f->all->loop, delay_ms, look, f);
}
