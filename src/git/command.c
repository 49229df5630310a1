#include "git/command.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/object_id.h"
#include "base/process.h"
#include "base/str.h"

enum {
    STDERR_MAX = 16384, /* kept of what git says on standard error */
    STDERR_READ = 8192, /* of it, in one go */
    CHUNK = 65536,      /* read or written in one go; what a pipe holds, pipe(7) */
};

/* Not by our own PATH: it is from outside like the rest of the environment. */
static const char *const git_places[] = {"/usr/local/bin/git", "/usr/bin/git", "/bin/git"};

static const char *const clean_environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/nonexistent",
    "LC_ALL=C",
    "GIT_CONFIG_NOSYSTEM=1",
    "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_ATTR_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0",
    "GIT_ASKPASS=false",
    "GIT_EDITOR=false",
    "GIT_PAGER=cat",
    "GIT_OPTIONAL_LOCKS=0",
    "GIT_NO_REPLACE_OBJECTS=1",
    "GIT_GRAFT_FILE=/nonexistent/grafts",
    /* None: what the repository's own is (a FIFO, say) is no matter. Who needs one names it. */
    "GIT_INDEX_FILE=/nonexistent/index",
    /* No transport at all: also none that a partial clone would fetch a missing object with. */
    "GIT_ALLOW_PROTOCOL=",
};

static const char *const clean_settings[] = {
    "core.hooksPath=/dev/null", "core.fsmonitor=false",      "core.alternateRefsPrefixes=refs/none",
    "credential.helper=",       "protocol.allow=never",      "gc.auto=0",
    "maintenance.auto=false",   "advice.detachedHead=false", "i18n.commitEncoding=UTF-8",
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void add(struct git_command *command, const char *arg)
{
    assert(command->argc < GIT_ARGS_MAX);
    command->argv[command->argc++] = arg;
}

static const char *find_git(void)
{
    static const char *found;
    for (size_t i = 0; !found && i < COUNT(git_places); i++)
        if (access(git_places[i], X_OK) == 0)
            found = git_places[i];
    return found ? found : git_places[0];
}

void git_command_init(struct git_command *command, const char *git_dir, const char *work_tree)
{
    *command = (struct git_command){
        .input_fd = -1, .out_fd = -1, .pass_fd = -1, .timeout_ms = GIT_TIMEOUT_MS};
    add(command, find_git());
    if (git_dir) {
        add(command, "--git-dir");
        add(command, git_dir);
    }
    if (work_tree) {
        add(command, "--work-tree");
        add(command, work_tree);
    }
    for (size_t i = 0; i < COUNT(clean_settings); i++)
        git_setting(command, clean_settings[i]);
}

void git_setting(struct git_command *command, const char *setting)
{
    assert(!command->name);
    add(command, "-c");
    add(command, setting);
}

void git_args(struct git_command *command, ...)
{
    if (!command->name)
        command->name = command->argc;
    va_list args;
    va_start(args, command);
    for (const char *arg; (arg = va_arg(args, const char *));)
        add(command, arg);
    va_end(args);
}

void git_env(struct git_command *command, const char *entry)
{
    assert(command->env_count < GIT_ENV_MAX);
    command->env[command->env_count++] = entry;
}

/* A running git and the pipes to it. */
struct session {
    struct git_command *command;
    pid_t pid;
    int pidfd;
    int in, out, errors; /* our ends; -1 when closed or not there */
    size_t input_done;
    off_t input_offset;
    struct buf said; /* the end of its standard error */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int set_limit(int resource, uint64_t max)
{
    struct rlimit limit = {max, max};
    return max && setrlimit(resource, &limit) < 0 ? -errno : 0;
}

/* In the child. A file that grows past its limit ends git by SIGXFSZ; our own end, by SIGKILL. */
static int prepare_child(void *arg)
{
    const struct git_command *command = arg;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -errno;
    int status = set_limit(RLIMIT_FSIZE, command->file_max);
    return status < 0 ? status : set_limit(RLIMIT_AS, command->memory_max);
}

/* Make a pipe; OURS stays here, THEIRS is for the child. READ_HERE: it is the child that writes. */
static int make_pipe(int *ours, int *theirs, bool read_here, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    *ours = ends[read_here ? 0 : 1];
    *theirs = ends[read_here ? 1 : 0];
    return io_set_nonblocking(*ours, true);
}

static pid_t spawn(struct git_command *command, const struct process_fd *fds, size_t count,
                   struct err *err)
{
    const char *envp[COUNT(clean_environment) + GIT_ENV_MAX + 1];
    /* Of two with the same name, the first counts. */
    memcpy(envp, command->env, command->env_count * sizeof envp[0]);
    memcpy(envp + command->env_count, clean_environment, sizeof clean_environment);
    envp[command->env_count + COUNT(clean_environment)] = NULL;
    command->argv[command->argc] = NULL;
    struct process_options options = {.argv = command->argv,
                                      .envp = envp,
                                      .fds = fds,
                                      .fds_count = count,
                                      .cwd = command->dir,
                                      .new_session = true,
                                      .prepare = prepare_child,
                                      .prepare_arg = command};
    return process_spawn(&options, err);
}

/* Start git. On failure everything is closed by session_end(). */
static int session_start(struct session *session, struct err *err)
{
    struct git_command *command = session->command;
    AUTO_FD int child_in = -1, child_out = -1, child_errors = -1;
    struct process_fd fds[4];
    size_t count = 0;
    int status = make_pipe(&session->errors, &child_errors, true, err);
    if (status == 0 && (command->input_len || command->input_fd >= 0))
        status = make_pipe(&session->in, &child_in, false, err);
    if (status == 0 && command->out)
        status = make_pipe(&session->out, &child_out, true, err);
    if (status < 0)
        return status;
    fds[count++] = (struct process_fd){child_errors, 2};
    if (child_in >= 0)
        fds[count++] = (struct process_fd){child_in, 0};
    if (child_out >= 0 || command->out_fd >= 0)
        fds[count++] = (struct process_fd){child_out >= 0 ? child_out : command->out_fd, 1};
    if (command->pass_fd >= 0)
        fds[count++] = (struct process_fd){command->pass_fd, 3};
    session->pid = spawn(command, fds, count, err);
    if (session->pid < 0)
        return session->pid;
    session->pidfd = (int)syscall(SYS_pidfd_open, session->pid, 0);
    return session->pidfd < 0 ? err_errno(err, "cannot watch git") : 0;
}

/* End whatever is left of git and its children, and reap it. Returns its wait status. */
static int session_end(struct session *session)
{
    int status = 0;
    close_end(&session->in);
    close_end(&session->out);
    close_end(&session->errors);
    close_end(&session->pidfd);
    if (session->pid > 0) {
        kill(-session->pid, SIGKILL);
        status = process_wait(session->pid);
    }
    return status;
}

/* How much of the input file to hand over next. */
static size_t file_chunk(const struct session *session)
{
    int64_t end = session->command->input_end, left = end - session->input_offset;
    return !end || left > CHUNK ? CHUNK : left > 0 ? (size_t)left : 0;
}

/* Feed standard input; closed at its end, or when git no longer reads. */
static int feed(struct session *session, struct err *err)
{
    struct git_command *command = session->command;
    ssize_t n;
    if (command->input_fd >= 0)
        n = sendfile(session->in, command->input_fd, &session->input_offset, file_chunk(session));
    else
        n = write(session->in, command->input + session->input_done,
                  command->input_len - session->input_done);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0 && errno != EPIPE)
        return err_errno(err, "cannot feed git");
    if (n > 0)
        session->input_done += (size_t)n;
    bool done = command->input_fd < 0 && session->input_done == command->input_len;
    if (n <= 0 || done)
        close_end(&session->in);
    return 0;
}

/* Read what there is from *FD into OUT; *FD is closed at its end. TAIL: of more than fits the end
 * is kept, else it is an error. Returns 1 when it read something. */
static int take(int *fd, struct buf *out, bool tail, struct err *err)
{
    char chunk[CHUNK];
    ssize_t n = read(*fd, chunk, tail ? STDERR_READ : sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        close_end(fd);
        return 0;
    }
    if (tail && out->len + (size_t)n > out->max)
        buf_consume(out, out->len + (size_t)n - out->max);
    if (buf_append(out, chunk, (size_t)n) < 0)
        return err_set(err, ERR_LIMIT, "printed more than %zu bytes", out->max);
    return 1;
}

/* What git had written before it ended is in the pipes by then, and a pipe holds no more than a
 * chunk: a child that it left behind cannot keep us here. */
static int drain(struct session *session, struct err *err)
{
    int status = 0;
    if (session->out >= 0)
        status = take(&session->out, session->command->out, false, err);
    for (size_t done = 0; status >= 0 && session->errors >= 0 && done < CHUNK; done += STDERR_READ)
        status = take(&session->errors, &session->said, true, err);
    return status < 0 ? status : 0;
}

/* Milliseconds that git still has, HEARD_MS being when it said something last. */
static int64_t time_left(const struct session *session, int64_t deadline_ms, int64_t heard_ms,
                         struct err *err)
{
    const struct git_command *command = session->command;
    int64_t now = clock_mono_ms(), left = deadline_ms - now;
    if (left <= 0)
        return err_set(err, -ETIMEDOUT, "did not end within %lld s",
                       (long long)command->timeout_ms / 1000);
    if (!command->stall_ms)
        return left;
    int64_t patience = heard_ms + command->stall_ms - now;
    if (patience <= 0)
        return err_set(err, -ETIMEDOUT, "nothing came for %lld s",
                       (long long)command->stall_ms / 1000);
    return patience < left ? patience : left;
}

/* Serve the pipes until git has ended. */
static int converse(struct session *session, int64_t deadline_ms, struct err *err)
{
    int64_t heard_ms = clock_mono_ms();
    for (;;) {
        int64_t left = time_left(session, deadline_ms, heard_ms, err);
        if (left < 0)
            return (int)left;
        struct pollfd fds[] = {{session->pidfd, POLLIN, 0},
                               {session->out, POLLIN, 0},
                               {session->errors, POLLIN, 0},
                               {session->in, POLLOUT, 0}};
        if (poll(fds, COUNT(fds), left > 60000 ? 60000 : (int)left) < 0 && errno != EINTR)
            return err_errno(err, "cannot poll");
        int status = 0;
        if (fds[1].revents || fds[2].revents)
            heard_ms = clock_mono_ms();
        if (fds[1].revents)
            status = take(&session->out, session->command->out, false, err);
        if (status >= 0 && fds[2].revents)
            status = take(&session->errors, &session->said, true, err);
        if (status >= 0 && fds[3].revents)
            status = feed(session, err);
        if (status < 0)
            return status;
        if (fds[0].revents)
            return drain(session, err);
    }
}

/* One line for a person out of what git said: its last "fatal:", else its last "error:", else its
 * last line. Names of files are in it: control characters become '?'. */
static void last_words(struct buf *said, char *out, size_t size)
{
    const char *best = "", *prefixes[] = {"", "error: ", "fatal: "};
    int best_rank = -1;
    for (char *line = said->data; *line;) {
        size_t len = strcspn(line, "\r\n"); /* a line of progress ends by '\r' */
        char *next = line + len + (line[len] != '\0');
        line[len] = '\0';
        int rank = str_starts_with(line, prefixes[2]) ? 2 : str_starts_with(line, prefixes[1]);
        if (len && rank >= best_rank) {
            best = line + strlen(prefixes[rank]);
            best_rank = rank;
        }
        line = next;
    }
    size_t n = 0;
    for (; best[n] && n + 1 < size; n++)
        out[n] = (unsigned char)best[n] < 0x20 || best[n] == 0x7f ? '?' : best[n];
    out[n] = '\0';
}

/* The result out of the wait status. */
static int outcome(const struct session *session, int wait_status, struct buf *said,
                   struct err *err)
{
    const char *name = session->command->argv[session->command->name];
    if (wait_status < 0)
        return err_set(err, wait_status, "git %s: cannot wait for it", name);
    if (WIFSIGNALED(wait_status)) {
        int signal = WTERMSIG(wait_status);
        if (signal == SIGXFSZ)
            return err_set(err, ERR_LIMIT, "git %s: would write more than %llu bytes", name,
                           (unsigned long long)session->command->file_max);
        return err_set(err, -EIO, "git %s: killed by signal %d", name, signal);
    }
    int code = WEXITSTATUS(wait_status);
    if (code) {
        char words[512];
        last_words(said, words, sizeof words);
        err_set(err, -EIO, "git %s: %s", name, *words ? words : "failed");
    }
    return code;
}

int git_run(struct git_command *command, struct err *err)
{
    struct session session = {.command = command,
                              .pid = -1,
                              .pidfd = -1,
                              .in = -1,
                              .out = -1,
                              .errors = -1,
                              .input_offset = command->input_offset};
    buf_init(&session.said, STDERR_MAX);
    int64_t deadline_ms = clock_mono_ms() + command->timeout_ms;
    int status = session_start(&session, err);
    if (status == 0)
        status = converse(&session, deadline_ms, err);
    int wait_status = session_end(&session);
    if (command->errors)
        buf_append(command->errors, session.said.data, session.said.len);
    if (status < 0)
        status =
            session.pid < 0 ? status : err_context(err, "git %s", command->argv[command->name]);
    else
        status = outcome(&session, wait_status, &session.said, err);
    buf_release(&session.said);
    return status;
}

int git_must(struct git_command *command, struct err *err)
{
    int status = git_run(command, err);
    return status > 0 ? -EIO : status;
}

int git_read_id(struct git_command *command, char *id, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, 256);
    command->out = &answer;
    int status = git_must(command, err);
    if (status < 0)
        return status;
    answer.data[strcspn(answer.data, "\n")] = '\0';
    if (!object_id_valid(answer.data))
        return err_set(err, ERR_PROTOCOL, "git %s: it printed no object id",
                       command->argv[command->name]);
    memcpy(id, answer.data, OBJECT_ID_SIZE);
    return 0;
}
