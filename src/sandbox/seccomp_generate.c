/*
 * Run at build time: prints the sandbox's seccomp policy as a header, so that a start of a sandbox
 * neither parses a policy nor links libseccomp. Once as a filter, for crun, which takes it as it is,
 * and once as the OCI specification has it, for runc, which takes no filter and makes its own.
 *
 * The policy starts from moby's default profile (what Docker gives to a container without
 * capabilities; profiles/seccomp/default.json at commit 00f3d189e420, of which seccomp_allowed.h is a
 * part) and takes more away: namespaces, mounts, keys, bpf, perf, io_uring, userfaultfd,
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
#define NATIVE_ARCH_NAME "SCMP_ARCH_X86_64"
#elif defined(__aarch64__)
enum { NATIVE_ARCH = AUDIT_ARCH_AARCH64 };
#define NATIVE_ARCH_NAME "SCMP_ARCH_AARCH64"
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

/* The bits of MASK in an argument, and what they have to be. */
static struct scmp_arg_cmp bits_are(unsigned arg, scmp_datum_t mask, scmp_datum_t bits)
{
    return (struct scmp_arg_cmp){
        .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = bits};
}

/* A policy in both of its forms. What stands in JSON for a rule is written as the rule is made, so
 * that the two cannot differ. */
struct policy {
    scmp_filter_ctx filter;
    FILE *names, *rules; /* JSON: of calls that are allowed whatever their arguments; of all else */
};

static void print_json_rule(FILE *out, uint32_t action, const char *call, unsigned count,
                            const struct scmp_arg_cmp *args)
{
    fprintf(out, ",{\"names\":[\"%s\"],\"action\":\"%s\"", call,
            action == SCMP_ACT_ALLOW ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO");
    if (action != SCMP_ACT_ALLOW)
        fprintf(out, ",\"errnoRet\":%u", action & 0xffff);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "%s{\"index\":%u,\"value\":%llu,\"valueTwo\":%llu,\"op\":\"%s\"}",
                i ? "," : ",\"args\":[", args[i].arg, (unsigned long long)args[i].datum_a,
                (unsigned long long)args[i].datum_b,
                args[i].op == SCMP_CMP_MASKED_EQ ? "SCMP_CMP_MASKED_EQ"
                : args[i].op == SCMP_CMP_EQ      ? "SCMP_CMP_EQ"
                                                 : "SCMP_CMP_NE");
    fprintf(out, "%s}", count ? "]" : "");
}

/* Calls of which own_rules[] says more: print_json_own() has them. */
static bool has_own_rules(const char *call)
{
    static const char *const calls[] = {"ioctl", "setrlimit", "prlimit64", "setsockopt"};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!strcmp(call, calls[i]))
            return true;
    return false;
}

/* A rule about CALL. One that this architecture does not have is left out. */
static void add(const struct policy *policy, uint32_t action, const char *call, unsigned count,
                const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(call);
    if (number < 0)
        return;
    check(seccomp_rule_add_array(policy->filter, action, number, count, args), call);
    bool plain = count == 0 && action == SCMP_ACT_ALLOW;
    if (plain && !has_own_rules(call))
        fprintf(policy->names, "%s\"%s\"", ftell(policy->names) ? "," : "", call);
    else if (!plain)
        print_json_rule(policy->rules, action, call, count, args);
}

static void allow_if(const struct policy *policy, const char *call, struct scmp_arg_cmp arg)
{
    add(policy, SCMP_ACT_ALLOW, call, 1, &arg);
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

static void allow_plain_modes(const struct policy *policy)
{
    for (size_t i = 0; i < sizeof sets_mode / sizeof sets_mode[0]; i++)
        allow_if(policy, sets_mode[i].name, bits_are(sets_mode[i].mode, S_ISUID | S_ISGID, 0));
    /* Without one of these flags the mode does not count, and may be anything. */
    static const scmp_datum_t creates = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
    allow_if(policy, "open", bits_are(1, creates, 0));
    allow_if(policy, "openat", bits_are(2, creates, 0));
    add(policy, SCMP_ACT_ERRNO(ENOSYS), "openat2", 0, NULL);
}

static void allow_plain(const struct policy *policy, bool modes)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (modes || !is_about_modes(allowed[i]))
            add(policy, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
}

static void allow_sockets(const struct policy *policy)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        allow_if(policy, "socket", is(0, SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    /* NETLINK_ROUTE: getifaddrs(). The other protocols are kernel surface that no build needs;
     * groupadd and its like go on without auditing when the kernel has none, but not when it
     * refuses. */
    const struct scmp_arg_cmp route[] = {is(0, SCMP_CMP_EQ, AF_NETLINK), is(2, SCMP_CMP_EQ, 0)};
    const struct scmp_arg_cmp others[] = {is(0, SCMP_CMP_EQ, AF_NETLINK), is(2, SCMP_CMP_NE, 0)};
    add(policy, SCMP_ACT_ALLOW, "socket", 2, route);
    add(policy, SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", 2, others);
    allow_if(policy, "socketpair", is(0, SCMP_CMP_EQ, AF_UNIX));
}

static void allow_by_argument(const struct policy *policy)
{
    static const scmp_datum_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
                                           CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                           CLONE_NEWCGROUP;
    allow_if(policy, "clone", bits_are(0, namespaces, 0));
    add(policy, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    /* One number for the whole machine bounds all that wait (fs.aio-max-nr). Databases know kernels
     * without. */
    add(policy, SCMP_ACT_ERRNO(ENOSYS), "io_setup", 0, NULL);
    /* As moby: PER_LINUX, PER_LINUX32, UNAME26, both, and the query. */
    static const scmp_datum_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff};
    for (size_t i = 0; i < sizeof personalities / sizeof personalities[0]; i++)
        allow_if(policy, "personality", is(0, SCMP_CMP_EQ, personalities[i]));
}

/* One value of many that an argument's lower half must not have. */
struct excluded {
    const uint32_t *values;
    size_t count;
};

static void print_json_differs(FILE *out, const char *call, unsigned arg, struct excluded excluded,
                               int bit, uint32_t mask, uint32_t bits)
{
    size_t left = 0;
    for (size_t i = 0; i < excluded.count; i++)
        left += (excluded.values[i] & mask) == bits;
    if (left == 0) {
        struct scmp_arg_cmp is_so = bits_are(arg, mask, bits);
        print_json_rule(out, SCMP_ACT_ALLOW, call, 1, &is_so);
    } else if (bit >= 0) {
        uint32_t next = 1U << bit;
        print_json_differs(out, call, arg, excluded, bit - 1, mask | next, bits);
        print_json_differs(out, call, arg, excluded, bit - 1, mask | next, bits | next);
    }
}

/*
 * CALL is allowed when the lower half of its argument ARG is none of the COUNT VALUES. JSON can say
 * "equal" of a part of an argument only: so one rule for each way to differ, that is for each group of
 * numbers with the same first bits that none of the values has.
 */
static void print_json_unless(FILE *out, const char *call, unsigned arg, const uint32_t *values,
                              size_t count)
{
    print_json_differs(out, call, arg, (struct excluded){values, count}, 31, 0, 0);
}

/* What own_rules[] does for the filter. */
static void print_json_own(FILE *out)
{
    static const uint32_t terminal[] = {TIOCSTI, TIOCLINUX}, core[] = {RLIMIT_CORE};
    static const uint32_t level[] = {SOL_SOCKET};
    static const uint32_t options[] = {SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF,
                                       SO_ATTACH_REUSEPORT_EBPF};
    print_json_unless(out, "ioctl", 1, terminal, 2);
    struct scmp_arg_cmp sets[] = {bits_are(0, UINT32_MAX, RLIMIT_CORE)};
    print_json_unless(out, "setrlimit", 0, core, 1);
    print_json_rule(out, SCMP_ACT_ERRNO(0), "setrlimit", 1, sets);
    /* Both name the first argument: libseccomp 2.5 does not come to a rule about the second one alone
     * when a rule about both has failed at its second. */
    struct scmp_arg_cmp asks[] = {bits_are(1, UINT32_MAX, RLIMIT_CORE), is(2, SCMP_CMP_EQ, 0)};
    struct scmp_arg_cmp changes[] = {bits_are(1, UINT32_MAX, RLIMIT_CORE), is(2, SCMP_CMP_NE, 0)};
    print_json_unless(out, "prlimit64", 1, core, 1);
    print_json_rule(out, SCMP_ACT_ALLOW, "prlimit64", 2, asks);
    print_json_rule(out, SCMP_ACT_ERRNO(0), "prlimit64", 2, changes);
    print_json_unless(out, "setsockopt", 1, level, 1);
    print_json_unless(out, "setsockopt", 2, options, 4);
}

/* runc answers ENOSYS to what is newer than every call that is named: so the newest is. */
static void print_json_newest(FILE *out)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, NEWEST_CALL);
    if (name)
        print_json_rule(out, SCMP_ACT_ERRNO(EPERM), name, 0, NULL);
    free(name);
}

static struct policy make_policy(bool modes, FILE *names, FILE *rules)
{
    struct policy policy = {seccomp_init(SCMP_ACT_ERRNO(EPERM)), names, rules};
    if (!policy.filter)
        check(-ENOMEM, "seccomp_init");
    check(seccomp_attr_set(policy.filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
          "bad arch");
    check(seccomp_attr_set(policy.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2),
          "optimize"); /* a binary tree */
    allow_plain(&policy, modes);
    if (!modes)
        allow_plain_modes(&policy);
    allow_sockets(&policy);
    allow_by_argument(&policy);
    print_json_own(rules);
    print_json_newest(rules);
    return policy;
}

/* What libseccomp makes of the rules. Returns the number of instructions. */
static size_t generate(const struct policy *policy, struct sock_filter *out, size_t max)
{
    FILE *file = tmpfile();
    if (!file)
        check(-errno, "tmpfile");
    check(seccomp_export_bpf(policy->filter, fileno(file)), "export");
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

static void print_filter(const char *name, const struct policy *policy)
{
    static struct sock_filter filter[POLICY_MAX];
    size_t count = prepend_own(filter);
    count += generate(policy, filter + count, POLICY_MAX - count);
    printf("/* Made by seccomp_generate.c: %zu instructions (struct sock_filter), in base64. */\n"
           "static const char %s_base64[] =",
           count, name);
    print_base64((const unsigned char *)filter, count * sizeof filter[0]);
}

/* TEXT as a C string, a JSON object to a line. */
static void print_string(const char *text)
{
    printf("\n    \"");
    for (; *text; text++) {
        if (text[0] == ',' && text[1] == '{')
            printf("\"\n    \"");
        printf("%s%c", *text == '"' ? "\\" : "", *text);
    }
    printf("\"");
}

/* The member `seccomp` of config.json. */
static void print_json(const char *name, const char *names, const char *rules)
{
    printf("static const char %s_json[] =\n"
           "    \"{\\\"defaultAction\\\":\\\"SCMP_ACT_ERRNO\\\",\\\"defaultErrnoRet\\\":%d,\"\n"
           "    \"\\\"architectures\\\":[\\\"" NATIVE_ARCH_NAME "\\\"],\"\n"
           "    \"\\\"syscalls\\\":[{\\\"action\\\":\\\"SCMP_ACT_ALLOW\\\",\\\"names\\\":[\"",
           name, EPERM);
    print_string(names);
    printf("\n    \"]}\"");
    print_string(rules);
    printf("\n    \"]}\";\n");
}

static void print_policy(const char *name, bool modes)
{
    char *names = NULL, *rules = NULL;
    size_t size;
    FILE *names_file = open_memstream(&names, &size), *rules_file = open_memstream(&rules, &size);
    if (!names_file || !rules_file)
        check(-errno, "open_memstream");
    struct policy policy = make_policy(modes, names_file, rules_file);
    if (fclose(names_file) != 0 || fclose(rules_file) != 0)
        check(-errno, "JSON");
    print_filter(name, &policy);
    print_json(name, names, rules);
    seccomp_release(policy.filter);
    free(names);
    free(rules);
}

int main(void)
{
    print_policy("seccomp_policy", true);
    print_policy("seccomp_policy_no_setuid", false);
    return ferror(stdout) ? 1 : 0;
}
