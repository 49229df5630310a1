#include "sandbox/oci.h"

#include <string.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/job_env.h"
#include "base/json_text.h"
#include "base/proxy_env.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "seccomp_bpf.h"

/* Less than any core dump has, and what keeps the kernel from handing one to the host's program for
 * them (core(5)). seccomp_generate.c keeps it so. */
enum { CORE_BYTES = 1 };

/* The file systems of a sandbox beside its root. /dev is always a tmpfs of ours: over a layer whose
 * /dev is a link crun 1.8.1 would make its device nodes on the host. Sizes are of memory that the
 * sandbox is charged for. Terminals are counted for the whole machine: without a maximum (twice what an
 * agent may have open) one sandbox could take them from all others. */
static const char mounts_fixed[] =
    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"hidepid=2\",\"gid=0\"]},"
    "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
    "\"options\":[\"nosuid\",\"noexec\",\"strictatime\",\"mode=755\",\"size=65536\"]},"
    "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\","
    "\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\","
    "\"max=128\"]}"
    ","
    "{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
    "{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
    "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
    "{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
    "\"options\":[\"nosuid\",\"nodev\",\"mode=755\",\"size=16m\"]}";

/* What a container without privileges has no business in; from moby's defaults. */
static const char hidden[] =
    "\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/interrupts\",\"/proc/kallsyms\",\"/"
    "proc/kcore\","
    "\"/proc/keys\",\"/proc/key-users\",\"/proc/kmsg\",\"/proc/latency_stats\",\"/proc/"
    "sched_debug\","
    "\"/proc/scsi\",\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/vmallocinfo\","
    "\"/sys/devices/virtual/powercap\",\"/sys/firmware\",\"/sys/fs/bpf\",\"/sys/kernel\"],"
    "\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
    "\"/proc/sysrq-trigger\"]";

#define INSTALLER_CAPABILITIES                                                                     \
    "\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\",\"CAP_"         \
    "SETGID\","                                                                                    \
    "\"CAP_SETUID\",\"CAP_SETPCAP\",\"CAP_SETFCAP\",\"CAP_NET_BIND_SERVICE\""

static const char *const capabilities[] = {
    [SANDBOX_AS_USER] = "",
    [SANDBOX_AS_AGENT] = "\"CAP_SETUID\",\"CAP_SETGID\",\"CAP_KILL\"",
    [SANDBOX_AS_ARCHIVER] = "\"CAP_DAC_READ_SEARCH\"",
    [SANDBOX_AS_ROOT] = INSTALLER_CAPABILITIES,
};

/* Forks of the task stop some way before the sandbox's limit, so that the platform's own still
 * work. */
static uint64_t user_processes(const struct sandbox_limits *limits)
{
    return limits->pids > 64 ? limits->pids - 32 : limits->pids / 2 + 1;
}

size_t oci_limits(struct runtime_limit out[RUNTIME_LIMITS_MAX], enum sandbox_profile profile,
                  const struct sandbox_limits *limits)
{
    size_t count = 0;
    out[count++] = (struct runtime_limit){"RLIMIT_NOFILE", RLIMIT_NOFILE, 65536};
    out[count++] = (struct runtime_limit){"RLIMIT_CORE", RLIMIT_CORE, CORE_BYTES};
    /* The agent's own processes are another user's: the kernel counts them apart. */
    if (profile != SANDBOX_AS_ROOT)
        out[count++] = (struct runtime_limit){"RLIMIT_NPROC", RLIMIT_NPROC, user_processes(limits)};
    for (size_t i = 0; i < count; i++) {
        struct rlimit ours; /* above which this process may not give any */
        if (getrlimit(out[i].resource, &ours) == 0 && ours.rlim_max != RLIM_INFINITY &&
            out[i].value > ours.rlim_max)
            out[i].value = ours.rlim_max;
    }
    return count;
}

static int append_limits(struct buf *out, enum sandbox_profile profile,
                         const struct sandbox_limits *limits)
{
    struct runtime_limit list[RUNTIME_LIMITS_MAX];
    size_t count = oci_limits(list, profile, limits);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = buf_appendf(out, "%s{\"type\":\"%s\",\"soft\":%llu,\"hard\":%llu}", i ? "," : "",
                             list[i].name, (unsigned long long)list[i].value,
                             (unsigned long long)list[i].value);
    return status;
}

static int append_strings(struct buf *out, const char *const *strings, const char *first)
{
    int status = 0;
    for (const char *separator = first; strings && *strings && status == 0;
         strings++, separator = ",") {
        status = buf_append_str(out, separator);
        if (status == 0)
            status = json_text_cstring(out, *strings);
    }
    return status;
}

/* What a limit of cores means for programs that do not ask which they may run on. */
static int append_jobs(struct buf *out, const struct sandbox_limits *limits)
{
    int status = 0;
    for (const char *const *name = job_env; *name && limits->cores && status == 0; name++)
        status = buf_appendf(out, ",\"%s=%u\"", *name, limits->cores);
    return status;
}

static int append_environment(struct buf *out, const struct sandbox_step *step,
                              const struct sandbox_limits *limits)
{
    bool root = step->profile == SANDBOX_AS_ROOT;
    int status = buf_appendf(out,
                             "\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/"
                             "sbin:/bin\",\"HOME=%s\","
                             "\"USER=%s\",\"LOGNAME=%s\",\"SHELL=/bin/bash\",\"LANG=C.UTF-8\"",
                             root ? "/root" : SANDBOX_HOME, root ? "root" : "codex",
                             root ? "root" : "codex");
    if (status == 0)
        status = append_strings(out, proxy_env, ",");
    if (status == 0)
        status = append_jobs(out, limits);
    if (status == 0)
        status = append_strings(out, step->env, ",");
    return status < 0 ? status : buf_append_str(out, "],");
}

/* A process with the capabilities CAPS, a JSON list without its brackets. INHERITS: it
 * has its resource limits already. */
static int append_process(struct buf *out, const struct sandbox_step *step, const char *caps,
                          const struct sandbox_limits *limits, bool inherits)
{
    unsigned uid = step->profile == SANDBOX_AS_USER ? SANDBOX_UID : 0;
    int status = buf_appendf(out,
                             "{\"terminal\":%s,\"noNewPrivileges\":true,"
                             "\"user\":{\"uid\":%u,\"gid\":%u,\"umask\":18},\"cwd\":",
                             step->console ? "true" : "false", uid, uid);
    if (status == 0)
        status = json_text_cstring(out, step->cwd);
    if (status == 0)
        status = buf_append_str(out, ",\"args\":[");
    if (status == 0)
        status = append_strings(out, step->argv, "");
    if (status == 0)
        status = buf_append_str(out, "],");
    if (status == 0)
        status = append_environment(out, step, limits);
    if (status == 0)
        status =
            buf_appendf(out,
                        "\"capabilities\":{\"bounding\":[%s],\"effective\":[%s],\"permitted\":[%s],"
                        "\"inheritable\":[],\"ambient\":[]},\"rlimits\":[",
                        caps, caps, caps);
    if (status == 0 && !inherits)
        status = append_limits(out, step->profile, limits);
    return status < 0 ? status : buf_append_str(out, "]}");
}

int oci_process(struct buf *out, const struct sandbox_step *step,
                const struct sandbox_limits *limits, bool inherits)
{
    return append_process(out, step, capabilities[step->profile], limits, inherits);
}

static int append_bind(struct buf *out, const char *source, const char *target,
                       const char *read_only)
{
    return buf_appendf(out,
                       ",{\"destination\":\"%s\",\"type\":\"bind\",\"source\":\"%s\","
                       "\"options\":[\"bind\",\"nosuid\",\"nodev\"%s]}",
                       target, source, read_only);
}

/* The host's, with what is the sandbox's own in it. */
static int append_usr(struct buf *out, const struct oci_sandbox *sandbox)
{
    static const char *const own[] = {"/usr/local", "/usr/src"};
    int status = append_bind(out, sandbox->usr, "/usr", ",\"ro\"");
    for (size_t i = 0; i < sizeof own / sizeof own[0] && status == 0; i++) {
        AUTO_FREE char *source = str_format("%s/%s%s", sandbox->bundle, sandbox->root, own[i]);
        status = append_bind(out, source, own[i], "");
    }
    return status;
}

static int append_mounts(struct buf *out, const struct oci_sandbox *sandbox)
{
    uint64_t memory = sandbox->limits.memory_bytes;
    int status = buf_appendf(
        out,
        "\"mounts\":[%s,"
        "{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=%llu\"]},"
        "{\"destination\":\"/tmp\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
        "\"options\":[\"nosuid\",\"nodev\",\"mode=1777\",\"size=%llu\"]},"
        "{\"destination\":\"" SANDBOX_AGENT_DIR "\",\"type\":\"bind\",\"source\":\"%s\","
        "\"options\":[\"bind\",\"ro\",\"nosuid\",\"nodev\"]}",
        mounts_fixed, (unsigned long long)memory / 4, (unsigned long long)memory / 2,
        sandbox->agent_dir);
    if (status == 0 && sandbox->usr)
        status = append_usr(out, sandbox);
    if (status == 0 && sandbox->workspace) {
        status = buf_append_str(out, ",{\"destination\":");
        if (status == 0)
            status = json_text_cstring(out, sandbox->workspace_target);
        if (status == 0)
            status = buf_appendf(out,
                                 ",\"type\":\"bind\",\"source\":\"%s\","
                                 "\"options\":[\"bind\",\"nosuid\",\"nodev\"]}",
                                 sandbox->workspace);
    }
    return status < 0 ? status : buf_append_str(out, "],");
}

/* The member NAME, with a comma behind it. */
static int append_map(struct buf *out, const char *name, const struct oci_sandbox *sandbox)
{
    int status = buf_appendf(out, "\"%s\":[", name);
    for (size_t i = 0; i < sandbox->map_count && status == 0; i++)
        status =
            buf_appendf(out, "%s{\"containerID\":%u,\"hostID\":%u,\"size\":%u}", i ? "," : "",
                        sandbox->map[i].inside, sandbox->map[i].outside, sandbox->map[i].count);
    return status < 0 ? status : buf_append_str(out, "],");
}

/* What cgroups limit, with a comma behind it. */
static int append_resources(struct buf *out, const struct oci_sandbox *sandbox)
{
    const struct sandbox_limits *limits = &sandbox->limits;
    unsigned long long memory = limits->memory_bytes;
    int status = buf_appendf(out,
                             "\"cgroupsPath\":\"/%s\",\"resources\":{\"pids\":{\"limit\":%u},"
                             "\"memory\":{\"limit\":%llu,\"swap\":%llu",
                             sandbox->cgroup, limits->pids, memory, memory);
    if (status == 0)
        status = buf_append_char(out, '}');
    if (status == 0 && limits->cpu_milli)
        status = buf_appendf(out, ",\"cpu\":{\"quota\":%llu,\"period\":100000%s%s%s}",
                             (unsigned long long)limits->cpu_milli * 100,
                             sandbox->cores ? ",\"cpus\":\"" : "",
                             sandbox->cores ? sandbox->cores : "", sandbox->cores ? "\"" : "");
    return status < 0 ? status : buf_append_str(out, "},");
}

static int append_linux(struct buf *out, const struct oci_sandbox *sandbox)
{
    int status = buf_appendf(
        out,
        "\"linux\":{\"namespaces\":[{\"type\":\"user\",\"path\":\"%s\"},{\"type\":\"pid\"},"
        "{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},"
        "{\"type\":\"cgroup\"}],",
        sandbox->users);
    if (status == 0)
        status = append_map(out, "uidMappings", sandbox);
    if (status == 0)
        status = append_map(out, "gidMappings", sandbox);
    if (status == 0 && sandbox->cgroup)
        status = append_resources(out, sandbox);
    /* The sandbox's network is its own: any port is its task's. */
    if (status == 0)
        status = buf_appendf(out, "\"sysctl\":{\"net.ipv4.ip_unprivileged_port_start\":\"0\"},%s",
                             hidden);
    /* crun takes the filter as it is, in half the time: see oci_config(). */
    if (status == 0 && !sandbox->runtime->takes_bpf)
        status = buf_appendf(out, ",\"seccomp\":%s",
                             sandbox->is_host_workspace ? seccomp_policy_no_setuid_json
                                                        : seccomp_policy_json);
    return status < 0 ? status : buf_append_char(out, '}');
}

int oci_config(struct buf *out, const struct oci_sandbox *sandbox)
{
    static const char *const init[] = {SANDBOX_AGENT, "init", NULL};
    const struct sandbox_step process = {.profile = SANDBOX_AS_ROOT, .argv = init, .cwd = "/"};
    int status =
        buf_append_str(out, "{\"ociVersion\":\"1.0.0\",\"hostname\":\"codex\",\"process\":");
    if (status == 0)
        status =
            append_process(out, &process, "", &sandbox->limits, sandbox->runtime->inherits_limits);
    if (status == 0)
        status = buf_appendf(out, ",\"root\":{\"path\":\"%s\",\"readonly\":false},", sandbox->root);
    if (status == 0)
        status = append_mounts(out, sandbox);
    if (status == 0)
        status = append_linux(out, sandbox);
    if (status == 0 && sandbox->runtime->takes_bpf)
        status = buf_appendf(out, ",\"annotations\":{\"run.oci.seccomp_bpf_data\":\"%s\"}",
                             sandbox->is_host_workspace ? seccomp_policy_no_setuid_base64
                                                        : seccomp_policy_base64);
    return status < 0 ? status : buf_append_char(out, '}');
}
