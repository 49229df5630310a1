/* Starting a private codexd: in a session of its own, so that it outlives ours. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "cli/session.h"

enum {
    START_MS = 30 * 1000, /* for codexd to answer */
    POLL_MS = 10,
    LOG_TAIL_MAX = 65536,
};

/* Does anything listen at the session's socket? 0 or -errno. */
static int probe(const struct session *session)
{
    const struct http_peer *peer = &session->api.peer;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&peer->address, peer->address_len) == 0)
        return 0;
    return errno == EAGAIN ? 0 : -errno; /* EAGAIN: it listens, and is busy */
}

/* The directory of what codexd keeps to itself. It would refuse one that is not its user's. */
static int make_server_dir(const struct session *session, const char *dir, struct err *err)
{
    int status = io_make_dirs(session->paths.state, 0755, err);
    if (status < 0)
        return status;
    /* When there is no such user, codexd will say so. */
    const struct passwd *user = geteuid() == 0 ? getpwnam(session->config.user) : NULL;
    return user ? io_make_owned_dir(dir, user->pw_uid, user->pw_gid, 0700, err)
                : io_make_dirs(dir, 0700, err);
}

/*
 * The log, to append to. Its directory belongs to the user that codexd becomes, and we are root:
 * what that user may have put in its place (a link, a pipe) must not be opened.
 */
static int open_log(const struct session *session, char **path, struct err *err)
{
    AUTO_FREE char *dir = str_format("%s/server", session->paths.state);
    int status = make_server_dir(session, dir, err);
    if (status < 0)
        return status;
    *path = str_format("%s/codexd.log", dir);
    AUTO_FD int fd =
        open(*path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    struct stat info;
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", *path);
    if (fstat(fd, &info) < 0)
        return err_errno(err, "cannot inspect '%s'", *path);
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1)
        return err_set(err, ERR_REFUSED, "'%s' is not a plain file: remove it", *path);
    return steal_fd(&fd);
}

static pid_t spawn(const struct session *session, int log, struct err *err)
{
    AUTO_FREE char *program = program_path("codexd");
    if (!program)
        return err_set(err, ERR_NO_SERVER, "cannot find the program codexd beside codex or in '%s'",
                       CODEX_SBINDIR);
    const char *const with_file[] = {program, "--config", session->paths.config, NULL};
    const char *const without[] = {program, NULL};
    const struct process_fd fds[] = {{log, 1}, {log, 2}};
    const struct process_options options = {
        .argv = session->paths.config ? with_file : without,
        .fds = fds,
        .fds_count = 2,
        .cwd = "/",
        .new_session = true,
    };
    return process_spawn(&options, err);
}

/* What codexd said at last: the last line in its log behind OFFSET. */
static char *last_words(int log, off_t offset)
{
    AUTO_BUF struct buf tail;
    buf_init(&tail, LOG_TAIL_MAX);
    off_t end = lseek(log, 0, SEEK_END);
    if (end - offset > LOG_TAIL_MAX)
        offset = end - LOG_TAIL_MAX;
    struct err ignored;
    if (lseek(log, offset, SEEK_SET) < 0 || io_read_all(log, &tail, &ignored) < 0 || !tail.len)
        return str_dup("it said nothing");
    char *line_end = tail.data + tail.len;
    while (line_end > tail.data && line_end[-1] == '\n')
        *--line_end = '\0';
    char *line = strrchr(tail.data, '\n');
    line = line ? line + 1 : tail.data;
    /* A line of our own log says it behind msg=, an error at the start behind the program's
     * name. */
    char *message = strstr(line, " msg=\"");
    if (message)
        line = message + strlen(" msg=");
    return str_dup(str_starts_with(line, "codexd: ") ? line + strlen("codexd: ") : line);
}

/* Until a codexd answers: ours, the child PID, or another that was faster and made ours end. *ENDED
 * says that ours did. */
static int wait_for_answer(struct session *session, pid_t pid, bool *ended, struct err *err)
{
    int64_t deadline = clock_mono_ms() + START_MS;
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    *ended = false;
    while (clock_mono_ms() < deadline) {
        if (probe(session) == 0) {
            AUTO_BUF struct buf answer;
            buf_init(&answer, 65536);
            return api_call(&session->api, "GET", "/healthz", NULL, &answer, err);
        }
        if (!*ended)
            *ended = waitpid(pid, NULL, WNOHANG) == pid;
        if (*ended && session_server_pid(session) == 0)
            break;
        nanosleep(&pause, NULL);
    }
    return err_set(err, ERR_NO_SERVER, "no answer");
}

/* One `codex` at a time starts a server: two of them would get in each other's way while they make
 * the state directory. The lock is ours alone (the child that inherits the log has none) and ends
 * with us. */
static int take_turn(int log, struct err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    while (fcntl(log, F_SETLKW, &lock) < 0)
        if (errno != EINTR)
            return err_errno(err, "cannot lock the log");
    return 0;
}

static int start_and_wait(struct session *session, int log, const char *log_path, struct err *err)
{
    off_t offset = lseek(log, 0, SEEK_END);
    pid_t pid = spawn(session, log, err);
    if (pid < 0)
        return pid;
    bool ended;
    if (wait_for_answer(session, pid, &ended, err) == 0) {
        if (session_server_pid(session) == pid) /* else another one was faster, and ours ends */
            fprintf(stderr, "started codexd (process %d, log '%s')\n", (int)pid, log_path);
        return 0;
    }
    AUTO_FREE char *words = last_words(log, offset);
    if (ended)
        return err_set(err, ERR_NO_SERVER, "codexd did not start: %s", words);
    return err_set(err, ERR_NO_SERVER,
                   "codexd (process %d) does not answer after %d s, see '%s': %s", (int)pid,
                   START_MS / 1000, log_path, words);
}

static int start(struct session *session, struct err *err)
{
    AUTO_FREE char *log_path = NULL;
    AUTO_FD int log = open_log(session, &log_path, err);
    if (log < 0 || take_turn(log, err) < 0)
        return err_context(err, "cannot start codexd");
    return probe(session) == 0 ? 0 : start_and_wait(session, log, log_path, err);
}

int session_ensure_server(struct session *session, struct err *err)
{
    int status = probe(session);
    bool absent = status == -ENOENT || status == -ECONNREFUSED;
    if (!absent || session_is_configured(session)) {
        err_set(err, status, "%s", strerror(-status));
        return status == 0 ? 0 : api_unreachable(session->paths.socket, status, err);
    }
    return start(session, err);
}
