/* Each case is tried in a child that is confined as the gateway is: what must fail really fails. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/confine.h"

enum { SKIPPED = 250, CONFINE_FAILED = 251 };

/* What ATTEMPT came to in a confined child: its return value (0, or an errno), or -signal. */
static int confined(int (*attempt)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err err;
        if (confine(&err) < 0) {
            fprintf(stderr, "%s\n", err.message);
            _exit(CONFINE_FAILED);
        }
        _exit(attempt());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    int code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    assert_int_not_equal(code, CONFINE_FAILED);
    return code;
}

static int error_of(long result)
{
    return result < 0 ? errno : 0;
}

static int try_unix_socket(void)
{
    return error_of(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int try_netlink_socket(void)
{
    return error_of(socket(AF_NETLINK, SOCK_RAW, 0));
}
static int try_packet_socket(void)
{
    return error_of(socket(AF_PACKET, SOCK_RAW, 0));
}
static int try_raw_socket(void)
{
    return error_of(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}
static int try_vsock(void)
{
    return error_of(socket(AF_VSOCK, SOCK_STREAM, 0));
}
static int try_create(void)
{
    return error_of(open("/tmp/codex-confine-test", O_WRONLY | O_CREAT, 0600));
}
static int try_open_for_writing(void)
{
    return error_of(open("/dev/null", O_RDWR));
}
static int try_tmpfile(void)
{
    return error_of(open("/tmp", O_TMPFILE | O_RDWR, 0600));
}
static int try_unlink(void)
{
    return error_of(unlink("/tmp/codex-confine-test"));
}
static int try_executable_memory(void)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? errno : 0;
}
static int try_making_memory_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return error_of(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int try_kill(void)
{
    return error_of(kill(getppid(), 0));
}
static int try_tgkill(void)
{
    return error_of(syscall(SYS_tgkill, getppid(), getppid(), 0));
}
static int try_signals_by_descriptor(void)
{
    return error_of(fcntl(0, F_SETOWN, getppid()));
}
static int try_listen(void)
{
    return error_of(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}
static int try_becoming_root(void)
{
    return error_of(setresuid(0, 0, 0));
}
static int try_dumpable(void)
{
    return error_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int try_tty_ioctl(void)
{
    return error_of(ioctl(0, TIOCSTI, "x"));
}
static int try_clone3(void)
{
    return error_of(syscall(SYS_clone3, NULL, 0));
}
static int try_memfd(void)
{
    return error_of(memfd_create("x", 0));
}
static int try_getdents(void)
{
    char room[1024];
    return error_of(syscall(SYS_getdents64, 0, room, sizeof room));
}

static void what_is_not_needed_fails(void **state)
{
    static const struct {
        const char *name;
        int (*attempt)(void);
    } cases[] = {
        {"AF_UNIX", try_unix_socket},
        {"AF_NETLINK", try_netlink_socket},
        {"AF_PACKET", try_packet_socket},
        {"raw", try_raw_socket},
        {"AF_VSOCK", try_vsock},
        {"create", try_create},
        {"open for writing", try_open_for_writing},
        {"O_TMPFILE", try_tmpfile},
        {"unlink", try_unlink},
        {"executable memory", try_executable_memory},
        {"memory made executable", try_making_memory_executable},
        {"kill", try_kill},
        {"tgkill", try_tgkill},
        {"F_SETOWN", try_signals_by_descriptor},
        {"listen", try_listen},
        {"setresuid", try_becoming_root},
        {"TIOCSTI", try_tty_ioctl},
        {"clone3", try_clone3},
        {"memfd_create", try_memfd},
        {"PR_SET_DUMPABLE", try_dumpable},
        {"getdents64", try_getdents},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (confined(cases[i].attempt) != EPERM)
            fail_msg("%s: %d", cases[i].name, confined(cases[i].attempt));
}

static int try_exec(void)
{
    return error_of(execl("/bin/true", "true", NULL));
}
static int try_execveat(void)
{
    return error_of(syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0));
}
static int try_ptrace(void)
{
    return error_of(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}
static int try_mount(void)
{
    return error_of(mount("none", "/", "tmpfs", 0, NULL));
}
static int try_setns(void)
{
    return error_of(syscall(SYS_setns, 0, 0));
}
static int try_unshare(void)
{
    return error_of(syscall(SYS_unshare, 0));
}
static int try_bpf(void)
{
    return error_of(syscall(SYS_bpf, 0, NULL, 0));
}
static int try_process_vm_readv(void)
{
    return error_of(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}
static int try_32_bit_call(void)
{
#ifdef __x86_64__
    /* A filter for one architecture must not be walked around through another: getpid as i386
     * says. */
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    return 0;
#else
    raise(SIGSYS);
    return 0;
#endif
}

static void what_only_an_attacker_calls_is_deadly(void **state)
{
    static const struct {
        const char *name;
        int (*attempt)(void);
    } cases[] = {
        {"execve", try_exec},
        {"execveat", try_execveat},
        {"ptrace", try_ptrace},
        {"mount", try_mount},
        {"setns", try_setns},
        {"unshare", try_unshare},
        {"bpf", try_bpf},
        {"process_vm_readv", try_process_vm_readv},
        {"int 0x80", try_32_bit_call},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (confined(cases[i].attempt) != -SIGSYS)
            fail_msg("%s: %d", cases[i].name, confined(cases[i].attempt));
}

static int try_what_it_needs(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0)
        return 1;
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
        return 2;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
        return 3;
    int count;
    return ioctl(fd, FIONREAD, &count) < 0 ? 4 : 0;
}

static void what_is_needed_works(void **state)
{
    assert_int_equal(confined(try_what_it_needs), 0);
}

static int try_who_it_is(void)
{
    uid_t real, effective, saved;
    if (getresuid(&real, &effective, &saved) < 0)
        return geteuid() == CONFINE_UID && getuid() == CONFINE_UID && getegid() == CONFINE_UID ? 0
                                                                                               : 1;
    return real == CONFINE_UID && effective == CONFINE_UID && saved == CONFINE_UID ? 0 : 1;
}

static void root_becomes_nobody(void **state)
{
    if (geteuid() != 0)
        skip();
    assert_int_equal(confined(try_who_it_is), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_needed_fails),
        cmocka_unit_test(what_only_an_attacker_calls_is_deadly),
        cmocka_unit_test(what_is_needed_works),
        cmocka_unit_test(root_becomes_nobody),
    };
    return cmocka_run_group_tests_name("gateway confine", tests, NULL, NULL);
}
