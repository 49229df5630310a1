/*
 * Run at build time: prints the sandbox's seccomp policy as a header, so that a start of a sandbox
 * neither parses a policy nor links libseccomp. Once as a filter, for crun, which takes it as it is,
 * and once as the OCI specification has it, for runc, which takes no filter and makes its own.
 *
 * The policy starts from moby's default profile (what Docker gives to a container without
 * capabilities; profiles/seccomp/default.json at commit 00f3d189e420, of which seccomp_allowed.h is a
 * part) and takes more away: namespaces, mounts, keys, bpf, perf, io_uring, userfaultfd,
 * handles, AF_ALG, AF_VSOCK, AF_PACKET, every netlink but routes, TIOCSTI, chroot; and every
 * architecture but the native one, whose 32-bit socketcall() would walk around the filter on
 * socket().
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

/* A rule about CALL. One that this architecture does not have is left out. */
static void add(const struct policy *policy, uint32_t action, const char *call, unsigned count,
                const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(call);
    if (number < 0)
        return;
    check(seccomp_rule_add_array(policy->filter, action, number, count, args), call);
    if (count == 0 && action == SCMP_ACT_ALLOW && strcmp(call, "ioctl") != 0)
        fprintf(policy->names, "%s\"%s\"", ftell(policy->names) ? "," : "", call);
    else if (count || action != SCMP_ACT_ALLOW)
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
    /* As moby: PER_LINUX, PER_LINUX32, UNAME26, both, and the query. */
    static const scmp_datum_t personalities[] = {0, 0x8, 0x20000, 0x20008, 0xffffffff};
    for (size_t i = 0; i < sizeof personalities / sizeof personalities[0]; i++)
        allow_if(policy, "personality", is(0, SCMP_CMP_EQ, personalities[i]));
}

/*
 * What prepend_own() does for the filter, in the words that JSON has: none of them is "not equal" of
 * a part. The lower half of the request differs from TIOCSTI (0x5412) and TIOCLINUX (0x541c) when
 * one of its upper 28 bits does, or when its last four are odd, or x000, 01x0 or 1x10.
 */
static void print_json_ioctl(FILE *out)
{
    static const struct {
        scmp_datum_t mask, bits;
    } last_four[] = {{1, 1}, {7, 0}, {13, 4}, {11, 10}};
    _Static_assert(TIOCSTI == 0x5412 && TIOCLINUX == 0x541c, "the patterns are made for these");
    for (int bit = 4; bit < 32; bit++) {
        struct scmp_arg_cmp arg = bits_are(1, 1ULL << bit, ~(scmp_datum_t)TIOCSTI & 1ULL << bit);
        print_json_rule(out, SCMP_ACT_ALLOW, "ioctl", 1, &arg);
    }
    for (size_t i = 0; i < sizeof last_four / sizeof last_four[0]; i++) {
        struct scmp_arg_cmp arg = bits_are(1, last_four[i].mask, last_four[i].bits);
        print_json_rule(out, SCMP_ACT_ALLOW, "ioctl", 1, &arg);
    }
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
    print_json_ioctl(rules);
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
 * What libseccomp cannot say, in front of its filter: "newer than", and a comparison of the lower
 * half of ioctl's request, which is all that the kernel looks at (comparing the whole let TIOCSTI
 * through with a high bit set).
 */
static size_t prepend_own(struct sock_filter *out)
{
    /* Jumps of what is not ours end right behind the last of these. */
    const struct sock_filter own[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 9),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* x32 numbers have bit 30: left to libseccomp, which kills them as another
         * architecture's. */
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 7, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, NEWEST_CALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SCMP_SYS(ioctl), 0, 4),
        /* The lower half comes first: both architectures are little-endian. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    size_t count = sizeof own / sizeof own[0];
    memcpy(out, own, count * sizeof own[0]);
    return count;
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
