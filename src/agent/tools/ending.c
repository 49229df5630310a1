#include "agent/tools/ending.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/user.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

enum {
    TRIES = 5,
    RETRY_MS = 50,
    LOOK_EVERY_MS = 5,
    STAT_LINE_MAX = 4096,
    KILL_FOR_MS = 300, /* SIGKILL meets all of them at once; this is for them to be gone */
};

enum helper_exit { HELPER_DONE = 0, HELPER_FAILED = 2 };

static void try_to_end(struct ending *ending, bool polite);

/* The process in the directory NAME of /proc has ended, and is only not reaped yet. */
static bool is_zombie(int proc, const char *name)
{
    char path[32];
    struct err err;
    AUTO_BUF struct buf line;
    buf_init(&line, STAT_LINE_MAX);
    snprintf(path, sizeof path, "%.20s/stat", name);
    if (io_read_file_at(proc, path, &line, &err) < 0)
        return true;
    const char *name_end = strrchr(line.data, ')'); /* the name may hold anything */
    return name_end && !strncmp(name_end, ") Z", 3);
}

/* Some process of UID can be seen. (What kill(-1) returns does not tell: it counts those, too, that
 * it may not signal. One that hides by being undumpable is not waited for, but killed as well.) */
static bool anybody_left(uid_t uid)
{
    AUTO_DIR DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        struct stat status;
        bool process = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
        if (process && fstatat(dirfd(proc), entry->d_name, &status, 0) == 0 &&
            status.st_uid == uid && atoi(entry->d_name) != getpid() &&
            !is_zombie(dirfd(proc), entry->d_name))
            return true;
    }
    return proc == NULL;
}

/* Until nobody is left, but no longer than TIMEOUT_MS; with SIGNAL to everybody each time, if
 * any. */
static void wait_for_end(uid_t uid, int signal, int64_t timeout_ms)
{
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    for (;;) {
        if (signal)
            kill(-1, signal);
        if (!anybody_left(uid) || clock_mono_ms() >= until_ms)
            return;
        nanosleep(&pause, NULL);
    }
}

static _Noreturn void run_helper(const struct tool_host *host, bool polite)
{
    syscall(SYS_close_range, 0U, ~0U, 0U);
    if (user_become(host) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 || getuid() == 0)
        _exit(HELPER_FAILED);
    if (polite) {
        kill(-1, SIGTERM);
        wait_for_end(host->uid, 0, ENDING_POLITE_MS);
    }
    wait_for_end(host->uid, SIGKILL, KILL_FOR_MS);
    _exit(HELPER_DONE);
}

static void retry(void *arg)
{
    struct ending *ending = arg;
    ending->timer = NULL;
    ending->retrying = false;
    try_to_end(ending, false);
}

/* The helper is of the same user as what it ends, and may be killed by it: then again, at once. */
static void helper_ended(void *arg, pid_t pid, int wait_status)
{
    struct ending *ending = arg;
    ending->helper = NULL;
    if (wait_status != HELPER_DONE)
        try_to_end(ending, false);
}

static void try_to_end(struct ending *ending, bool polite)
{
    if (ending->tries++ == TRIES)
        return;
    if (!polite)
        ending->signal_known(ending->arg, SIGKILL);
    pid_t pid = fork();
    if (pid == 0)
        run_helper(ending->host, polite);
    struct err err;
    if (pid > 0)
        ending->helper = loop_add_child(ending->host->loop, pid, helper_ended, ending, &err);
    if (ending->helper)
        return;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    /* No process or descriptor to be had: the known groups are most likely what holds them. */
    ending->signal_known(ending->arg, SIGKILL);
    ending->retrying = true;
    ending->timer = loop_add_timer(ending->host->loop, RETRY_MS, retry, ending);
}

static void kill_known(void *arg)
{
    struct ending *ending = arg;
    ending->timer = NULL;
    ending->signal_known(ending->arg, SIGKILL);
}

void ending_begin(struct ending *ending)
{
    if (ending->host->drop && ending->host->uid != 0) {
        try_to_end(ending, true);
        return;
    }
    ending->signal_known(ending->arg, SIGTERM);
    ending->timer = loop_add_timer(ending->host->loop, ENDING_POLITE_MS, kill_known, ending);
}

size_t ending_running(const struct ending *ending)
{
    return ending->helper || ending->retrying ? 1 : 0;
}

void ending_release(struct ending *ending)
{
    loop_remove(ending->helper);
    loop_remove(ending->timer);
    ending->helper = NULL;
    ending->timer = NULL;
}
