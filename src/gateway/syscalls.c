#include "gateway/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is allowed with any arguments: none of these reaches further than open descriptors do. */
static const int allowed[] = {
    /* descriptors */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fsync),
    SCMP_SYS(ftruncate),
    /* sockets, beside socket() */
    SCMP_SYS(accept4),
    SCMP_SYS(bind), /* which addresses are the machine's own; not listen() */
    SCMP_SYS(connect),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    /* waiting */
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(futex),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    /* memory, beside mmap() and mprotect() */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* itself */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getrandom),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getrlimit),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(signalfd4),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* Nothing of ours ever calls these: whoever does has taken the process over. */
static const int deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(personality),
};

/* Argument N, under MASK, is VALUE. */
static struct scmp_arg_cmp argument(unsigned n, uint64_t mask, uint64_t value)
{
    return (struct scmp_arg_cmp){n, SCMP_CMP_MASKED_EQ, mask, value};
}

static int allow_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

/* TCP and UDP over IP; not SOCK_RAW, which would want a capability too. */
static int allow_sockets(scmp_filter_ctx filter)
{
    static const uint64_t families[] = {AF_INET, AF_INET6}, types[] = {SOCK_DGRAM, SOCK_STREAM};
    static const uint64_t type_mask = ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);
    int status = 0;
    for (int i = 0; status == 0 && i < 4; i++) {
        struct scmp_arg_cmp both[] = {argument(0, UINT64_MAX, families[i / 2]),
                                      argument(1, type_mask, types[i % 2])};
        status = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, both);
    }
    return status;
}

static int add_conditions(scmp_filter_ctx filter)
{
    static const uint64_t any_write = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
    int status = allow_if(filter, SCMP_SYS(openat), argument(2, any_write, O_RDONLY));
    if (status == 0)
        status = allow_if(filter, SCMP_SYS(open), argument(1, any_write, O_RDONLY));
    if (status == 0)
        status = allow_if(filter, SCMP_SYS(mmap), argument(2, PROT_EXEC, 0));
    if (status == 0)
        status = allow_if(filter, SCMP_SYS(mprotect), argument(2, PROT_EXEC, 0));
    if (status == 0) /* abort() */
        status = allow_if(filter, SCMP_SYS(tgkill), argument(0, UINT64_MAX, (uint64_t)getpid()));
    /* Not F_SETOWN, which sends signals to others. */
    static const int commands[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
    for (size_t i = 0; status == 0 && i < sizeof commands / sizeof commands[0]; i++)
        status = allow_if(filter, SCMP_SYS(fcntl), argument(1, UINT32_MAX, (uint64_t)commands[i]));
    /* How much is there to read, and non-blocking: not the ioctls of terminals and devices. */
    static const unsigned long requests[] = {FIONREAD, FIONBIO, SIOCOUTQ};
    for (size_t i = 0; status == 0 && i < sizeof requests / sizeof requests[0]; i++)
        status = allow_if(filter, SCMP_SYS(ioctl), argument(1, UINT32_MAX, requests[i]));
    return status == 0 ? allow_sockets(filter) : status;
}

static int add_rules(scmp_filter_ctx filter)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
        status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; status == 0 && i < sizeof deadly / sizeof deadly[0]; i++)
        status = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    return status == 0 ? add_conditions(filter) : status;
}

int syscalls_restrict(struct err *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int status = filter ? add_rules(filter) : -ENOMEM;
    if (status == 0)
        status = seccomp_load(filter);
    seccomp_release(filter);
    if (status == 0)
        return 0;
    errno = -status;
    return err_errno(err, "cannot restrict the system calls");
}
