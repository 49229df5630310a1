/* System calls that lead out of a sandbox, or into parts of the kernel that it has no business in. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "attempt.h"

/* Newer than the headers of some systems. */
enum { CALL_MSEAL = 462, CALL_CLONE3 = 435 };

static long clone_with(unsigned long flags)
{
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid;
}

/* ---- namespaces and mounts */

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
static long try_clone3_user(void)
{
    struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = syscall(CALL_CLONE3, &args, sizeof args);
    if (pid == 0)
        _exit(0);
    return pid;
}
static long try_mount_in_nested_user(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -1;
    return mount("none", ".", "tmpfs", 0, NULL);
}
static long try_mount(void)
{
    return mount("none", ".", "tmpfs", 0, NULL);
}
static long try_umount(void)
{
    return umount2(".", MNT_DETACH);
}
static long try_bind_mount(void)
{
    return mount("/", ".", NULL, MS_BIND, NULL);
}
static long try_mount_cgroup(void)
{
    return mount("none", ".", "cgroup2", 0, NULL);
}
static long try_pivot_root(void)
{
    return syscall(SYS_pivot_root, ".", ".");
}
static long try_chroot(void)
{
    return chroot(".");
}
static long try_fsopen(void)
{
    return syscall(SYS_fsopen, "tmpfs", 0);
}
static long try_open_tree(void)
{
    return syscall(SYS_open_tree, AT_FDCWD, ".", 1); /* OPEN_TREE_CLONE */
}
static long try_move_mount(void)
{
    return syscall(SYS_move_mount, -1, "", -1, "", 0);
}
static long try_mount_setattr(void)
{
    return syscall(SYS_mount_setattr, -1, "", 0, NULL, 0);
}
static long try_setns(void)
{
    return setns(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), 0);
}

/* ---- parts of the kernel */

static long try_bpf(void)
{
    union bpf_attr a = {0};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a);
}
static long try_perf(void)
{
    struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .size = sizeof a};
    return syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}
static long try_io_uring(void)
{
    char parameters[120] = {0};
    return syscall(SYS_io_uring_setup, 1, parameters);
}
static long try_aio(void)
{
    unsigned long context = 0;
    return syscall(SYS_io_setup, 1, &context);
}
static long try_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, 0);
}
static long try_add_key(void)
{
    return syscall(SYS_add_key, "user", "k", "v", 1, -2); /* the process's own keyring */
}
static long try_keyctl(void)
{
    return syscall(SYS_keyctl, 0, -2, 1);
}
static long try_open_by_handle(void)
{
    struct {
        struct file_handle head;
        unsigned char bytes[MAX_HANDLE_SZ];
    } handle = {.head.handle_bytes = MAX_HANDLE_SZ};
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, ".", &handle.head, &mount_id, 0) < 0)
        handle.head.handle_bytes = 8; /* a made-up one */
    return syscall(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
}
static long try_init_module(void)
{
    return syscall(SYS_init_module, "", 0, "");
}
static long try_finit_module(void)
{
    return syscall(SYS_finit_module, -1, "", 0);
}
static long try_delete_module(void)
{
    return syscall(SYS_delete_module, "no_such_module", O_NONBLOCK);
}
static long try_kexec(void)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, 0xffffUL); /* no such flags */
}
static long try_reboot(void)
{
    return syscall(SYS_reboot, 0, 0, 0, NULL); /* not its magic numbers */
}
static long try_fanotify(void)
{
    return syscall(SYS_fanotify_init, 0, 0);
}
static long try_swapon(void)
{
    return syscall(SYS_swapon, "no-such-file", 0);
}
static long try_acct(void)
{
    return syscall(SYS_acct, "no-such-file");
}
static long try_quotactl(void)
{
    return syscall(SYS_quotactl, 0x800002 << 8, "no-such-device", 0, NULL); /* Q_GETFMT */
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
static long try_newer_call(void)
{
    return syscall(CALL_MSEAL, 0, 0, 0);
}

/* ---- sockets */

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
static long try_xdp(void)
{
    return socket(AF_XDP, SOCK_RAW, 0);
}
static long try_netlink_audit(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 9);
}
static long try_netlink_diag(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 4);
}
static long try_netlink_route(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long try_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long try_interface_up(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request);
}
static long attach_filter(unsigned long level)
{
    struct sock_filter instruction = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &instruction};
    return syscall(SYS_setsockopt, socket(AF_UNIX, SOCK_DGRAM, 0), level, SO_ATTACH_FILTER,
                   &program, sizeof program);
}
static long try_socket_filter(void)
{
    return attach_filter(SOL_SOCKET);
}
static long try_socket_filter_high_bits(void)
{
    return attach_filter(0x100000000UL | SOL_SOCKET);
}

/* ---- other architectures */

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

/* ---- the machine's clock, names, log and scheduler */

static long try_settimeofday(void)
{
    struct timeval t = {1, -1}; /* no time */
    return syscall(SYS_settimeofday, &t, NULL);
}
static long try_clock_settime(void)
{
    struct timespec t = {1, -1};
    return syscall(SYS_clock_settime, CLOCK_REALTIME, &t);
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
    return setpriority(PRIO_PROCESS, 0, -20);
}
static long try_fifo_scheduler(void)
{
    struct sched_param p = {1};
    return sched_setscheduler(0, SCHED_FIFO, &p);
}
static long try_realtime_io(void)
{
    return syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4); /* IOPRIO_CLASS_RT */
}
static long try_lock_memory(void)
{
    size_t size = 64 << 20; /* more than anybody may who has no CAP_IPC_LOCK */
    void *memory = calloc(1, size);
    return memory ? mlock(memory, size) : -1;
}

/* ---- limits */

static long try_more_processes(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NPROC, &limit) < 0)
        return -1;
    limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
    return setrlimit(RLIMIT_NPROC, &limit);
}

/* With RLIMIT_CORE 0 the kernel would run the host's program for core dumps. */
static long core_limit_became_zero(void)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_CORE, &now) < 0)
        return -1;
    errno = ENODATA;
    return now.rlim_cur == 0 ? 0 : -1;
}
static long try_core_limit(void)
{
    struct rlimit none = {0, 0};
    return syscall(SYS_setrlimit, RLIMIT_CORE, &none) < 0 ? -1 : core_limit_became_zero();
}
static long try_core_limit_by_prlimit(void)
{
    struct rlimit none = {0, 0};
    return syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, NULL) < 0 ? -1 : core_limit_became_zero();
}
static long try_core_limit_high_bits(void)
{
    struct rlimit none = {0, 0};
    syscall(SYS_setrlimit, 0x100000000UL | RLIMIT_CORE, &none);
    return syscall(SYS_prlimit64, 0, 0x100000000UL | RLIMIT_CORE, &none, NULL) < 0
               ? -1
               : core_limit_became_zero();
}

/* ---- terminals */

static int own_terminal(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    return master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0
               ? open(ptsname(master), O_RDWR | O_NOCTTY)
               : -1;
}
static long try_tiocsti(void)
{
    return ioctl(own_terminal(), TIOCSTI, "x");
}
static long try_tiocsti_high_bits(void)
{
    return syscall(SYS_ioctl, own_terminal(), 0x100000000UL | TIOCSTI, "x");
}
static long try_tioclinux(void)
{
    return ioctl(own_terminal(), TIOCLINUX, "\2");
}

static const struct attempt attempts[] = {
    ATTEMPT(0, clone_plain),
    ATTEMPT(0, netlink_route),
    ATTEMPT(0, unix),
    ATTEMPT(1, unshare_user),
    ATTEMPT(1, unshare_mount),
    ATTEMPT(1, clone_user),
    ATTEMPT(1, clone_net),
    ATTEMPT(1, clone3_user),
    ATTEMPT(2, mount_in_nested_user),
    ATTEMPT(3, umount),
    ATTEMPT(3, pivot_root),
    ATTEMPT(3, fsopen),
    ATTEMPT(3, open_tree),
    ATTEMPT(3, move_mount),
    ATTEMPT(3, mount_setattr),
    ATTEMPT(3, chroot),
    ATTEMPT(4, setns),
    ATTEMPT(5, bpf),
    ATTEMPT(6, perf),
    ATTEMPT(7, io_uring),
    ATTEMPT(8, userfaultfd),
    ATTEMPT(9, add_key),
    ATTEMPT(9, keyctl),
    ATTEMPT(10, open_by_handle),
    ATTEMPT(11, init_module),
    ATTEMPT(11, finit_module),
    ATTEMPT(11, delete_module),
    ATTEMPT(11, kexec),
    ATTEMPT(11, reboot),
    ATTEMPT(12, raw),
    ATTEMPT(12, packet),
    ATTEMPT(12, xdp),
    ATTEMPT(13, vsock),
    ATTEMPT(13, alg),
    ATTEMPT(13, alg_high_bits),
    ATTEMPT(0, netlink_audit),
    ATTEMPT(0, netlink_diag),
    ATTEMPT(0, interface_up),
    ATTEMPT(0, socket_filter),
    ATTEMPT(0, socket_filter_high_bits),
    ATTEMPT(14, int80),
    ATTEMPT(14, x32),
    ATTEMPT(19, settimeofday),
    ATTEMPT(19, clock_settime),
    ATTEMPT(19, sethostname),
    ATTEMPT(19, syslog),
    ATTEMPT(20, personality),
    ATTEMPT(20, nice),
    ATTEMPT(20, fifo_scheduler),
    ATTEMPT(0, realtime_io),
    ATTEMPT(0, lock_memory),
    ATTEMPT(0, more_processes),
    ATTEMPT(22, tiocsti),
    ATTEMPT(22, tiocsti_high_bits),
    ATTEMPT(22, tioclinux),
    ATTEMPT(32, core_limit),
    ATTEMPT(32, core_limit_by_prlimit),
    ATTEMPT(32, core_limit_high_bits),
    ATTEMPT(0, aio),
    ATTEMPT(0, fanotify),
    ATTEMPT(0, swapon),
    ATTEMPT(0, acct),
    ATTEMPT(0, quotactl),
    ATTEMPT(0, iopl),
    ATTEMPT(0, newer_call),
    /* Behind the rest: where they succeed, they cover the directory that we are in. */
    ATTEMPT(30, mount_cgroup),
    ATTEMPT(3, bind_mount),
    ATTEMPT(3, mount),
};

int main(void)
{
    return attempt_all(attempts, sizeof attempts / sizeof attempts[0]);
}
