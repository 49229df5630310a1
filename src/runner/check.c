#include "runner/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/process.h"
#include "base/str.h"
#include "sandbox/cgroup.h"
#include "sandbox/disk.h"
#include "sandbox/image.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox.h"
#include "sandbox/uid_range.h"

enum {
    OUTPUT_MAX = 64 << 10,
    GIVE_UP_S = 20, /* a runtime that hangs */
    PLACE_BYTES = 1 << 20,
};

/* The oldest crun that sandboxes were tried with. */
enum { CRUN_MAJOR = 1, CRUN_MINOR = 8 };

static __attribute__((format(printf, 5, 6))) void finding(struct buf *out, const char *check,
                                                          const char *status, const char *remedy,
                                                          const char *detail, ...)
{
    char *text;
    va_list args;
    va_start(args, detail);
    if (vasprintf(&text, detail, args) < 0)
        abort();
    va_end(args);
    buf_appendf(out, "{\"check\":\"%s\",\"status\":\"%s\",\"detail\":", check, status);
    json_text_cstring(out, text);
    buf_append_str(out, ",\"remedy\":");
    json_text_cstring(out, remedy);
    buf_append_str(out, "}\n");
    free(text);
}

static void check_runtime(struct buf *out, const char *runtime)
{
    const char *const argv[] = {runtime, "--version", NULL};
    AUTO_BUF struct buf said;
    struct err err = {0};
    buf_init(&said, 4096);
    int major, minor, status = process_run(argv, -1, &said, &err);
    said.data[strcspn(said.data, "\n")] = '\0';
    if (status != 0)
        finding(out, "runtime", "fail",
                "apt-get install crun, or name another in [sandbox] runtime",
                "'%s' cannot be run: %s", runtime,
                status < 0   ? err.message
                : *said.data ? said.data
                             : "it failed without a word");
    else if (sscanf(said.data, "crun version %d.%d", &major, &minor) != 2)
        finding(out, "runtime", "warn", "use crun: apt-get install crun",
                "'%s' is not crun, which alone is tried: %s", runtime, said.data);
    else if (major < CRUN_MAJOR || (major == CRUN_MAJOR && minor < CRUN_MINOR))
        finding(out, "runtime", "warn", "install crun 1.8 or later", "%s is older than 1.8",
                said.data);
    else
        finding(out, "runtime", "ok", NULL, "%s", said.data);
}

static void check_limits(struct buf *out, const struct cgroup_host *host)
{
    struct cgroup_limits limits;
    cgroup_host_try(host, &limits);
    if (!limits.memory || !limits.pids)
        finding(out, "limits", "fail",
                "run codexd outside of a container, or in one that hands cgroups on",
                "no limit of %s holds here: a sandbox could take the machine",
                limits.memory ? "processes" : "memory");
    else if (!limits.cpu)
        finding(out, "limits", "warn", "have the cgroup controller cpu mounted",
                "memory and processes are limited; cores are not");
    else if (!limits.swap)
        finding(out, "limits", "warn", "boot with swapaccount=1, or turn swap off",
                "memory, processes and cores are limited; swap is not");
    else if (!limits.cpuset)
        finding(out, "limits", "warn", "have the cgroup controller cpuset mounted",
                "memory, swap, processes and cores are limited; programs in a sandbox count all "
                "cores of the machine (nproc)");
    else
        finding(out, "limits", "ok", NULL, "memory, swap, processes and cores are limited");
}

static void check_cgroups(struct buf *out)
{
    struct cgroup_host host;
    struct err err;
    int status = cgroup_host_read(&host, &err);
    if (status == 0)
        status = cgroup_host_check(&host, &err);
    if (status < 0) {
        finding(out, "cgroups", "fail", "make setup, or boot with cgroup version 2", "%s",
                err.message);
        return;
    }
    finding(out, "cgroups", "ok", NULL, "version %s",
            !host.v1_memory     ? "2"
            : host.unified >= 0 ? "1, beside an empty version 2"
                                : "1");
    check_limits(out, &host);
}

/* The nearest directory at or above PATH that there is. The caller frees. */
static char *existing_parent(const char *path)
{
    char *dir = str_dup(path), *slash;
    while (access(dir, F_OK) < 0 && (slash = strrchr(dir, '/')) && slash != dir)
        *slash = '\0';
    return dir;
}

/* Directories for the trial below PLACE, which is on the disk, and below PRIVATE. */
static int make_dirs(const char *place, const char *private, struct err *err)
{
    static const char *const on_disk[] = {"lower", "top", "top/upper", "top/work"};
    static const char *const mounted[] = {"lower", "top", "root"};
    for (size_t i = 0; i < sizeof on_disk / sizeof on_disk[0]; i++) {
        AUTO_FREE char *path = str_format("%s/%s", place, on_disk[i]);
        if (mkdir(path, 0755) < 0)
            return err_errno(err, "cannot create '%s'", path);
    }
    for (size_t i = 0; i < sizeof mounted / sizeof mounted[0]; i++) {
        AUTO_FREE char *path = str_format("%s/%s", private, mounted[i]);
        if (mkdir(path, 0755) < 0)
            return err_errno(err, "cannot create '%s'", path);
    }
    return 0;
}

/* A disk of a sandbox's own: made, mounted, and seen to end where it should. */
static int use_disk(const char *place, const char *private, struct err *err)
{
    static const struct disk_size size = {.bytes = DISK_BYTES_MIN};
    AUTO_FREE char *path = str_format("%s/disk", place);
    AUTO_FREE char *at = str_format("%s/disk", private);
    struct disk_left left;
    int status = disk_make(path, &size, false, err);
    if (status == 0 && mkdir(at, 0700) < 0)
        status = err_errno(err, "cannot create '%s'", at);
    if (status == 0)
        status = disk_mount(path, at, false, err);
    AUTO_FD int fd = status < 0 ? -1 : open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (status == 0)
        status = disk_read_left(fd, &left, err);
    if (status == 0 && left.bytes > 2 * size.bytes)
        status =
            err_set(err, ERR_SANDBOX, "a disk of %llu MiB has room for %llu MiB",
                    (unsigned long long)size.bytes >> 20, (unsigned long long)left.bytes >> 20);
    mounts_detach(at);
    return status;
}

static void try_disk(struct buf *out, const char *place, const char *private, const char *where)
{
    struct err err;
    if (!disk_is_possible(&err))
        finding(out, "disk limit", "warn",
                "modprobe loop; in a container, hand on /dev/loop-control and the loop devices",
                "soft: a task's files are measured from time to time, and the task is ended when "
                "they are too large, because %s",
                err.message);
    else if (use_disk(place, private, &err) < 0)
        finding(out, "disk limit", "warn",
                "apt-get install e2fsprogs, or set disk = 0 in [sandbox]",
                "disks of sandboxes do not work at '%s': %s", where, err.message);
    else
        finding(out, "disk limit", "ok", NULL, "hard: a task's files are on disks of its own");
}

/* Bind the two layers with the ids of a sandbox, as sandboxes have them. */
static int bind_layers(const char *place, const char *private, struct err *err)
{
    const struct mounts_ids ids = {.host = UID_RANGE_FIRST, .count = UID_RANGE_SIZE};
    AUTO_FREE char *lower = str_format("%s/lower", place);
    AUTO_FREE char *top = str_format("%s/top", place);
    AUTO_FREE char *lower_at = str_format("%s/lower", private);
    AUTO_FREE char *top_at = str_format("%s/top", private);
    AUTO_FD int ids_fd = mounts_open_ids(&ids, err);
    if (ids_fd < 0)
        return ids_fd;
    int status = mounts_bind_idmapped(lower, lower_at, ids_fd, true, err);
    return status < 0 ? status : mounts_bind_idmapped(top, top_at, ids_fd, false, err);
}

/* Mount the overlay, write into it, and see that it has arrived in the upper layer. */
static int use_overlay(const char *place, const char *private, struct err *err)
{
    const struct mounts_overlay overlay = {.directory = private,
                                           .lower = "lower",
                                           .upper = "top/upper",
                                           .work = "top/work",
                                           .target = "root",
                                           .owner = UID_RANGE_FIRST,
                                           .volatile_ = true};
    int status = mounts_overlay(&overlay, err);
    if (status < 0)
        return status;
    AUTO_FREE char *root = str_format("%s/root", private);
    AUTO_FREE char *inside = str_format("%s/made", root);
    AUTO_FREE char *below = str_format("%s/top/upper/made", place);
    struct stat made;
    /* As the root of the sandbox, which is root on the disk. */
    setfsgid(UID_RANGE_FIRST);
    setfsuid(UID_RANGE_FIRST);
    if (mkdir(inside, 0700) < 0)
        status = err_errno(err, "cannot write into an overlay");
    setfsuid(geteuid());
    setfsgid(getegid());
    if (status == 0 && stat(below, &made) < 0)
        status = err_errno(err, "what was written into an overlay is not in its upper layer");
    else if (status == 0 && made.st_uid != 0)
        status = err_set(err, -EPERM, "ids are not mapped through an overlay");
    mounts_detach(root);
    return status;
}

static void try_mounts(struct buf *out, const char *place, const char *where)
{
    static const char private[] = SANDBOX_RUN_DIR "/private";
    struct err err;
    static const char other_disk[] =
        "put the state directory (CODEX_STATE_DIR) on ext4, xfs or btrfs";
    int status = mounts_make_private(private, PLACE_BYTES, &err);
    if (status == 0)
        status = make_dirs(place, private, &err);
    if (status < 0) {
        finding(out, "mounts", "fail", "run codexd as root, outside of a container", "%s",
                err.message);
        return;
    }
    try_disk(out, place, private, where);
    if (bind_layers(place, private, &err) < 0) {
        finding(out, "idmapped mounts", "fail", other_disk, "they do not work at '%s': %s", where,
                err.message);
        return;
    }
    finding(out, "idmapped mounts", "ok", NULL, "they work at '%s'", where);
    if (use_overlay(place, private, &err) < 0)
        finding(out, "overlay", "fail",
                err.code == -ENODEV ? "load it: modprobe overlay (and name it in /etc/modules)"
                                    : other_disk,
                "it does not work at '%s': %s", where, err.message);
    else
        finding(out, "overlay", "ok", NULL, "it works at '%s'", where);
}

static void check_mounts(struct buf *out, const char *state)
{
    /* Locked, so that a spawner removes what we leave there if we are killed (spawner.c). */
    AUTO_FREE char *scratch = str_format("%s/scratch", state);
    AUTO_FREE char *where = existing_parent(scratch);
    AUTO_FREE char *place =
        str_format("%s/%scheck-XXXXXX", where, strcmp(where, scratch) ? ".codex-" : "");
    AUTO_FD int lock = mkdtemp(place) ? open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (lock < 0 || flock(lock, LOCK_EX) < 0) {
        finding(out, "mounts", "fail", "make it writable for root", "cannot write to '%s': %s",
                where, strerror(errno));
        return;
    }
    try_mounts(out, place, where);
    struct err err;
    if (io_remove_tree_at(AT_FDCWD, place, &err) < 0)
        finding(out, "mounts", "warn", "remove it", "%s", err.message);
}

static void check_image(struct buf *out, const char *images)
{
    struct err err;
    int made = image_is_made(images, &err);
    AUTO_FREE char *remedy = str_format("nothing: the first task makes it, which takes a while "
                                        "(now: %s/codex-runner --image %s)",
                                        process_program_dir(), images);
    if (made < 0)
        finding(out, "image", "fail", "make it readable for root", "%s", err.message);
    else if (made)
        finding(out, "image", "ok", NULL, "the host image is made, in '%s'", images);
    else
        finding(out, "image", "warn", remedy, "the host image is not made yet, in '%s'", images);
}

int check_main(const struct check_options *options)
{
    AUTO_BUF struct buf out;
    buf_init(&out, OUTPUT_MAX);
    if (geteuid() != 0) {
        fprintf(stderr, "codex-runner: these checks need root\n");
        return 1;
    }
    alarm(GIVE_UP_S);
    umask(022);
    check_runtime(&out, options->runtime);
    check_cgroups(&out);
    check_image(&out, options->images);
    check_mounts(&out, options->state);
    struct err err;
    if (io_write_all(STDOUT_FILENO, out.data, out.len, &err) < 0)
        return 1;
    return 0;
}
