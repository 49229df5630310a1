#include "sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

static bool has_controller(const char *options, const char *name)
{
    const char *at = options;
    size_t len = strlen(name);
    while ((at = strstr(at, name))) {
        if ((at == options || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
        at += len;
    }
    return false;
}

/* The words of PATH/cgroup.controllers, with a comma between them. */
static void read_controllers(const char *mount, char *out, size_t size)
{
    char path[CGROUP_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/cgroup.controllers", mount);
    AUTO_BUF struct buf text;
    buf_init(&text, size - 1);
    if (io_read_file(path, &text, NULL) < 0)
        buf_clear(&text);
    snprintf(out, size, "%s", text.data);
    for (char *p = out; *p; p++)
        if (*p == ' ')
            *p = ',';
        else if (*p == '\n')
            *p = '\0';
}

static void note_hierarchy(struct cgroup_host *host, const struct mntent *mount)
{
    bool v2 = !strcmp(mount->mnt_type, "cgroup2");
    if ((!v2 && strcmp(mount->mnt_type, "cgroup") != 0) || host->count == CGROUP_HIERARCHIES_MAX ||
        strlen(mount->mnt_dir) >= CGROUP_PATH_SIZE)
        return;
    int index = (int)host->count++;
    strcpy(host->mounts[index], mount->mnt_dir);
    char controllers[512];
    if (v2) {
        host->unified = index;
        read_controllers(mount->mnt_dir, controllers, sizeof controllers);
    } else {
        snprintf(controllers, sizeof controllers, "%s", mount->mnt_opts);
    }
    if (has_controller(controllers, "memory")) {
        host->memory = index;
        host->v1_memory = !v2;
    }
    if (has_controller(controllers, "pids")) {
        host->pids = index;
        host->v1_pids = !v2;
    }
    if (has_controller(controllers, "cpu")) {
        host->cpu = index;
        host->v1_cpu = !v2;
    }
    if (has_controller(controllers, "cpuset")) {
        host->cpuset = index;
        host->v1_cpuset = !v2;
    }
}

void cgroup_host_none(struct cgroup_host *host)
{
    *host = (struct cgroup_host){.memory = -1, .pids = -1, .cpu = -1, .cpuset = -1, .unified = -1};
}

int cgroup_host_read(struct cgroup_host *host, struct err *err)
{
    cgroup_host_none(host);
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (!mounts)
        return err_errno(err, "cannot read the list of mounts");
    struct mntent entry;
    char strings[8192];
    while (getmntent_r(mounts, &entry, strings, sizeof strings))
        note_hierarchy(host, &entry);
    endmntent(mounts);
    return 0;
}

int cgroup_host_check(const struct cgroup_host *host, struct err *err)
{
    if (host->memory < 0 || host->pids < 0)
        return err_set(
            err, ERR_SANDBOX,
            "the %s cgroup controller is not mounted: sandboxes need memory, cpu and pids",
            host->memory < 0 ? "memory" : "pids");
    char left[512] = "";
    if (host->unified >= 0 && host->v1_memory)
        read_controllers(host->mounts[host->unified], left, sizeof left);
    /* crun 1.8.1: "drop all controllers from cgroupv2". */
    if (left[0])
        return err_set(err, ERR_SANDBOX,
                       "the cgroup controllers %s are still on the v2 tree: mount them as v1 "
                       "('make setup' does)",
                       left);
    return 0;
}

static void file_path(char *out, size_t size, const struct cgroup_host *host, int index,
                      const char *group, const char *file)
{
    snprintf(out, size, "%s/%s/%s", host->mounts[index], group, file);
}

/* The number behind KEY in a file of "key value" lines. */
static uint64_t read_value(const struct cgroup_host *host, int index, const char *group,
                           const char *file, const char *key)
{
    char path[512];
    file_path(path, sizeof path, host, index, group, file);
    AUTO_FILE FILE *in = fopen(path, "re");
    char line[256];
    size_t len = strlen(key);
    while (in && fgets(line, sizeof line, in))
        if (!strncmp(line, key, len) && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    return 0;
}

void cgroup_read_counts(const struct cgroup_host *host, const char *group,
                        struct cgroup_counts *counts)
{
    *counts = (struct cgroup_counts){0};
    if (host->memory >= 0)
        counts->oom_kills =
            read_value(host, host->memory, group,
                       host->v1_memory ? "memory.oom_control" : "memory.events", "oom_kill");
    if (host->pids >= 0)
        counts->pids_denied = read_value(host, host->pids, group, "pids.events", "max");
}

static int write_file(const char *path, const char *text)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int cgroup_limit_tcp(const struct cgroup_host *host, const char *group, uint64_t bytes,
                     struct err *err)
{
    char path[512], text[32];
    if (host->memory < 0 || !host->v1_memory)
        return 0;
    file_path(path, sizeof path, host, host->memory, group, "memory.kmem.tcp.limit_in_bytes");
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    int status = write_file(path, text);
    return status < 0 && status != -ENOENT /* a kernel without */
               ? err_set(err, status, "cannot limit the memory of sockets: %s", strerror(-status))
               : 0;
}

/* Signal every process of one directory; returns how many there were. */
static unsigned kill_members(const char *directory)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/cgroup.procs", directory);
    AUTO_FILE FILE *in = fopen(path, "re");
    char line[32];
    unsigned count = 0;
    while (in && fgets(line, sizeof line, in)) {
        int64_t pid;
        line[strcspn(line, "\n")] = '\0';
        /* 0: a process that this pid namespace does not show. */
        if (str_parse_int(line, 1, INT32_MAX, &pid) < 0)
            continue;
        count++;
        kill((pid_t)pid, SIGKILL);
    }
    return count;
}

typedef void directory_fn(void *arg, const char *directory);

/* DIRECTORY's children first, then itself. crun and programs with cgroups of their own nest
 * little. */
static void walk(const char *directory, unsigned depth, directory_fn *fn, void *arg)
{
    AUTO_DIR DIR *stream = depth < 8 ? opendir(directory) : NULL;
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        char child[1024];
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (snprintf(child, sizeof child, "%s/%s", directory, entry->d_name) < (int)sizeof child)
            walk(child, depth + 1, fn, arg);
    }
    fn(arg, directory);
}

static void kill_directory(void *arg, const char *directory)
{
    *(unsigned *)arg += kill_members(directory);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

int cgroup_kill(const struct cgroup_host *host, const char *group, int64_t deadline_ms,
                struct err *err)
{
    char path[1024];
    if (host->unified >= 0) {
        /* A frozen process dies only once it is thawed (v1), or at once (v2). */
        file_path(path, sizeof path, host, host->unified, group, "cgroup.kill");
        write_file(path, "1");
    }
    for (;;) {
        unsigned left = 0;
        for (unsigned i = 0; i < host->count; i++) {
            snprintf(path, sizeof path, "%s/%s/freezer.state", host->mounts[i], group);
            write_file(path, "THAWED");
            snprintf(path, sizeof path, "%s/%s", host->mounts[i], group);
            walk(path, 0, kill_directory, &left);
        }
        if (!left)
            return 0;
        if (clock_mono_ms() > deadline_ms)
            return err_set(err, -EBUSY, "%u processes of '%s' do not end", left, group);
        pause_ms(2);
    }
}

static void remove_directory(void *arg, const char *directory)
{
    int *busy = arg;
    if (rmdir(directory) < 0 && errno != ENOENT)
        *busy = errno;
}

int cgroup_remove(const struct cgroup_host *host, const char *group, int64_t deadline_ms,
                  struct err *err)
{
    char path[512];
    if (host->memory >= 0 && host->v1_memory) {
        /* What it cached is given back now; else the group lives on in the kernel until it is. */
        file_path(path, sizeof path, host, host->memory, group, "memory.force_empty");
        write_file(path, "0");
    }
    for (;;) {
        int busy = 0;
        for (unsigned i = 0; i < host->count; i++) {
            snprintf(path, sizeof path, "%s/%s", host->mounts[i], group);
            walk(path, 0, remove_directory, &busy);
        }
        if (!busy)
            return 0;
        if (clock_mono_ms() > deadline_ms) {
            errno = busy;
            return err_errno(err, "cannot remove the cgroup '%s'", group);
        }
        pause_ms(2);
    }
}

/* Whether a hierarchy before INDEX has PARENT/NAME too, so that it has been told already. */
static bool seen_before(const struct cgroup_host *host, unsigned index, const char *parent,
                        const char *name)
{
    char path[1024];
    for (unsigned i = 0; i < index; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", host->mounts[i], parent, name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

void cgroup_each(const struct cgroup_host *host, const char *parent, const char *prefix,
                 void (*fn)(void *arg, const char *name), void *arg)
{
    for (unsigned i = 0; i < host->count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", host->mounts[i], parent);
        AUTO_DIR DIR *stream = opendir(path);
        struct dirent *entry;
        while (stream && (entry = readdir(stream)))
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
                str_starts_with(entry->d_name, prefix) &&
                !seen_before(host, i, parent, entry->d_name))
                fn(arg, entry->d_name);
    }
}
