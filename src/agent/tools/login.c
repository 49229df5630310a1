#include "agent/tools/login.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/tools/session.h"
#include "agent/user.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/user_env.h"

enum {
    REFRESHES_MAX = 20, /* a home that changes all the time is not worth asking again */
    TIMEOUT_MS = 5000,
    VARIABLES_MAX = 1000,
};

/* The exported variables, NUL behind each and behind all of them, and then what else there is of
 * state in a shell. */
static const char SCRIPT[] =
    "env -0 | sort -z && printf '\\0' && declare -F; alias; umask; ulimit -a; set -o; trap; "
    "shopt | grep -v '^login_shell'; compgen -v | sort; exit 0";

/* What a login shell reads, and where it would find new ones. %s: the home directory. */
static const char *const watched[] = {
    "%s",           "%s/.bash_profile", "%s/.bash_login",   "%s/.profile",      "%s/.bashrc",
    "/etc/profile", "/etc/profile.d",   "/etc/bash.bashrc", "/etc/environment",
};

enum { WATCHED_COUNT = sizeof watched / sizeof watched[0] };

struct stamp {
    int error; /* errno of stat(), 0 when it is there */
    ino_t inode;
    struct timespec changed;
};

enum login_state { UNKNOWN, ASKING_LOGIN, ASKING_PLAIN, USABLE, UNUSABLE };

struct login {
    const struct tool_host *host;
    const struct command_limits *limits;
    char *const *base;
    enum login_state state;
    int refreshes;
    struct stamp stamps[WATCHED_COUNT]; /* from before it was asked */
    char **environment;                 /* of ASKING_PLAIN and USABLE */
    struct buf answer;                  /* of the login shell */
    struct session *session;
    struct loop_source *timeout;
};

static void take_stamps(const struct login *login, struct stamp stamps[WATCHED_COUNT])
{
    const char *home = user_env_get(login->base, "HOME");
    memset(stamps, 0, sizeof(struct stamp) * WATCHED_COUNT);
    user_enter_files(login->host);
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        AUTO_FREE char *path = str_starts_with(watched[i], "%s")
                                   ? str_format("%s%s", home, watched[i] + 2)
                                   : str_dup(watched[i]);
        struct stat status;
        if (stat(path, &status) < 0) {
            stamps[i].error = errno;
            continue;
        }
        stamps[i].inode = status.st_ino;
        stamps[i].changed = status.st_ctim;
    }
    user_leave_files(login->host);
}

static bool still_holds(const struct login *login)
{
    struct stamp now[WATCHED_COUNT];
    take_stamps(login, now);
    return memcmp(now, login->stamps, sizeof now) == 0;
}

/* Bash runs ~/.bash_logout when a login shell exits, which a plain one would not. */
static bool has_logout(const struct login *login)
{
    AUTO_FREE char *path = str_format("%s/.bash_logout", user_env_get(login->base, "HOME"));
    struct stat status;
    user_enter_files(login->host);
    bool there = stat(path, &status) == 0 || errno != ENOENT;
    user_leave_files(login->host);
    return there;
}

/* Variables that bash sets itself, from where and how it was started. */
static bool is_own_variable(const char *variable)
{
    return str_starts_with(variable, "_=") || str_starts_with(variable, "SHLVL=") ||
           str_starts_with(variable, "PWD=") || str_starts_with(variable, "OLDPWD=");
}

/* The variables at the beginning of ANSWER; NULL when they are not what SCRIPT writes. */
static char **parse_environment(const struct buf *answer)
{
    char **variables = calloc(VARIABLES_MAX + 1, sizeof *variables);
    if (!variables)
        abort();
    size_t count = 0;
    const char *p = answer->data, *end = answer->data + answer->len;
    while (p < end && *p && count < VARIABLES_MAX) {
        if (!memchr(p, '\0', (size_t)(end - p)) || !strchr(p, '='))
            break;
        if (!is_own_variable(p))
            variables[count++] = str_dup(p);
        p += strlen(p) + 1;
    }
    if (p < end && *p == '\0' && count)
        return variables;
    user_env_free(variables);
    return NULL;
}

static void forget(struct login *login, enum login_state state)
{
    user_env_free(login->environment);
    login->environment = NULL;
    buf_release(&login->answer);
    login->state = state;
}

static void answered(void *arg);
static void timed_out(void *arg);

static void more(void *arg)
{
}

static void ask(struct login *login, const char *option, char *const *environment)
{
    const char *const argv[] = {"bash", option, SCRIPT, NULL};
    const struct command command = {
        .host = login->host,
        .limits = login->limits,
        .argv = argv,
        .environment = environment,
        .workdir = login->host->workdir,
    };
    const struct session_watcher watcher = {.printed = more, .ended = answered, .arg = login};
    struct err err;
    login->session = session_start(&command, &watcher, &err);
    if (login->session)
        login->timeout = loop_add_timer(login->host->loop, TIMEOUT_MS, timed_out, login);
    else
        forget(login, UNUSABLE);
}

static void timed_out(void *arg)
{
    struct login *login = arg;
    login->timeout = NULL;
    session_signal(login->session, SIGKILL);
}

/* The session's whole output in ANSWER; false when it failed or was too long. */
static bool take_answer(struct login *login, struct buf *answer)
{
    struct session *session = login->session;
    bool good = session->exit_code == 0 && session->unread.total == session->unread.head.len;
    if (good)
        buf_append(answer, session->unread.head.data, session->unread.head.len);
    loop_remove(login->timeout);
    login->timeout = NULL;
    login->session = NULL;
    session_free(session);
    return good;
}

static void answered(void *arg)
{
    struct login *login = arg;
    AUTO_BUF struct buf answer;
    buf_init(&answer, SESSION_KEPT_BYTES);
    if (!take_answer(login, &answer)) {
        forget(login, UNUSABLE);
    } else if (login->state == ASKING_LOGIN) {
        buf_append(&login->answer, answer.data, answer.len);
        login->environment = parse_environment(&answer);
        login->state = ASKING_PLAIN;
        if (login->environment)
            ask(login, "-c", login->environment);
        else
            forget(login, UNUSABLE);
    } else {
        bool alike = answer.len == login->answer.len &&
                     memcmp(answer.data, login->answer.data, answer.len) == 0;
        if (!alike)
            forget(login, UNUSABLE);
        else
            login->state = USABLE;
    }
}

struct login *login_new(const struct tool_host *host, const struct command_limits *limits,
                        char *const *base)
{
    struct login *login = calloc(1, sizeof *login);
    if (!login)
        abort();
    *login = (struct login){.host = host, .limits = limits, .base = base};
    buf_init(&login->answer, SESSION_KEPT_BYTES);
    return login;
}

char *const *login_environment(const struct login *login)
{
    return login->state == USABLE && still_holds(login) ? login->environment : NULL;
}

void login_refresh(struct login *login)
{
    bool known = login->state == USABLE || login->state == UNUSABLE;
    if (login->session || (known && still_holds(login)) || login->refreshes++ >= REFRESHES_MAX)
        return;
    take_stamps(login, login->stamps);
    forget(login, has_logout(login) ? UNUSABLE : ASKING_LOGIN);
    if (login->state == ASKING_LOGIN)
        ask(login, "-lc", login->base);
}

size_t login_running(const struct login *login)
{
    return login->session ? 1 : 0;
}

void login_signal(const struct login *login, int signal)
{
    if (login->session)
        session_signal(login->session, signal);
}

void login_free(struct login *login)
{
    if (!login)
        return;
    loop_remove(login->timeout);
    session_free(login->session);
    forget(login, UNKNOWN);
    free(login);
}
