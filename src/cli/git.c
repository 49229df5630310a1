#include "cli/git.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"

enum { ARGS_MAX = 32 };

extern char **environ;

static const char *const settings[] = {
    "LC_ALL=C",
    "GIT_OPTIONAL_LOCKS=0", /* looking must not write an index */
    "GIT_TERMINAL_PROMPT=0",
};

/* Our environment without git's variables and those that SETTINGS has. The caller frees the array,
 * not the strings. */
static const char **environment(void)
{
    size_t count = 0, kept = 0, extra = sizeof settings / sizeof settings[0];
    while (environ[count])
        count++;
    const char **env = calloc(count + extra + 1, sizeof *env);
    if (!env)
        abort();
    for (size_t i = 0; i < count; i++)
        if (!str_starts_with(environ[i], "GIT_") && !str_starts_with(environ[i], "LC_ALL="))
            env[kept++] = environ[i];
    memcpy(env + kept, settings, sizeof settings);
    return env;
}

/* What git writes goes to memory files, so that neither pipe can fill while the other is read. */
static int memory_file(const char *name, struct err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot create memory file '%s'", name) : fd;
}

static int read_back(int fd, struct buf *out, struct err *err)
{
    if (!out)
        return 0;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(err, "cannot read what git wrote");
    int status = io_read_all(fd, out, err);
    return status < 0 ? err_context(err, "what git wrote") : 0;
}

int git_run(const char *dir, const char *const *args, int input, struct buf *out,
            struct buf *errors, struct err *err)
{
    const char *argv[ARGS_MAX + 2] = {"git"};
    for (size_t i = 0; args[i]; i++) {
        if (i == ARGS_MAX)
            abort();
        argv[i + 1] = args[i];
    }
    AUTO_FREE const char **env = environment();
    AUTO_FD int out_fd = memory_file("git-output", err);
    AUTO_FD int err_fd = memory_file("git-errors", err);
    if (out_fd < 0 || err_fd < 0)
        return err->code;
    const struct process_fd fds[] = {{out_fd, 1}, {err_fd, 2}, {input, 0}};
    const struct process_options options = {
        .argv = argv, .envp = env, .fds = fds, .fds_count = input < 0 ? 2 : 3, .cwd = dir};
    pid_t pid = process_spawn(&options, err);
    if (pid < 0)
        return pid;
    int status = process_wait(pid);
    if (status < 0)
        return err_set(err, status, "cannot wait for git");
    int copied = read_back(out_fd, out, err);
    if (copied == 0)
        copied = read_back(err_fd, errors, err);
    if (copied < 0)
        return copied;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int git_line(const char *dir, const char *const *args, char **line, struct err *err)
{
    AUTO_BUF struct buf out;
    buf_init(&out, GIT_OUTPUT_MAX);
    *line = NULL;
    int status = git_run(dir, args, -1, &out, NULL, err);
    if (status != 0)
        return status < 0 ? status : 1;
    out.data[strcspn(out.data, "\n")] = '\0';
    *line = str_dup(out.data);
    return 0;
}

char *git_reason(const struct buf *errors)
{
    static const char *const words[] = {"fatal: ", "error: "};
    const char *reason = "", *prefix = NULL;
    for (const char *line = errors->data; *line;
         line += strcspn(line, "\n"), line += *line == '\n') {
        const char *found = NULL;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (str_starts_with(line, words[i]))
                found = line + strlen(words[i]);
        if (found || !prefix)
            reason = found ? found : line;
        if (found)
            prefix = found;
    }
    return str_format("%.*s", (int)strcspn(reason, "\n"), reason);
}
