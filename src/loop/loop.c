#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_CHILD };

struct loop_source {
    struct loop *loop;
    enum source_kind kind;
    bool dead;
    int fd; /* what epoll watches: the caller's, a signalfd or a pidfd; -1 for timers */
    int64_t due_ms;
    uint64_t birth; /* timers: their number, to tell the new from the old */
    pid_t pid;
    union {
        loop_fd_fn *fd;
        loop_timer_fn *timer;
        loop_signal_fn *signal;
        loop_child_fn *child;
    } fn;
    void *arg;
    struct loop_source *next; /* in loop->timers (by due time), loop->sources or loop->dead */
};

struct loop {
    int epoll_fd;
    struct loop_source *timers;  /* soonest first */
    struct loop_source *sources; /* every other one */
    struct loop_source *dead;    /* freed when the round is over */
    uint64_t births;
    bool stopped;
    int status;
};

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        abort();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        err_errno(err, "cannot create an epoll descriptor");
        free(loop);
        return NULL;
    }
    return loop;
}

static void bury(struct loop *loop)
{
    while (loop->dead) {
        struct loop_source *source = loop->dead;
        loop->dead = source->next;
        free(source);
    }
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->timers)
        loop_remove(loop->timers);
    while (loop->sources)
        loop_remove(loop->sources);
    bury(loop);
    close(loop->epoll_fd);
    free(loop);
}

static struct loop_source *source_new(struct loop *loop, enum source_kind kind, int fd, void *arg)
{
    struct loop_source *source = calloc(1, sizeof *source);
    if (!source)
        abort();
    *source = (struct loop_source){.loop = loop, .kind = kind, .fd = fd, .arg = arg};
    return source;
}

static int watch(struct loop_source *source, uint32_t events, struct err *err)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0)
        return err_errno(err, "cannot watch a descriptor");
    source->next = source->loop->sources;
    source->loop->sources = source;
    return 0;
}

struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
                                void *arg, struct err *err)
{
    struct loop_source *source = source_new(loop, SOURCE_FD, fd, arg);
    source->fn.fd = fn;
    if (watch(source, events, err) < 0) {
        free(source);
        return NULL;
    }
    return source;
}

int loop_change_fd(struct loop_source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

struct loop_source *loop_add_timer(struct loop *loop, int64_t delay_ms, loop_timer_fn *fn,
                                   void *arg)
{
    struct loop_source *source = source_new(loop, SOURCE_TIMER, -1, arg);
    source->fn.timer = fn;
    source->due_ms = clock_mono_ms() + delay_ms;
    source->birth = loop->births++;
    struct loop_source **at = &loop->timers;
    while (*at && (*at)->due_ms <= source->due_ms)
        at = &(*at)->next;
    source->next = *at;
    *at = source;
    return source;
}

int loop_add_signal(struct loop *loop, int signal, loop_signal_fn *fn, void *arg, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_errno(err, "cannot block signal %d", signal);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_errno(err, "cannot create a signal descriptor");
    struct loop_source *source = source_new(loop, SOURCE_SIGNAL, fd, arg);
    source->fn.signal = fn;
    int status = watch(source, EPOLLIN, err);
    if (status < 0) {
        close(fd);
        free(source);
    }
    return status;
}

struct loop_source *loop_add_child(struct loop *loop, pid_t pid, loop_child_fn *fn, void *arg,
                                   struct err *err)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        err_errno(err, "cannot watch process %d", (int)pid);
        return NULL;
    }
    struct loop_source *source = source_new(loop, SOURCE_CHILD, fd, arg);
    source->fn.child = fn;
    source->pid = pid;
    if (watch(source, EPOLLIN, err) < 0) {
        close(fd);
        free(source);
        return NULL;
    }
    return source;
}

void loop_remove(struct loop_source *source)
{
    if (!source || source->dead)
        return;
    struct loop *loop = source->loop;
    struct loop_source **at = source->kind == SOURCE_TIMER ? &loop->timers : &loop->sources;
    while (*at != source)
        at = &(*at)->next;
    *at = source->next;
    if (source->fd >= 0)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    if (source->kind == SOURCE_SIGNAL || source->kind == SOURCE_CHILD)
        close(source->fd);
    source->dead = true;
    source->next = loop->dead;
    loop->dead = source;
}

static void deliver_signals(struct loop_source *source)
{
    struct signalfd_siginfo info;
    while (!source->dead && read(source->fd, &info, sizeof info) == (ssize_t)sizeof info)
        source->fn.signal(source->arg, (int)info.ssi_signo);
}

static void deliver_child(struct loop_source *source)
{
    int status;
    if (waitpid(source->pid, &status, WNOHANG) <= 0)
        return;
    loop_remove(source);
    source->fn.child(source->arg, source->pid, status);
}

static struct loop_source *find_child(struct loop *loop, pid_t pid)
{
    struct loop_source *source = loop->sources;
    while (source && (source->kind != SOURCE_CHILD || source->pid != pid))
        source = source->next;
    return source;
}

/* waitpid(-1) may well return a child that somebody waits for: then this is its end. */
void loop_reap_now(struct loop *loop)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct loop_source *source = find_child(loop, pid);
        if (!source)
            continue;
        loop_remove(source);
        source->fn.child(source->arg, pid, status);
    }
}

static void reap_all(void *arg, int signal)
{
    loop_reap_now(arg);
}

int loop_reap_orphans(struct loop *loop, struct err *err)
{
    return loop_add_signal(loop, SIGCHLD, reap_all, loop, err);
}

static void deliver(struct loop_source *source, uint32_t events)
{
    if (source->dead)
        return;
    if (source->kind == SOURCE_FD)
        source->fn.fd(source->arg, events);
    else if (source->kind == SOURCE_SIGNAL)
        deliver_signals(source);
    else
        deliver_child(source);
}

/* Only timers that existed when the round began: one that re-arms itself with 0 cannot starve the
 * descriptors. */
static void run_timers(struct loop *loop)
{
    int64_t now = clock_mono_ms();
    uint64_t born_before = loop->births;
    while (loop->timers && loop->timers->due_ms <= now && loop->timers->birth < born_before) {
        struct loop_source *source = loop->timers;
        loop_remove(source);
        source->fn.timer(source->arg);
        if (source->loop->stopped)
            return;
    }
}

static int wait_ms(struct loop *loop, int64_t timeout_ms)
{
    if (loop->timers) {
        int64_t left = loop->timers->due_ms - clock_mono_ms();
        left = left < 0 ? 0 : left;
        if (timeout_ms < 0 || left < timeout_ms)
            timeout_ms = left;
    }
    return timeout_ms > 3600000 ? 3600000 : (int)timeout_ms;
}

int loop_run_once(struct loop *loop, int64_t timeout_ms, struct err *err)
{
    struct epoll_event events[64];
    int n = epoll_wait(loop->epoll_fd, events, 64, wait_ms(loop, timeout_ms));
    if (n < 0 && errno != EINTR)
        return err_errno(err, "cannot wait for events");
    for (int i = 0; i < n; i++)
        deliver(events[i].data.ptr, events[i].events);
    run_timers(loop);
    bury(loop);
    return 0;
}

int loop_run(struct loop *loop, struct err *err)
{
    loop->stopped = false;
    while (!loop->stopped) {
        int status = loop_run_once(loop, -1, err);
        if (status < 0)
            return status;
    }
    return loop->status;
}

void loop_stop(struct loop *loop, int status)
{
    loop->stopped = true;
    loop->status = status;
}
