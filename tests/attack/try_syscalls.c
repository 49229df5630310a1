/*
 * Run inside a sandbox: tries what a sandbox must refuse, and prints "name result" lines, where
 * result is 0, an errno's name, or the signal that ended the try.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static long clone_with(unsigned long flags)
{
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid;
}

static long try_unshare_user(void)
{
    return unshare(CLONE_NEWUSER);
}
static long try_unshare_mount(void)
{
    return unshare(CLONE_NEWNS);
}
static long try_clone_user(void)
{
    return clone_with(CLONE_NEWUSER);
}
static long try_clone_net(void)
{
    return clone_with(CLONE_NEWNET);
}
static long try_clone_plain(void)
{
    return clone_with(0);
}
static long try_clone3(void)
{
    char args[64] = {0};
    return syscall(SYS_clone3, args, sizeof args);
}
static long try_mount(void)
{
    return mount("none", "/tmp", "tmpfs", 0, NULL);
}
static long try_umount(void)
{
    return umount2("/tmp", MNT_DETACH);
}
static long try_pivot_root(void)
{
    return syscall(SYS_pivot_root, "/tmp", "/tmp");
}
static long try_chroot(void)
{
    return chroot("/tmp");
}
static long try_fsopen(void)
{
    return syscall(430, "tmpfs", 0);
}
static long try_open_tree(void)
{
    return syscall(428, AT_FDCWD, "/", 1);
}
static long try_setns(void)
{
    return setns(open("/proc/self/ns/net", O_RDONLY), 0);
}
static long try_bpf(void)
{
    union bpf_attr a = {0};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a);
}
static long try_perf(void)
{
    struct perf_event_attr a = {.size = sizeof a};
    return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}
static long try_io_uring(void)
{
    char p[120] = {0};
    return syscall(SYS_io_uring_setup, 1, p);
}
static long try_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, 0);
}
static long try_add_key(void)
{
    return syscall(SYS_add_key, "user", "k", "v", 1, -3);
}
static long try_keyctl(void)
{
    return syscall(SYS_keyctl, 0, -3, 0);
}
static long try_open_by_handle(void)
{
    char h[64] = {0};
    return syscall(SYS_open_by_handle_at, AT_FDCWD, h, 0);
}
static long try_init_module(void)
{
    return syscall(SYS_init_module, "", 0, "");
}
static long try_kexec(void)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, 0);
}
static long try_reboot(void)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL);
}
static long try_raw(void)
{
    return socket(AF_INET, SOCK_RAW, 1);
}
static long try_packet(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0);
}
static long try_vsock(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0);
}
static long try_alg(void)
{
    return socket(AF_ALG, SOCK_SEQPACKET, 0);
}
static long try_alg_high_bits(void)
{
    return syscall(SYS_socket, 0x100000000UL | AF_ALG, SOCK_SEQPACKET, 0);
}
static long try_netlink_audit(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 9);
}
static long try_netlink_route(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long try_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long try_int80(void)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory"); /* getpid of i386 */
    return result;
#else
    return raise(SIGSYS);
#endif
}
static long try_x32(void)
{
#ifdef __x86_64__
    return syscall(0x40000000 | SYS_getpid);
#else
    return raise(SIGSYS);
#endif
}
static long try_mknod_block(void)
{
    return mknod("/tmp/block", S_IFBLK | 0600, 0x700);
}
static long try_mknod_fifo(void)
{
    return mknod("/tmp/fifo", S_IFIFO | 0600, 0);
}
static long try_core_pattern(void)
{
    return open("/proc/sys/kernel/core_pattern", O_WRONLY);
}
static long try_sysrq(void)
{
    return open("/proc/sysrq-trigger", O_WRONLY);
}
static long try_settimeofday(void)
{
    struct timeval t = {1, 0};
    return settimeofday(&t, NULL);
}
static long try_sethostname(void)
{
    return sethostname("x", 1);
}
static long try_syslog(void)
{
    return syscall(SYS_syslog, 3, NULL, 0);
}
static long try_personality(void)
{
    return personality(ADDR_NO_RANDOMIZE);
}
static long try_nice(void)
{
    errno = 0;
    return setpriority(PRIO_PROCESS, 0, -20);
}
static long try_fifo_scheduler(void)
{
    struct sched_param p = {1};
    return sched_setscheduler(0, SCHED_FIFO, &p);
}
static long try_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    return fd < 0 ? -1 : write(fd, "-1000", 5);
}
static long try_tiocsti(void)
{
    return ioctl(0, TIOCSTI, "x");
}
static long try_tiocsti_high_bits(void)
{
    return syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x");
}
static long try_tioclinux(void)
{
    return ioctl(0, 0x541c, "\2");
}
static long try_kcore(void)
{
    char byte;
    int fd = open("/proc/kcore", O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) != 0)
        return fd < 0 ? -1 : 0;
    errno = ENODATA; /* masked: there is nothing to read */
    return -1;
}
static long try_kill_all_host(void)
{
    return kill(atoi(getenv("HOST_PID")), 0);
}
static long try_ptrace_init(void)
{
    return ptrace(PTRACE_ATTACH, 1, 0, 0);
}
static long try_kill_init(void)
{
    return kill(1, SIGKILL);
}
static long try_setuid_root(void)
{
    return setresuid(0, 0, 0);
}
static long try_trusted_xattr(void)
{
    return syscall(SYS_setxattr, "/tmp", "trusted.x", "1", 1, 0);
}
static long try_memlock(void)
{
    struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_NPROC, &r);
}
static long try_newer_call(void)
{
    return syscall(462);
} /* mseal */
static long try_swapon(void)
{
    return syscall(SYS_swapon, "/tmp/x", 0);
}
static long try_acct(void)
{
    return syscall(SYS_acct, "/tmp/x");
}
static long try_quotactl(void)
{
    return syscall(SYS_quotactl, 0, NULL, 0, NULL);
}
static long try_iopl(void)
{
#ifdef SYS_iopl
    return syscall(SYS_iopl, 3);
#else
    errno = EPERM;
    return -1;
#endif
}
static long try_pidfd_getfd(void)
{
    return syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getpid(), 0), 0, 0);
}
static long try_fanotify(void)
{
    return syscall(SYS_fanotify_init, 0, 0);
}

#define TRY(name)                                                                                  \
    {                                                                                              \
#name, try_##name                                                                          \
    }
static const struct {
    const char *name;
    long (*run)(void);
} tries[] = {
    TRY(unshare_user),
    TRY(unshare_mount),
    TRY(clone_user),
    TRY(clone_net),
    TRY(clone_plain),
    TRY(clone3),
    TRY(mount),
    TRY(umount),
    TRY(pivot_root),
    TRY(chroot),
    TRY(fsopen),
    TRY(open_tree),
    TRY(setns),
    TRY(bpf),
    TRY(perf),
    TRY(io_uring),
    TRY(userfaultfd),
    TRY(add_key),
    TRY(keyctl),
    TRY(open_by_handle),
    TRY(init_module),
    TRY(kexec),
    TRY(reboot),
    TRY(raw),
    TRY(packet),
    TRY(vsock),
    TRY(alg),
    TRY(alg_high_bits),
    TRY(netlink_audit),
    TRY(netlink_route),
    TRY(unix),
    TRY(int80),
    TRY(x32),
    TRY(mknod_block),
    TRY(mknod_fifo),
    TRY(core_pattern),
    TRY(sysrq),
    TRY(settimeofday),
    TRY(sethostname),
    TRY(syslog),
    TRY(personality),
    TRY(nice),
    TRY(fifo_scheduler),
    TRY(oom_score),
    TRY(tiocsti),
    TRY(tiocsti_high_bits),
    TRY(tioclinux),
    TRY(kcore),
    TRY(kill_all_host),
    TRY(ptrace_init),
    TRY(kill_init),
    TRY(setuid_root),
    TRY(trusted_xattr),
    TRY(memlock),
    TRY(newer_call),
    TRY(swapon),
    TRY(acct),
    TRY(quotactl),
    TRY(iopl),
    TRY(pidfd_getfd),
    TRY(fanotify),
};

static void report(const char *name, int wait_status)
{
    if (WIFSIGNALED(wait_status))
        printf("%s %s\n", name, sigabbrev_np(WTERMSIG(wait_status)));
    else if (WEXITSTATUS(wait_status))
        printf("%s %s\n", name, strerrorname_np(WEXITSTATUS(wait_status)));
    else
        printf("%s 0\n", name);
}

int main(void)
{
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            _exit(tries[i].run() < 0 ? errno : 0);
        int status;
        waitpid(pid, &status, 0);
        report(tries[i].name, status);
    }
    return 0;
}
