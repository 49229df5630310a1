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
#include "sandbox/rootless.h"
#include "sandbox/runtime.h"
#include "sandbox/sandbox.h"
#include "sandbox/uid_range.h"

enum {
    OUTPUT_MAX = 64 << 10,
    GIVE_UP_S = 20, /* a runtime that hangs */
    PLACE_BYTES = 1 << 20,
};

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

static void check_runtime(struct buf *out, const char *program)
{
    struct runtime runtime;
    struct err err;
    if (runtime_find(&runtime, program, rootless_is(), &err) < 0)
        finding(out, "runtime", "fail",
                "apt-get install crun, or name another in [sandbox] runtime", "%s", err.message);
    else
        finding(out, "runtime", "ok", NULL, "%s", runtime.version);
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

/* What an ordinary user's sandboxes lack, each counted and named. */
static void check_rootless(struct buf *out)
{
    AUTO_BUF struct buf lacks;
    buf_init(&lacks, OUTPUT_MAX);
    unsigned count = 0;
    for (const char *const *lack = rootless_lacks; *lack; lack++)
        buf_appendf(&lacks, "%s(%u) %s", count ? "; " : "", count + 1, *lack), count++;
    struct err err;
    if (rootless_check(&err) < 0)
        finding(out, "rootless", "fail", "have root add subordinate ids, or run codexd as root",
                "%s", err.message);
    else
        finding(out, "rootless", "warn", "start codexd as root where that matters",
                "without root, sandboxes lack %u things: %s", count, lacks.data);
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
        if (mkdir(path, 0755) < 0 ||
            (rootless_is() && chown(path, ROOTLESS_BASE, ROOTLESS_BASE) < 0))
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
    bool rootless = rootless_is();
    AUTO_FREE char *lower = str_format("%s/lower", place);
    AUTO_FREE char *top = str_format("%s/top", place);
    AUTO_FREE char *lower_at = str_format("%s/lower", private);
    AUTO_FREE char *top_at = str_format("%s/top", private);
    if (rootless) {
        int bound = mounts_bind(lower, lower_at, true, err);
        return bound < 0 ? bound : mounts_bind(top, top_at, false, err);
    }
    AUTO_FD int ids_fd = mounts_open_ids(&ids, err);
    if (ids_fd < 0)
        return ids_fd;
    int status = mounts_bind_idmapped(lower, lower_at, ids_fd, true, err);
    return status < 0 ? status : mounts_bind_idmapped(top, top_at, ids_fd, false, err);
}

/* Mount the overlay, write into it, and see that it has arrived in the upper layer. */
static int use_overlay(const char *place, const char *private, struct err *err)
{
    bool rootless = rootless_is();
    uid_t base = rootless ? ROOTLESS_BASE : UID_RANGE_FIRST, on_disk = rootless ? base : 0;
    const struct mounts_overlay overlay = {.directory = private,
                                           .lower = "lower",
                                           .upper = "top/upper",
                                           .work = "top/work",
                                           .target = "root",
                                           .owner = base,
                                           .rootless = rootless,
                                           .volatile_ = true};
    int status = mounts_overlay(&overlay, err);
    if (status < 0)
        return status;
    AUTO_FREE char *root = str_format("%s/root", private);
    AUTO_FREE char *inside = str_format("%s/made", root);
    AUTO_FREE char *below = str_format("%s/top/upper/made", place);
    struct stat made;
    /* As the root of the sandbox, which is root on the disk. */
    setfsgid(base);
    setfsuid(base);
    if (mkdir(inside, 0700) < 0)
        status = err_errno(err, "cannot write into an overlay");
    setfsuid(geteuid());
    setfsgid(getegid());
    if (status == 0 && stat(below, &made) < 0)
        status = err_errno(err, "what was written into an overlay is not in its upper layer");
    else if (status == 0 && made.st_uid != on_disk)
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
        finding(out, rootless_is() ? "mounts" : "idmapped mounts", "fail", other_disk,
                "they do not work at '%s': %s", where, err.message);
        return;
    }
    if (!rootless_is())
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
    if (rootless_is())
        check_rootless(&out);
    else
        check_cgroups(&out);
    check_image(&out, options->images);
    check_mounts(&out, options->state);
    struct err err;
    if (io_write_all(STDOUT_FILENO, out.data, out.len, &err) < 0)
        return 1;
    return 0;
}
