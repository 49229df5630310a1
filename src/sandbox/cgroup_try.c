/* Which limits hold on this host: tried, because a container or a kernel may keep some back. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sandbox/cgroup.h"
#include "sandbox/cores.h"

#define TRY_MEMORY "67108864" /* bytes; a whole number of pages of any size */

/* Write TEXT, and see that it is what is there then. */
static bool holds(const char *group, const char *file, const char *text)
{
    AUTO_FREE char *path = str_format("%s/%s", group, file);
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    char back[64];
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return false;
    ssize_t n = pread(fd, back, sizeof back - 1, 0);
    if (n <= 0)
        return false;
    back[n] = '\0';
    back[strcspn(back, "\n")] = '\0';
    return !strcmp(back, text);
}

/* One core, which this process may run on. */
static bool holds_a_core(const char *group)
{
    cpu_set_t allowed;
    AUTO_BUF struct buf core;
    buf_init(&core, 32);
    cores_allowed(&allowed);
    return cores_append(&core, &allowed, 0, 1) == 0 && core.len &&
           holds(group, "cpuset.cpus", core.data);
}

/* What crun does, too: controllers are passed on to children one by one. */
static void pass_on(const char *mount)
{
    static const char *const controllers[] = {"+memory", "+pids", "+cpu", "+cpuset"};
    AUTO_FREE char *path = str_format("%s/cgroup.subtree_control", mount);
    for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++) {
        AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, controllers[i], strlen(controllers[i])) < 0)
            continue; /* seen by the file that is then missing in the group */
    }
}

/* A group of its own in the hierarchy INDEX; NULL when there can be none. The caller removes and
 * frees. */
static char *make_group(const struct cgroup_host *host, int index, bool v1)
{
    if (index < 0)
        return NULL;
    const char *mount = host->mounts[index];
    if (!v1)
        pass_on(mount);
    char *group = str_format("%s/codex-check-%d", mount, (int)getpid());
    if (mkdir(group, 0755) == 0)
        return group;
    free(group);
    return NULL;
}

static void remove_group(char *group)
{
    if (group)
        rmdir(group);
    free(group);
}

void cgroup_host_try(const struct cgroup_host *host, struct cgroup_limits *out)
{
    *out = (struct cgroup_limits){0};
    char *group = make_group(host, host->memory, host->v1_memory);
    if (group && host->v1_memory) {
        out->memory = holds(group, "memory.limit_in_bytes", TRY_MEMORY);
        out->swap = holds(group, "memory.memsw.limit_in_bytes", TRY_MEMORY);
    } else if (group) {
        out->memory = holds(group, "memory.max", TRY_MEMORY);
        out->swap = holds(group, "memory.swap.max", "0");
    }
    remove_group(group);
    group = make_group(host, host->pids, host->v1_pids);
    out->pids = group && holds(group, "pids.max", "64");
    remove_group(group);
    group = make_group(host, host->cpu, host->v1_cpu);
    out->cpu = group && (host->v1_cpu ? holds(group, "cpu.cfs_quota_us", "50000")
                                      : holds(group, "cpu.max", "50000 100000"));
    remove_group(group);
    group = make_group(host, host->cpuset, host->v1_cpuset);
    out->cpuset = group && holds_a_core(group);
    remove_group(group);
}
