/*
 * Run at build time: prints the sandbox's seccomp policy as a header, so that a start of a sandbox
 * neither parses a policy nor links libseccomp.
 *
 * The policy starts from moby's default profile (what Docker gives to a container without
 * capabilities) and takes more away: namespaces, mounts, keys, bpf, perf, io_uring, userfaultfd,
 * handles, AF_ALG, AF_VSOCK, AF_PACKET, every netlink but routes, TIOCSTI, chroot, AIO, filters on
 * sockets; and every architecture but the native one, whose 32-bit socketcall() would walk around
 * the filter on socket().
 *
 * A second policy is for sandboxes that write to a directory of the host, whose files are their
 * owner's there: it lets nobody make one set-user-ID or set-group-ID (as systemd's RestrictSUIDSGID=
 * does), which would be the owner's identity for whoever runs it on the host.
 *
 * Refused calls get EPERM. clone3, and calls that are newer than this policy, get ENOSYS: programs
 * then fall back on the older call, whose arguments can be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seccomp_allowed.h"

#if defined(__x86_64__)
enum { NATIVE_ARCH = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { NATIVE_ARCH = AUDIT_ARCH_AARCH64 };
#else
#error "no sandbox policy for this architecture yet"
#endif

/* set_mempolicy_home_node of Linux 5.17: what came later is answered as if the kernel were
 * older. */
enum { NEWEST_CALL = 450, POLICY_MAX = 4096 };

static void check(int status, const char *what)
{
    if (status == 0)
        return;
    fprintf(stderr, "seccomp policy: %s: %s\n", what, strerror(-status));
    exit(1);
}

/* An argument and what it has to be. (The macros of <seccomp.h> leave a member to chance.) */
static struct scmp_arg_cmp is(unsigned arg, enum scmp_compare op, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){.arg = arg, .op = op, .datum_a = value};
}

/* Calls that can give a file its mode, and which argument that is. */
static const struct {
    const char *name;
    unsigned mode;
} sets_mode[] = {{"chmod", 1}, {"fchmod", 1}, {"fchmodat", 2}, {"creat", 1},
                 {"open", 2},  {"openat", 3}, {"mknod", 1},    {"mknodat", 2}};

static bool is_about_modes(const char *name)
{
    for (size_t i = 0; i < sizeof sets_mode / sizeof sets_mode[0]; i++)
        if (!strcmp(name, sets_mode[i].name))
            return true;
    return !strcmp(name, "openat2"); /* has it in memory, where a filter cannot look */
}

static void allow_plain_modes(scmp_filter_ctx policy)
{
    for (size_t i = 0; i < sizeof sets_mode / sizeof sets_mode[0]; i++) {
        int call = seccomp_syscall_resolve_name(sets_mode[i].name);
        if (call >= 0)
            check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, call, 1,
                                   is(sets_mode[i].mode, SCMP_CMP_MASKED_EQ, S_ISUID | S_ISGID)),
                  sets_mode[i].name);
    }
    /* Without one of these flags the mode does not count, and may be anything. */
    static const scmp_datum_t creates = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
#ifdef __NR_open
    check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
                           is(1, SCMP_CMP_MASKED_EQ, creates)),
          "open");
#endif
    check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                           is(2, SCMP_CMP_MASKED_EQ, creates)),
          "openat");
    check(seccomp_rule_add(policy, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0), "openat2");
}

static void allow_plain(scmp_filter_ctx policy, bool modes)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (!modes && is_about_modes(allowed[i]))
            continue;
        int call = seccomp_syscall_resolve_name(allowed[i]);
        /* Negative: another architecture's; there is nothing to allow here. */
        if (call >= 0)
            check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, call, 0), allowed[i]);
    }
}

static void allow_sockets(scmp_filter_ctx policy)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                               is(0, SCMP_CMP_EQ, (scmp_datum_t)families[i])),
              "socket");
    /* NETLINK_ROUTE: getifaddrs(). The other protocols are kernel surface that no build needs;
     * groupadd and its like go on without auditing when the kernel has none, but not when it
     * refuses. */
    check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                           is(0, SCMP_CMP_EQ, AF_NETLINK), is(2, SCMP_CMP_EQ, 0)),
          "socket");
    check(seccomp_rule_add(policy, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 2,
                           is(0, SCMP_CMP_EQ, AF_NETLINK), is(2, SCMP_CMP_NE, 0)),
          "socket");
    check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
                           is(0, SCMP_CMP_EQ, AF_UNIX)),
          "socketpair");
}

static void allow_by_argument(scmp_filter_ctx policy)
{
    static const scmp_datum_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                           CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                           CLONE_NEWCGROUP;
    check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                           is(0, SCMP_CMP_MASKED_EQ, namespaces)),
          "clone");
    check(seccomp_rule_add(policy, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
    /* One number for the whole machine bounds all that wait (fs.aio-max-nr). Databases know kernels
     * without. */
    check(seccomp_rule_add(policy, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_setup), 0), "io_setup");
    /* As moby: PER_LINUX, PER_LINUX32, UNAME26, both, and the query. */
    static const scmp_datum_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff};
    for (size_t i = 0; i < sizeof personalities / sizeof personalities[0]; i++)
        check(seccomp_rule_add(policy, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                               is(0, SCMP_CMP_EQ, personalities[i])),
              "personality");
}

/* What libseccomp makes of the rules. Returns the number of instructions. */
static size_t generate(struct sock_filter *out, size_t max, bool modes)
{
    scmp_filter_ctx policy = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!policy)
        check(-ENOMEM, "seccomp_init");
    check(seccomp_attr_set(policy, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "bad arch");
    check(seccomp_attr_set(policy, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize"); /* a binary tree */
    allow_plain(policy, modes);
    if (!modes)
        allow_plain_modes(policy);
    allow_sockets(policy);
    allow_by_argument(policy);
    FILE *file = tmpfile();
    if (!file)
        check(-errno, "tmpfile");
    check(seccomp_export_bpf(policy, fileno(file)), "export");
    seccomp_release(policy);
    rewind(file);
    size_t count = fread(out, sizeof *out, max, file);
    if (count == 0 || count == max)
        check(-ERANGE, "size");
    fclose(file);
    return count;
}

/*
 * What libseccomp cannot say, in front of its filter: "newer than", and a comparison of one half of
 * an argument. Of an int the kernel looks at the lower half only; comparing the whole let TIOCSTI
 * through with a high bit set.
 */
struct condition {
    unsigned offset; /* of the half, in struct seccomp_data */
    uint32_t value;
    bool differs; /* the half has to be another one than `value` */
};

/* Both architectures are little-endian: the lower half comes first. */
#define LOWER(argument) ((unsigned)offsetof(struct seccomp_data, args[argument]))
#define UPPER(argument) (LOWER(argument) + 4)
#define SOCKET_OPTION(name)                                                                        \
    {                                                                                              \
        {LOWER(1), SOL_SOCKET, false},                                                             \
        {                                                                                          \
            LOWER(2), name, false                                                                  \
        }                                                                                          \
    }

static const struct {
    int call;
    uint32_t action;
    struct condition conditions[2]; /* an offset of 0 is none */
} own_rules[] = {
    /* Text for whoever reads the terminal behind us. */
    {SCMP_SYS(ioctl), SECCOMP_RET_ERRNO | EPERM, {{LOWER(1), TIOCSTI, false}}},
    {SCMP_SYS(ioctl), SECCOMP_RET_ERRNO | EPERM, {{LOWER(1), TIOCLINUX, false}}},
    /* A host whose core_pattern is a program runs it, as root, for whatever dumps core here, unless
     * RLIMIT_CORE is exactly 1 (core(5); 0 does not count there). So it stays what it is; who wants
     * no core dumps, as gpg and ssh-agent, is told that there will be none. */
    {SCMP_SYS(setrlimit), SECCOMP_RET_ERRNO | 0, {{LOWER(0), RLIMIT_CORE, false}}},
    {SCMP_SYS(prlimit64),
     SECCOMP_RET_ERRNO | 0,
     {{LOWER(1), RLIMIT_CORE, false}, {LOWER(2), 0, true}}},
    {SCMP_SYS(prlimit64),
     SECCOMP_RET_ERRNO | 0,
     {{LOWER(1), RLIMIT_CORE, false}, {UPPER(2), 0, true}}},
    /* Their machine code is memory that no cgroup is charged for, out of one small pool of the
     * machine. Of use on packet sockets, which nobody has here. */
    {SCMP_SYS(setsockopt), SECCOMP_RET_ERRNO | EPERM, SOCKET_OPTION(SO_ATTACH_FILTER)},
    {SCMP_SYS(setsockopt), SECCOMP_RET_ERRNO | EPERM, SOCKET_OPTION(SO_ATTACH_BPF)},
    {SCMP_SYS(setsockopt), SECCOMP_RET_ERRNO | EPERM, SOCKET_OPTION(SO_ATTACH_REUSEPORT_CBPF)},
    {SCMP_SYS(setsockopt), SECCOMP_RET_ERRNO | EPERM, SOCKET_OPTION(SO_ATTACH_REUSEPORT_EBPF)},
};
enum { OWN_RULES = sizeof own_rules / sizeof own_rules[0], OWN_RULE_MAX = 7 };

/* The number of the call is in the accumulator, before and after. Returns how many instructions. */
static size_t append_own_rule(struct sock_filter *out, size_t rule)
{
    const struct condition *conditions = own_rules[rule].conditions;
    size_t conditions_count = conditions[1].offset ? 2 : 1;
    uint8_t left = (uint8_t)(conditions_count * 2 + 2); /* instructions behind the first */
    struct sock_filter *next = out;
    *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                           (uint32_t)own_rules[rule].call, 0, left);
    for (size_t i = 0; i < conditions_count; i++) {
        uint8_t over = (uint8_t)((conditions_count - i - 1) * 2 + 1); /* to the last */
        bool differs = conditions[i].differs;
        *next++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, conditions[i].offset);
        *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, conditions[i].value,
                                               differs ? over : 0, differs ? 0 : over);
    }
    *next++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, own_rules[rule].action);
    *next++ =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    return (size_t)(next - out);
}

static size_t prepend_own(struct sock_filter *out)
{
    struct sock_filter rules[OWN_RULES * OWN_RULE_MAX];
    size_t rules_count = 0;
    for (size_t i = 0; i < OWN_RULES; i++)
        rules_count += append_own_rule(rules + rules_count, i);
    /* Jumps of what is not ours end right behind the last of the rules. */
    const struct sock_filter head[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, (uint8_t)(rules_count + 4)),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* x32 numbers have bit 30: left to libseccomp, which kills them as another
         * architecture's. */
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, (uint8_t)(rules_count + 2), 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    size_t head_count = sizeof head / sizeof head[0];
    memcpy(out, head, sizeof head);
    memcpy(out + head_count, rules, rules_count * sizeof rules[0]);
    return head_count + rules_count;
}

static void print_base64(const unsigned char *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16 |
                         (i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < len ? bytes[i + 2] : 0);
        if (i % 72 == 0)
            printf("%s\n    \"", i ? "\"" : "");
        printf("%c%c%c%c", digits[three >> 18], digits[three >> 12 & 63],
               i + 1 < len ? digits[three >> 6 & 63] : '=', i + 2 < len ? digits[three & 63] : '=');
    }
    printf("\";\n");
}

static void print_policy(const char *name, bool modes)
{
    static struct sock_filter policy[POLICY_MAX];
    size_t count = prepend_own(policy);
    count += generate(policy + count, POLICY_MAX - count, modes);
    printf("/* Made by seccomp_generate.c: %zu instructions (struct sock_filter), in base64. */\n"
           "static const char %s[] =",
           count, name);
    print_base64((const unsigned char *)policy, count * sizeof policy[0]);
}

int main(void)
{
    print_policy("seccomp_bpf_base64", true);
    print_policy("seccomp_bpf_no_setuid_base64", false);
    return ferror(stdout) ? 1 : 0;
}
