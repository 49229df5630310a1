/*
 * Files and processes that lead to the host: devices, /proc and /sys, the platform's own process and
 * program. $ATTACK_PROCESS and $ATTACK_AGENT name what stands for the latter two outside; $ATTACK_PID
 * is a process outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attempt.h"

/* ---- devices */

static long open_device(const char *path)
{
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}
static long try_dev_mem(void)
{
    return open_device("/dev/mem");
}
static long try_dev_kmsg(void)
{
    return open_device("/dev/kmsg");
}
static long try_dev_kvm(void)
{
    return open_device("/dev/kvm");
}
static long try_dev_fuse(void)
{
    return open_device("/dev/fuse");
}
static long try_dev_tun(void)
{
    return open_device("/dev/net/tun");
}
static long try_dev_loop_control(void)
{
    return open_device("/dev/loop-control");
}
static long make_node(const char *name, mode_t mode, dev_t device)
{
    unlink(name);
    long status = mknod(name, mode, device);
    int problem = errno;
    unlink(name);
    errno = problem;
    return status;
}
static long try_mknod_block(void)
{
    return make_node("node", S_IFBLK | 0600, makedev(7, 0));
}
static long try_mknod_mem(void)
{
    return make_node("node", S_IFCHR | 0600, makedev(1, 1));
}
static long try_mknod_tun(void)
{
    return make_node("node", S_IFCHR | 0600, makedev(10, 200));
}
static long try_mknod_fifo(void)
{
    return make_node("node", S_IFIFO | 0600, 0);
}

/* ---- the kernel's files */

static long try_core_pattern(void)
{
    return open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC);
}
static long try_modprobe(void)
{
    return open("/proc/sys/kernel/modprobe", O_WRONLY | O_CLOEXEC);
}
static long try_file_max(void)
{
    return open("/proc/sys/fs/file-max", O_WRONLY | O_CLOEXEC);
}
static long try_sysrq(void)
{
    return open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
}
static long try_uevent_helper(void)
{
    return open("/sys/kernel/uevent_helper", O_WRONLY | O_CLOEXEC);
}
static long try_sys_write(void)
{
    return open("/sys/module/kernel/parameters/crash_kexec_post_notifiers", O_WRONLY | O_CLOEXEC);
}
static long try_release_agent(void)
{
    return open("/sys/fs/cgroup/memory/release_agent", O_WRONLY | O_CLOEXEC);
}
static long try_cgroup_limit(void)
{
    return open("/sys/fs/cgroup/memory/memory.soft_limit_in_bytes", O_WRONLY | O_CLOEXEC);
}
static long try_cgroup_procs(void)
{
    int fd = open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC);
    return fd >= 0 ? fd : open("/sys/fs/cgroup/unified/cgroup.procs", O_WRONLY | O_CLOEXEC);
}
static long try_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, "-1000", 5);
}

/* A masked file is there, and empty. */
static long read_one(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);
    if (n == 0)
        errno = ENODATA;
    return n == 1 ? 0 : -1;
}
static long try_kcore(void)
{
    return read_one("/proc/kcore");
}
static long try_timer_list(void)
{
    return read_one("/proc/timer_list");
}
static long try_kallsyms(void)
{
    return read_one("/proc/kallsyms");
}
static long try_key_users(void)
{
    return read_one("/proc/key-users");
}
static long try_interrupts(void)
{
    return read_one("/proc/interrupts");
}

/* ---- the processes of the platform and of the host */

static long try_kill_host(void)
{
    const char *pid = getenv("ATTACK_PID");
    return kill(pid ? atoi(pid) : -1, 0);
}
static long try_kill_platform(void)
{
    return kill(attempt_process(), 0);
}
static long try_ptrace(void)
{
    return ptrace(PTRACE_SEIZE, attempt_process(), 0, 0);
}
static long try_read_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    long n = process_vm_readv(attempt_process(), &here, 1, &there, 1, 0);
    return n < 0 && errno == EFAULT ? 0 : n; /* we were let in, and there is nothing there */
}
static long try_take_descriptor(void)
{
    long fd = syscall(SYS_pidfd_open, attempt_process(), 0);
    return fd < 0 ? -1 : syscall(SYS_pidfd_getfd, fd, 0, 0);
}
static long try_limit_platform(void)
{
    struct rlimit now;
    return prlimit(attempt_process(), RLIMIT_NOFILE, NULL, &now);
}
static long try_proc_mem(void)
{
    return attempt_open_proc("mem", O_RDWR);
}
static long try_proc_environ(void)
{
    char byte;
    int fd = attempt_open_proc("environ", O_RDONLY);
    return fd < 0 ? -1 : read(fd, &byte, 1);
}
static long try_proc_maps(void)
{
    return attempt_open_proc("maps", O_RDONLY);
}
static long try_proc_root(void)
{
    return attempt_open_proc("root", O_RDONLY);
}
static long try_proc_cwd(void)
{
    return attempt_open_proc("cwd", O_RDONLY);
}
static long try_proc_descriptor(void)
{
    return attempt_open_proc("fd/0", O_RDONLY);
}
static long try_proc_exe(void)
{
    return attempt_open_proc("exe", O_RDONLY);
}
static long try_proc_exe_write(void)
{
    return attempt_open_proc("exe", O_WRONLY);
}
static long try_proc_ns(void)
{
    return attempt_open_proc("ns/mnt", O_RDONLY);
}

static const char *agent(void)
{
    const char *path = getenv("ATTACK_AGENT");
    return path ? path : "/run/codex/codex-agent";
}
static long try_agent_write(void)
{
    return open(agent(), O_WRONLY | O_CLOEXEC);
}
static long try_agent_chmod(void)
{
    return chmod(agent(), 0755);
}
static long try_agent_replace(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s.new", agent());
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    return fd < 0 ? -1 : rename(path, agent());
}

static const struct attempt attempts[] = {
    ATTEMPT(15, mknod_block),      ATTEMPT(15, mknod_mem),     ATTEMPT(15, mknod_tun),
    ATTEMPT(0, mknod_fifo),        ATTEMPT(16, dev_mem),       ATTEMPT(16, dev_kmsg),
    ATTEMPT(16, dev_kvm),          ATTEMPT(16, dev_fuse),      ATTEMPT(16, dev_tun),
    ATTEMPT(16, dev_loop_control), ATTEMPT(17, core_pattern),  ATTEMPT(17, modprobe),
    ATTEMPT(17, file_max),         ATTEMPT(18, sysrq),         ATTEMPT(0, uevent_helper),
    ATTEMPT(0, sys_write),         ATTEMPT(30, release_agent), ATTEMPT(30, cgroup_limit),
    ATTEMPT(30, cgroup_procs),     ATTEMPT(21, oom_score),     ATTEMPT(23, kcore),
    ATTEMPT(23, timer_list),       ATTEMPT(23, kallsyms),      ATTEMPT(9, key_users),
    ATTEMPT(0, interrupts),        ATTEMPT(24, kill_host),     ATTEMPT(25, kill_platform),
    ATTEMPT(25, ptrace),           ATTEMPT(0, read_memory),    ATTEMPT(0, take_descriptor),
    ATTEMPT(0, limit_platform),    ATTEMPT(31, proc_mem),      ATTEMPT(31, proc_environ),
    ATTEMPT(31, proc_maps),        ATTEMPT(0, proc_root),      ATTEMPT(0, proc_cwd),
    ATTEMPT(0, proc_descriptor),   ATTEMPT(0, proc_exe),       ATTEMPT(0, proc_exe_write),
    ATTEMPT(0, proc_ns),           ATTEMPT(35, agent_write),   ATTEMPT(35, agent_chmod),
    ATTEMPT(35, agent_replace),
};

int main(void)
{
    return attempt_all(attempts, sizeof attempts / sizeof attempts[0]);
}
