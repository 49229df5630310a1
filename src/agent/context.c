#include "agent/context.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/user.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"

enum {
    READ_TIMEOUT_MS = 5000,
    NETWORK_SHOWN_BYTES = 3000, /* of many rules, the first */
    NETWORK_MAX_BYTES = 4096,
};

/* ---- in the child */

static bool exists(const char *directory, size_t len, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%.*s/%s", (int)len, directory, name);
    return stat(path, &status) == 0;
}

/* Length of the path of the nearest directory above WORKDIR, or itself, with a `.git`; or that of
 * WORKDIR. */
static size_t root_len(const char *workdir)
{
    size_t len = strlen(workdir);
    for (size_t n = len;; n--) {
        if ((n == len || workdir[n] == '/') && exists(workdir, n, ".git"))
            return n;
        if (n == 0)
            return len;
    }
}

static bool is_blank(const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++)
        if (!strchr(" \t\r\n", text->data[i]))
            return false;
    return true;
}

/* Append the file at PATH, as much as the allowance lets. False when it is no regular file. */
static bool read_file(const char *path, struct buf *out)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
        dprintf(STDERR_FILENO, "codex-agent: cannot read '%s': %s\n", path, strerror(errno));
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return false;
    AUTO_BUF struct buf text;
    buf_init(&text, CONTEXT_AGENTS_MD_MAX_BYTES + 1);
    ssize_t n;
    do {
        char *room = buf_reserve(&text, text.max - text.len);
        n = read(fd, room, text.max - text.len);
        buf_wrote(&text, n > 0 ? (size_t)n : 0);
    } while (n > 0 && text.len < text.max);
    if (is_blank(&text))
        return true;
    if (out->len)
        buf_append_str(out, "\n\n");
    size_t room =
        out->len < CONTEXT_AGENTS_MD_MAX_BYTES ? CONTEXT_AGENTS_MD_MAX_BYTES - out->len : 0;
    buf_append(out, text.data, text.len < room ? text.len : room);
    if (text.len > room)
        buf_appendf(out, "\n[cut: AGENTS.md files are read up to %d KiB together]",
                    CONTEXT_AGENTS_MD_MAX_BYTES >> 10);
    return true;
}

static void read_directory(const char *workdir, size_t len, struct buf *out)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%.*s/AGENTS.override.md", (int)len, workdir);
    if (read_file(path, out))
        return;
    snprintf(path, sizeof path, "%.*s/AGENTS.md", (int)len, workdir);
    read_file(path, out);
}

static int child_main(const struct tool_host *host, int output)
{
    /* Nothing of the agent's is left open to what the repository may link to. */
    if (user_become(host) < 0 || dup2(output, STDOUT_FILENO) < 0 || close_range(3, ~0U, 0) < 0)
        return 1;
    close(STDIN_FILENO);
    struct buf text;
    buf_init(&text, CONTEXT_AGENTS_MD_MAX_BYTES + 4096);
    size_t len = strlen(host->workdir);
    for (size_t n = root_len(host->workdir);; n += 1 + strcspn(host->workdir + n + 1, "/")) {
        if (text.len < CONTEXT_AGENTS_MD_MAX_BYTES)
            read_directory(host->workdir, n, &text);
        if (n >= len)
            break;
    }
    return io_write_all(STDOUT_FILENO, text.data, text.len, NULL) < 0;
}

/* ---- in the agent */

/* Read PIPE to its end, while there is time. */
static int read_until(int pipe, int64_t deadline_ms, struct buf *out, struct err *err)
{
    for (;;) {
        struct pollfd p = {.fd = pipe, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_mono_ms();
        int ready = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready < 0 && errno != EINTR)
            return err_errno(err, "cannot wait for AGENTS.md");
        if (ready == 0)
            return err_set(err, -ETIMEDOUT, "AGENTS.md could not be read within %d s",
                           READ_TIMEOUT_MS / 1000);
        char chunk[4096];
        ssize_t n = ready > 0 ? read(pipe, chunk, sizeof chunk) : 1;
        if (n == 0)
            return 0;
        if (n < 0)
            return err_errno(err, "cannot read AGENTS.md");
        if (ready > 0 && buf_append(out, chunk, (size_t)n) < 0)
            return err_set(err, ERR_LIMIT, "AGENTS.md is too large");
    }
}

static int read_in_child(const struct tool_host *host, struct buf *out, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    AUTO_FD int from = ends[0];
    pid_t pid = fork();
    if (pid == 0)
        _exit(child_main(host, ends[1]));
    close(ends[1]);
    if (pid < 0)
        return err_errno(err, "cannot fork");
    int status = read_until(from, clock_mono_ms() + READ_TIMEOUT_MS, out, err);
    if (status < 0)
        kill(pid, SIGKILL);
    int ended = process_wait(pid);
    if (status == 0 && ended != 0)
        status = err_set(err, -EPERM, "AGENTS.md could not be read as uid %d", (int)host->uid);
    return status;
}

int context_agents_md(const struct tool_host *host, struct buf *out, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, CONTEXT_AGENTS_MD_MAX_BYTES + 8192);
    int status = read_in_child(host, &text, err);
    if (status < 0 || !text.len)
        return status;
    buf_appendf(out, "# AGENTS.md instructions for %s\n\n<INSTRUCTIONS>\n", host->workdir);
    buf_append(out, text.data, text.len);
    buf_append_str(out, "\n</INSTRUCTIONS>");
    return 0;
}

static void put_element(struct buf *out, const char *name, const char *text)
{
    buf_appendf(out, "  <%s>", name);
    for (; *text; text++) {
        if (*text == '&')
            buf_append_str(out, "&amp;");
        else if (*text == '<')
            buf_append_str(out, "&lt;");
        else if (*text == '>')
            buf_append_str(out, "&gt;");
        else
            buf_append_char(out, *text);
    }
    buf_appendf(out, "</%s>\n", name);
}

static void put_programs(struct buf *out)
{
    static const char *const programs[] = {
        "git",   "rg",    "jq",      "curl",   "make", "gcc",    "g++",  "clang", "cmake",
        "meson", "ninja", "python3", "pytest", "node", "npm",    "yarn", "pnpm",  "cargo",
        "go",    "java",  "mvn",     "gradle", "ruby", "bundle", "php",  "perl",  "sqlite3",
    };
    const char *path = getenv("PATH");
    path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin";
    AUTO_BUF struct buf found;
    buf_init(&found, 1024);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++)
        if (process_in_path(path, programs[i]))
            buf_appendf(&found, "%s%s", found.len ? " " : "", programs[i]);
    put_element(out, "programs", found.data);
}

static const char no_network[] =
    "none: no other machine can be reached, so nothing can be downloaded";

/* What the policy lets through, in the words of `internet` in task.json. */
static const char *network_of(const struct agent_task *task)
{
    static const struct {
        const char *access, *text;
    } known[] = {
        {"public",
         "HTTP and HTTPS to public addresses, by the proxy in http_proxy and https_proxy; "
         "names cannot be resolved otherwise"},
        {"common", "HTTP and HTTPS to the usual package registries and forges, by the proxy in "
                   "http_proxy and https_proxy; nothing else"},
        {"list", "HTTP and HTTPS to a few hosts, by the proxy in http_proxy and https_proxy; it "
                 "refuses all others"},
    };
    for (size_t i = 0; task->internet && i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(task->internet, known[i].access))
            return known[i].text;
    return no_network;
}

/* TASK's network, as the repository narrows it. */
static void put_network(const struct agent_task *task, const json_t *narrowing, struct buf *out)
{
    AUTO_BUF struct buf text;
    buf_init(&text, NETWORK_MAX_BYTES);
    const char *access = json_string_value(json_object_get(narrowing, "access"));
    const json_t *allow = json_object_get(narrowing, "allow");
    bool off = access && !strcmp(access, "off");
    buf_append_str(&text, off ? no_network : network_of(task));
    if (access && !off && strcmp(text.data, no_network) != 0) {
        bool common = !strcmp(access, "common");
        buf_appendf(&text, "; and of that only what the repository lets its tasks reach: %s",
                    common ? "the usual package registries and forges" : "");
        for (size_t i = 0; i < json_array_size(allow); i++) {
            bool full = text.len > NETWORK_SHOWN_BYTES;
            buf_appendf(&text, "%s%s", i || common ? ", " : "",
                        full ? "…" : json_string_value(json_array_get(allow, i)));
            if (full)
                break;
        }
    }
    put_element(out, "network", text.data);
}

void context_environment(const struct tool_host *host, const struct agent_task *task,
                         const json_t *narrowing, struct buf *out)
{
    char text[1100];
    time_t now = time(NULL);
    struct tm tm;
    buf_append_str(out, "<environment_context>\n");
    put_element(out, "cwd", host->workdir);
    put_element(out, "shell", "bash");
    strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&now, &tm));
    put_element(out, "current_date", text);
    snprintf(text, sizeof text,
             host->uid ? "uid %d, without root rights"
                       : "uid %d (root of the sandbox), who may install packages",
             (int)host->uid);
    put_element(out, "user", text);
    put_network(task, narrowing, out);
    if (task->base) {
        snprintf(text, sizeof text, "%s%s%s", task->base, task->base_commit ? " at " : "",
                 task->base_commit ? task->base_commit : "");
        put_element(out, "base", text);
    }
    put_programs(out);
    buf_append_str(out, "</environment_context>");
}
