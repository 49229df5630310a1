#include "runner/git_jail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "runner/privileges.h"
#include "sandbox/rootless.h"
#include "sandbox/sandbox.h"

/* Where the isolated root is put together: a mount point that exists on the host, empty. */
#define JAIL_DIR SANDBOX_RUN_DIR "/jail"

/* A pack inflates to more than it is; these are far above any honest one. */
static const rlim_t file_size_max = 16ULL << 30, files_max = 4096;
#ifndef __SANITIZE_ADDRESS__ /* its shadow memory counts as data */
static const rlim_t data_max = 4ULL << 30;
#endif

enum { JAIL_ARGS_MAX = 34 };

struct jail {
    const struct spawn_git *git;
    const char *program, *scratch;
    struct privileges who;
    bool be_user;     /* rootless: `who` is the one whose namespace we are in */
    char passwd[128]; /* its line: ssh wants to know who it is */
};

/* What a remote repository is found and trusted by, where the host has it. */
static const char *const lookup_files[] = {"etc/resolv.conf", "etc/hosts",    "etc/nsswitch.conf",
                                           "etc/host.conf",   "etc/gai.conf", "etc/services"};

/* One mount of the isolated root, and what to make for it. */
static int bind(const char *from, const char *to, uint64_t flags)
{
    if (mount(from, to, NULL, MS_BIND, NULL) < 0)
        return -errno;
    /* Added to the flags that the mount has: some of them an ordinary user may not take away. */
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | flags};
    return mount_setattr(AT_FDCWD, to, 0, &attributes, sizeof attributes) < 0 ? -errno : 0;
}

static int touch(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (fd < 0)
        return -errno;
    int status = io_write_all(fd, text, strlen(text), NULL);
    close(fd);
    return status;
}

static int make_directories(const struct jail *jail)
{
    static const char *const names[] = {"usr", "proc", "dev", "etc", "tmp", "old"};
    static const char *const links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (mkdir(names[i], 0755) < 0)
            return -errno;
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        char target[16];
        snprintf(target, sizeof target, "usr/%s", links[i]);
        if (symlink(target, links[i]) < 0)
            return -errno;
    }
    return touch("etc/passwd", jail->passwd);
}

/* Without nodev, which would make them unusable. git wants random bytes for the names of its
 * temporary files. */
static int make_devices(void)
{
    static const char *const devices[] = {"dev/null", "dev/urandom"};
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        char on_host[32];
        snprintf(on_host, sizeof on_host, "/%s", devices[i]);
        int status = touch(devices[i], "");
        if (status == 0 && mount(on_host, devices[i], NULL, MS_BIND, NULL) < 0)
            status = -errno;
        if (status < 0)
            return status;
    }
    return 0;
}

/* The host's file or directory NAME, a path without its first slash; nothing when there is none. A
 * link is followed: resolv.conf often is one. */
static int show(const char *name, bool is_directory)
{
    char on_host[64];
    struct stat st;
    snprintf(on_host, sizeof on_host, "/%s", name);
    if (stat(on_host, &st) < 0 || S_ISDIR(st.st_mode) != is_directory)
        return 0;
    int status = !is_directory ? touch(name, "") : mkdir(name, 0755) < 0 ? -errno : 0;
    return status < 0 ? status : bind(on_host, name, MOUNT_ATTR_RDONLY);
}

/* The mirror is the directory that codexd has opened, and nothing that came into its place since. It
 * is found by its path, because a mount can only be made from what this namespace has. */
static int bind_mirror(void)
{
    char link[32], path[PATH_MAX];
    struct stat opened, bound;
    snprintf(link, sizeof link, "/proc/self/fd/%d", SPAWN_GIT_MIRROR_FD);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0 || fstat(SPAWN_GIT_MIRROR_FD, &opened) < 0)
        return -errno;
    path[len] = '\0';
    int status = bind(path, &SPAWN_GIT_MIRROR[1], MOUNT_ATTR_NOEXEC);
    if (status < 0 || stat(&SPAWN_GIT_MIRROR[1], &bound) < 0)
        return status < 0 ? status : -errno;
    close(SPAWN_GIT_MIRROR_FD);
    return opened.st_dev == bound.st_dev && opened.st_ino == bound.st_ino ? 0 : -ESTALE;
}

/* What only git with a remote repository needs: names, certificates, a place for keys that is in
 * memory, the mirror. */
static int make_remote(const struct jail *jail)
{
    char options[64];
    int status = 0;
    for (size_t i = 0; i < sizeof lookup_files / sizeof lookup_files[0] && status == 0; i++)
        status = show(lookup_files[i], false);
    if (status == 0)
        status = show("etc/ssl", true);
    if (status < 0)
        return status;
    uid_t uid = jail->be_user ? 0 : jail->who.uid;
    gid_t gid = jail->be_user ? 0 : jail->who.gid;
    snprintf(options, sizeof options, "size=4m,mode=700,uid=%u,gid=%u", uid, gid);
    if (mkdir("run", 0755) < 0 ||
        mount("run", "run", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0 ||
        mkdir(&SPAWN_GIT_MIRROR[1], 0755) < 0)
        return -errno;
    return bind_mirror();
}

/* Put the root together in the current directory, a tmpfs. */
static int make_root(const struct jail *jail)
{
    int status = make_directories(jail);
    if (status == 0)
        status = bind("/usr", "usr", MOUNT_ATTR_RDONLY);
    if (status == 0)
        status = bind(jail->scratch, "tmp", 0);
    if (status == 0)
        status = touch("codex-git", "");
    if (status == 0)
        status = bind(jail->program, "codex-git", MOUNT_ATTR_RDONLY);
    if (status == 0)
        status = make_devices();
    if (status == 0 && jail->git->as == SPAWN_GIT_REMOTE)
        status = make_remote(jail);
    if (status == 0 && mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        status = -errno;
    return status;
}

/* From now on there is only the root that was put together. */
static int enter_root(const struct jail *jail)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("jail", JAIL_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") < 0 ||
        chdir(JAIL_DIR) < 0)
        return -errno;
    int status = make_root(jail);
    if (status < 0)
        return status;
    if (syscall(SYS_pivot_root, ".", "old") < 0 || chdir("/") < 0 ||
        umount2("/old", MNT_DETACH) < 0 || rmdir("/old") < 0 ||
        mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
        return -errno;
    return chdir("/tmp") < 0 ? -errno : 0;
}

static int set_limit(int resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return -errno;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > value)
        limit.rlim_max = value;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

static int set_limits(const struct jail *jail)
{
    int status = set_limit(RLIMIT_FSIZE, file_size_max);
    if (status == 0)
        status = set_limit(RLIMIT_NOFILE, files_max);
    if (status == 0)
        status = set_limit(RLIMIT_CPU,
                           (rlim_t)(jail->git->timeout_ms / 1000 + 1) * 16); /* of 16 threads */
#ifndef __SANITIZE_ADDRESS__
    if (status == 0)
        status = set_limit(RLIMIT_DATA, data_max);
#endif
    return status;
}

static int enter(void *arg)
{
    const struct jail *jail = arg;
    int status = set_limits(jail);
    if (status == 0)
        status = jail->git->as != SPAWN_GIT_AS_SUBMITTER ? enter_root(jail)
                 : chdir("/") < 0                        ? -errno
                                                         : 0;
    if (status == 0 && jail->be_user)
        status = rootless_be_user(jail->who.uid, jail->who.gid);
    if (status == 0)
        status = privileges_drop(&jail->who);
    /* Without its spawner nobody waits for it. Last, because a change of user takes it back. */
    if (status == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        status = -errno;
    return status;
}

/* Rootless there is one user, and his are the repositories. */
static int choose_ourselves(const struct spawn_git *git, struct privileges *who, struct err *err)
{
    *who = (struct privileges){.keeps_groups = true};
    rootless_user(&who->uid, &who->gid);
    if (git->uid != who->uid)
        return err_set(err, ERR_REFUSED,
                       "this server runs as an ordinary user (uid %u), and serves nobody else",
                       (unsigned)who->uid);
    return 0;
}

/* Whom codex-git shall be. */
static int choose_user(const struct spawn_git *git, struct privileges *who, struct err *err)
{
    if (git->as == SPAWN_GIT_ISOLATED) {
        privileges_nobody(who);
        return 0;
    }
    if (rootless_is())
        return choose_ourselves(git, who, err);
    if (git->as == SPAWN_GIT_REMOTE) {
        int status = privileges_of_user(who, git->uid, PRIVILEGES_NOBODY, err);
        who->groups_count = 0;
        return status;
    }
    if (git->uid != 0)
        return privileges_of_user(who, git->uid, PRIVILEGES_NOBODY, err);
    struct stat st;
    if (stat(git->repository, &st) < 0)
        return err_errno(err, "cannot open '%s'", git->repository);
    return privileges_of_user(who, st.st_uid, st.st_gid, err);
}

static int make_scratch(const char *scratch, uid_t uid, gid_t gid, struct err *err)
{
    int status = io_make_dirs(JAIL_DIR, 0755, err);
    if (status < 0)
        return status;
    if (mkdir(scratch, 0700) < 0 || chown(scratch, uid, gid) < 0)
        return err_errno(err, "cannot create '%s'", scratch);
    return 0;
}

pid_t git_jail_start(const struct spawn_git *git, const int *fds, const char *program,
                     const char *scratch, struct err *err)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8",
                                              "HOME=/nonexistent", NULL};
    bool jailed = git->as != SPAWN_GIT_AS_SUBMITTER;
    struct jail jail = {.git = git, .program = program, .scratch = scratch};
    int status = choose_user(git, &jail.who, err);
    jail.be_user = jail.who.keeps_groups;
    if (status == 0 && jailed)
        status = make_scratch(scratch, jail.be_user ? 0 : jail.who.uid,
                              jail.be_user ? 0 : jail.who.gid, err);
    if (status < 0)
        return status;
    snprintf(jail.passwd, sizeof jail.passwd, "codex-git:x:%u:%u::/tmp:/usr/sbin/nologin\n",
             jail.who.uid, jail.who.gid);
    const char *argv[JAIL_ARGS_MAX] = {"codex-git"};
    const char *arg = git->args;
    for (uint32_t i = 0; i < git->argc; i++, arg += strlen(arg) + 1)
        argv[i + 1] = arg;
    struct process_fd placed[SPAWN_GIT_FDS_MAX];
    for (uint32_t i = 0; i < git->fds_count; i++)
        placed[i] = (struct process_fd){fds[i], git->fd_numbers[i]};
    AUTO_FD int executable = open(program, O_RDONLY | O_CLOEXEC);
    if (executable < 0)
        return err_errno(err, "cannot run '%s'", program);
    const struct process_options options = {
        .argv = argv,
        .program = jailed ? "/codex-git" : program,
        .program_fd = executable, /* the submitter may be kept out of the directory it lies in */
        .envp = environment,
        .fds = placed,
        .fds_count = git->fds_count,
        .new_session = true,
        .namespaces = CLONE_NEWPID | CLONE_NEWIPC |
                      (jailed ? CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWCGROUP : 0) |
                      (git->as == SPAWN_GIT_ISOLATED ? CLONE_NEWNET : 0),
        .prepare = enter,
        .prepare_arg = &jail,
    };
    return process_spawn(&options, err);
}
