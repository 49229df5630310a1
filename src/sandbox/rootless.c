#include "sandbox/rootless.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "sandbox/uid_range.h"

enum { MAP_MAX = 4096, SAID_MAX = 4096, ID_TEXT = 16 };

const char *const rootless_lacks[] = {
    "limits of memory, swap, cores and processes together: only processes of one user are limited",
    "ids of its own for each sandbox: all of yours share one range",
    "counts of its own: what the kernel counts for each user (inotify, message queues, signals) is yours",
    "packages: /usr is the machine's own, read-only (/usr/local and /opt can be written)",
    "renaming directories of an earlier layer: programs copy them instead",
    NULL};

/* Tells the programs that are run in there from those of a root who was put into somebody else's. */
static const char mark[] = "CODEX_ROOTLESS";

bool rootless_is(void)
{
    if (!getenv(mark))
        return false;
    AUTO_FILE FILE *map = fopen("/proc/self/uid_map", "re");
    unsigned long inside, outside, count;
    return !map || fscanf(map, "%lu %lu %lu", &inside, &outside, &count) != 3 || inside != 0 ||
           outside != 0 || count != 4294967295UL;
}

/* How many ids from ROOTLESS_BASE on the map PATH has, without a gap. */
static unsigned long mapped(const char *path)
{
    AUTO_FILE FILE *map = fopen(path, "re");
    unsigned long inside, outside, count, next = ROOTLESS_BASE;
    while (map && fscanf(map, "%lu %lu %lu", &inside, &outside, &count) == 3)
        if (inside <= next && next < inside + count)
            next = inside + count;
    return next - ROOTLESS_BASE;
}

/* What 0 is on the map PATH; 0 when it is not there. */
static unsigned outside_of_root(const char *path)
{
    AUTO_FILE FILE *map = fopen(path, "re");
    unsigned inside, outside, count;
    while (map && fscanf(map, "%u %u %u", &inside, &outside, &count) == 3)
        if (inside == 0)
            return outside;
    return 0;
}

void rootless_user(uid_t *uid, gid_t *gid)
{
    *uid = outside_of_root("/proc/self/uid_map");
    *gid = outside_of_root("/proc/self/gid_map");
}

static int write_proc(const char *path, const char *text)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}

int rootless_be_user(uid_t uid, gid_t gid)
{
    char users[40], groups[40];
    snprintf(users, sizeof users, "%u 0 1\n", (unsigned)uid);
    snprintf(groups, sizeof groups, "%u 0 1\n", (unsigned)gid);
    if (unshare(CLONE_NEWUSER) < 0)
        return -errno;
    int status = write_proc("/proc/self/uid_map", users);
    if (status == 0) /* the kernel wants that of who has no right to give groups away */
        status = write_proc("/proc/self/setgroups", "deny");
    return status < 0 ? status : write_proc("/proc/self/gid_map", groups);
}

int rootless_check(struct err *err)
{
    static const char *const maps[] = {"/proc/self/uid_map", "/proc/self/gid_map"};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        if (mapped(maps[i]) < UID_RANGE_SIZE)
            return err_set(
                err, ERR_SANDBOX,
                "this user namespace has only %lu ids beside root in %s: a sandbox needs "
                "%d",
                mapped(maps[i]), maps[i], UID_RANGE_SIZE);
    return 0;
}

/* The first range of at least UID_RANGE_SIZE ids that FILE (subuid(5)) gives to the user. */
static int find_range(const char *file, const char *name, uid_t uid, unsigned long *start,
                      struct err *err)
{
    AUTO_FILE FILE *in = fopen(file, "re");
    char line[512], owner[256], number[ID_TEXT];
    unsigned long count;
    snprintf(number, sizeof number, "%u", (unsigned)uid);
    while (in && fgets(line, sizeof line, in))
        if (sscanf(line, "%255[^:]:%lu:%lu", owner, start, &count) == 3 &&
            count >= UID_RANGE_SIZE && (!strcmp(owner, number) || !strcmp(owner, name)))
            return 0;
    return err_set(err, ERR_SANDBOX,
                   "sandboxes without root need %d subordinate ids, and %s has none for '%s': have "
                   "root add them (usermod --add-subuids 200000-265535 --add-subgids 200000-265535 "
                   "%s), or run this as root",
                   UID_RANGE_SIZE, file, name, name);
}

/* PROGRAM (newuidmap, newgidmap) for the process PID: OWN becomes 0, the range the ids from 1 on. */
static int map_by(const char *program, pid_t pid, unsigned own, unsigned long start,
                  struct err *err)
{
    char pid_text[ID_TEXT], own_text[ID_TEXT], start_text[32], base[ID_TEXT], count[ID_TEXT];
    snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
    snprintf(own_text, sizeof own_text, "%u", own);
    snprintf(start_text, sizeof start_text, "%lu", start);
    snprintf(base, sizeof base, "%d", ROOTLESS_BASE);
    snprintf(count, sizeof count, "%d", UID_RANGE_SIZE);
    const char *const argv[] = {program, pid_text,   "0",   own_text, "1",
                                base,    start_text, count, NULL};
    AUTO_BUF struct buf said;
    buf_init(&said, SAID_MAX);
    int status = process_run(argv, -1, &said, err);
    said.data[strcspn(said.data, "\n")] = '\0';
    if (status == -ENOENT)
        return err_set(
            err, ERR_SANDBOX,
            "sandboxes without root need %s: apt-get install uidmap, or run this as root", program);
    return status < 0    ? status
           : status == 0 ? 0
                         : err_set(err, ERR_SANDBOX, "%s failed: %s", program, said.data);
}

struct ids {
    uid_t uid;
    gid_t gid;
    unsigned long uids, gids; /* where the subordinate ranges start */
};

static int find_ids(struct ids *ids, struct err *err)
{
    *ids = (struct ids){.uid = geteuid(), .gid = getegid()};
    const struct passwd *entry = getpwuid(ids->uid);
    char name[256];
    snprintf(name, sizeof name, "%s", entry ? entry->pw_name : "");
    if (!entry)
        snprintf(name, sizeof name, "%u", (unsigned)ids->uid);
    int status = find_range("/etc/subuid", name, ids->uid, &ids->uids, err);
    return status < 0 ? status : find_range("/etc/subgid", name, ids->uid, &ids->gids, err);
}

/* The child that stays outside of the namespace, where alone its map can be written: when a byte
 * comes, it does that. Its exit status is 0, or it has said on OUT why not. */
static _Noreturn void write_maps(int start, int out, pid_t pid, const struct ids *ids)
{
    struct err err;
    char byte;
    if (read(start, &byte, 1) != 1)
        _exit(1); /* the parent has failed, and says so itself */
    int status = map_by("newuidmap", pid, ids->uid, ids->uids, &err);
    if (status == 0)
        status = map_by("newgidmap", pid, ids->gid, ids->gids, &err);
    if (status < 0)
        io_write_all(out, err.message, strlen(err.message), NULL);
    _exit(status < 0);
}

static int unshare_user(struct err *err)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
        return 0;
    return err_set(err, ERR_SANDBOX,
                   "this machine lets no ordinary user have a user namespace (%s): see "
                   "user.max_user_namespaces, kernel.unprivileged_userns_clone and "
                   "kernel.apparmor_restrict_unprivileged_userns, or run this as root",
                   strerror(errno));
}

static int enter_namespace(const struct ids *ids, struct err *err)
{
    int start[2], said[2];
    if (pipe2(start, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    if (pipe2(said, O_CLOEXEC) < 0) {
        close(start[0]);
        close(start[1]);
        return err_errno(err, "cannot create a pipe");
    }
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        close(start[1]);
        write_maps(start[0], said[1], parent, ids);
    }
    close(start[0]);
    close(said[1]);
    AUTO_FD int go = start[1], why = said[0];
    if (child < 0)
        return err_errno(err, "cannot fork");
    int status = unshare_user(err);
    if (status == 0 && write(go, "", 1) != 1)
        status = err_errno(err, "cannot write to a pipe");
    close(steal_fd(&go));
    AUTO_BUF struct buf text;
    buf_init(&text, SAID_MAX);
    io_read_all(why, &text, NULL);
    int ended = process_wait(child);
    if (status == 0 && ended != 0)
        status = err_set(err, ERR_SANDBOX, "%s",
                         text.len ? text.data : "the ids of a user namespace could not be mapped");
    return status;
}

/* What is in the directory OLD, hidden now by a mount over /run, at its place again; directories
 * only: of name services, and of the user's session. */
static void show_again(int old)
{
    AUTO_DIR DIR *stream = io_list_dir(old);
    if (!stream)
        return;
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || !strcmp(entry->d_name, "codex"))
            continue;
        char from[64 + NAME_MAX], to[8 + NAME_MAX];
        snprintf(from, sizeof from, "/proc/self/fd/%d/%s", old, entry->d_name);
        snprintf(to, sizeof to, "/run/%s", entry->d_name);
        if (mkdir(to, 0755) == 0 && mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0)
            rmdir(to); /* what cannot be shown is missed only by who needs it */
    }
}

/* /run is root's: the directory that we need there is in one of our own. */
static int make_run(struct err *err)
{
    AUTO_FD int old = open("/run", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old < 0)
        return err_errno(err, "cannot open '/run'");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return err_errno(err, "cannot make the mounts private");
    if (mount("run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") < 0)
        return err_errno(err, "cannot mount a tmpfs on '/run'");
    show_again(old);
    return 0;
}

int rootless_enter(char **argv, struct err *err)
{
    if (geteuid() == 0)
        return 0;
    struct ids ids;
    /* Not /proc/self/exe, which would be a file of the mounts that we come from: its path would then lack
     * where these are mounted, and nothing beside it could be found. */
    const char *self = process_program_path();
    int status = find_ids(&ids, err);
    if (status == 0)
        status = enter_namespace(&ids, err);
    if (status == 0)
        status = make_run(err);
    if (status < 0)
        return status;
    setenv(mark, "1", 1);
    execv(self, argv);
    return err_errno(err, "cannot run '%s' in a user namespace", argv[0]);
}
