#include "runner/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

bool run_name_is_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len < RUN_NAME_SIZE && name[len] == '\0' && name[0] != '-';
}

static int set_lock(int fd, int command, struct flock *lock)
{
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, command, lock);
}

pid_t run_dir_holder(int runs_fd, const char *name)
{
    char path[RUN_NAME_SIZE + 8];
    snprintf(path, sizeof path, "%.*s/lock", RUN_NAME_SIZE - 1, name);
    AUTO_FD int fd = openat(runs_fd, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    struct flock lock;
    if (fd < 0 || set_lock(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

/* codexd asks who holds the lock, as the user that $STATE/server belongs to. Nobody else may open
 * the file: a lock for reading would do to keep a run from ever being executed. */
static int give_lock(const struct run_dir *dir, int lock)
{
    struct stat server;
    if (fchmod(lock, 0600) < 0)
        return -errno;
    if (fstatat(dir->runs_fd, "../server", &server, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* no codexd has ever been here */
    return fchown(lock, server.st_uid, (gid_t)-1) < 0 ? -errno : 0;
}

/* Open and lock. -EAGAIN: somebody else has it, or it was removed under our hands. */
static int try_take(struct run_dir *dir, struct err *err)
{
    if (mkdirat(dir->runs_fd, dir->name, 0755) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create 'runs/%s'", dir->name);
    AUTO_FD int fd =
        openat(dir->runs_fd, dir->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    AUTO_FD int lock =
        fd < 0 ? -1 : openat(fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0)
        return errno == ENOENT ? -EAGAIN : err_errno(err, "cannot open 'runs/%s/lock'", dir->name);
    if ((errno = -give_lock(dir, lock)))
        return err_errno(err, "cannot give 'runs/%s/lock' to codexd", dir->name);
    struct flock request;
    if (set_lock(lock, F_SETLK, &request) < 0)
        return errno == EAGAIN || errno == EACCES ? -EAGAIN : err_errno(err, "cannot lock a run");
    char path[RUN_NAME_SIZE + 8];
    snprintf(path, sizeof path, "%s/lock", dir->name);
    struct stat held, named;
    if (fstat(lock, &held) < 0 || fstatat(dir->runs_fd, path, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        held.st_ino != named.st_ino)
        return -EAGAIN;
    dir->dir_fd = steal_fd(&fd);
    dir->lock_fd = steal_fd(&lock);
    return 0;
}

int run_dir_take(struct run_dir *dir, const char *state, const char *name, int wait_ms,
                 struct err *err)
{
    *dir = (struct run_dir){.dir_fd = -1, .lock_fd = -1, .runs_fd = -1};
    if (!run_name_is_valid(name))
        return err_set(err, ERR_USAGE, "bad name of a run");
    strcpy(dir->name, name);
    char runs[PATH_MAX];
    snprintf(runs, sizeof runs, "%s/runs", state);
    int status = io_make_dirs(runs, 0755, err);
    if (status < 0)
        return status;
    dir->runs_fd = open(runs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->runs_fd < 0)
        return err_errno(err, "cannot open '%s'", runs);
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    while ((status = try_take(dir, err)) == -EAGAIN && clock_mono_ms() < deadline_ms)
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    if (status == -EAGAIN)
        status = err_set(err, ERR_CONFLICT, "process %d executes '%s' already",
                         (int)run_dir_holder(dir->runs_fd, name), name);
    if (status < 0)
        run_dir_release(dir, false);
    return status;
}

void run_dir_release(struct run_dir *dir, bool remove)
{
    if (remove && dir->lock_fd >= 0)
        io_remove_tree_at(dir->runs_fd, dir->name, NULL);
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    if (dir->dir_fd >= 0)
        close(dir->dir_fd);
    if (dir->runs_fd >= 0)
        close(dir->runs_fd);
    *dir = (struct run_dir){.dir_fd = -1, .lock_fd = -1, .runs_fd = -1};
}

/* The 22nd field of /proc/self/stat: with the boot's id it tells a process from a later one of the
 * same pid. */
static unsigned long long start_time(void)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    if (io_read_file("/proc/self/stat", &text, NULL) < 0)
        return 0;
    const char *p = strrchr(text.data, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    unsigned long long ticks = 0;
    if (p)
        sscanf(p, " %llu", &ticks);
    return ticks;
}

int run_dir_write_status(struct run_dir *dir, const struct run_status *status, struct err *err)
{
    AUTO_BUF struct buf text, boot;
    buf_init(&text, 4096);
    buf_init(&boot, 64);
    io_read_file("/proc/sys/kernel/random/boot_id", &boot, NULL);
    boot.data[strcspn(boot.data, "\n")] = '\0';
    buf_appendf(&text,
                "pid %d\nstart_time %llu\nboot_id %s\nturn %u\nattempt %u\nrun %u\nphase "
                "%s\noutcome %s\nworkspace %s\n",
                (int)getpid(), start_time(), boot.data, status->turn, status->attempt, status->run,
                status->phase, status->outcome ? status->outcome : "-",
                status->keep_workspace ? "keep" : "remove");
    return io_replace_file_at(dir->dir_fd, "status", text.data, text.len, 0644, err);
}

void run_dir_read_run(int runs_fd, const char *name, unsigned *turn, unsigned *run)
{
    char path[RUN_NAME_SIZE + 8];
    snprintf(path, sizeof path, "%.*s/status", RUN_NAME_SIZE - 1, name);
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    *turn = *run = 0;
    if (io_read_file_at(runs_fd, path, &text, NULL) < 0)
        return;
    const char *at = strstr(text.data, "\nturn ");
    if (!at || sscanf(at, "\nturn %u\nattempt %*u\nrun %u\n", turn, run) != 2)
        *turn = *run = 0;
}

/* Whether the status file has LINE; WITHOUT, when there is none. */
static bool status_has(const struct run_dir *dir, const char *line, bool without)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    if (io_read_file_at(dir->dir_fd, "status", &text, NULL) < 0)
        return without;
    return strstr(text.data, line) != NULL;
}

bool run_dir_is_over(const struct run_dir *dir)
{
    /* Without a status it never came so far as to have a workspace. */
    return status_has(dir, "\nworkspace remove\n", true);
}

bool run_dir_is_broken_off(const struct run_dir *dir)
{
    return status_has(dir, "\noutcome -\n", false);
}
