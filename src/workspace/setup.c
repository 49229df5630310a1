/*
 * `codex-agent setup`: what the repository depends on is installed, by the sandbox's root. The
 * commands are, in this order of preference: task.json's setup_command (--setup), the lines of
 * `.codex/environment.conf`, what is found (deps.h).
 *
 * What they put into the workspace belongs to the task's user then, tracked files are as they were,
 * and files that are new are kept out of commits. A fingerprint of it all stays in the sandbox's
 * files: asked again with the same, there is nothing to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fnv.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/process.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "base/user_env.h"
#include "task/exit.h"
#include "workspace/deps.h"
#include "workspace/environment_file.h"
#include "workspace/ownership.h"
#include "workspace/setup_advice.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/supervise.h"
#include "workspace/worktree.h"

enum { TAIL_MAX = 8192, LINE_SHOWN_MAX = 1024, TIDY_TIMEOUT_MS = 600000 };

static const char *state_dir = SANDBOX_STATE_DIR;

/* The command that ended it. */
struct failure {
    const struct deps_command *command; /* NULL: none */
    struct supervised_end end;
    int64_t duration_ms;
    struct buf tail;
};

/*
 * As root, but at home where the task's user is: what tools keep there (~/.cargo, ~/.m2, ~/go …) is
 * looked for by him later. Tools that warn about root, ask, or refuse to touch the system's Python,
 * which is the sandbox's own, are told not to.
 */
static char **make_env(void)
{
    static const char *const extra[] = {"CI=1",
                                        "DEBIAN_FRONTEND=noninteractive",
                                        "PIP_BREAK_SYSTEM_PACKAGES=1",
                                        "PIP_ROOT_USER_ACTION=ignore",
                                        "PIP_DISABLE_PIP_VERSION_CHECK=1",
                                        "PIP_NO_CACHE_DIR=1",
                                        "POETRY_VIRTUALENVS_CREATE=false",
                                        "COMPOSER_ALLOW_SUPERUSER=1",
                                        "npm_config_update_notifier=false",
                                        "npm_config_fund=false",
                                        "npm_config_audit=false",
                                        USER_ENV_TRUSTING_GIT,
                                        NULL};
    return user_env_new(SANDBOX_UID, SANDBOX_HOME, extra);
}

static bool is_program(void *arg, const char *name)
{
    const char *path = user_env_get(arg, "PATH");
    return path && process_in_path(path, name);
}

/* The lines that somebody wrote. */
static int use_lines(const struct step *step, struct deps_plan *plan, struct err *err)
{
    if (step->setup_command) {
        deps_use(step->setup_command, plan);
        return 0;
    }
    struct environment_file file;
    int status = environment_file_read(step->workdir, &file, err);
    for (size_t i = 0; status > 0 && i < file.setup_count; i++)
        deps_use(file.setup[i], plan);
    environment_file_release(&file);
    return status < 0 ? status : 0;
}

static int make_plan(const struct step *step, char **env, struct deps_plan *plan, struct err *err)
{
    *plan = (struct deps_plan){.fingerprint = fnv_start};
    int status = use_lines(step, plan, err);
    if (status < 0)
        return status;
    if (plan->count)
        return deps_mix_files(step->workdir, plan, err);
    const struct deps_probe probe = {is_program, env};
    return deps_find(step->workdir, &probe, plan, err);
}

/* 1 when a set-up of the same PLAN was done here. */
static int is_done(const struct deps_plan *plan)
{
    AUTO_FREE char *path = str_format("%s/setup", state_dir);
    AUTO_FREE char *mark = str_format("%016llx\n", (unsigned long long)plan->fingerprint);
    AUTO_BUF struct buf text;
    buf_init(&text, 64);
    return io_read_file(path, &text, NULL) == 0 && !strcmp(text.data, mark);
}

/* The file of the mark, new and empty: nothing is done. What set-up may have put there is not opened. */
static int open_mark(struct err *err)
{
    AUTO_FREE char *path = str_format("%s/setup", state_dir);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? err_errno(err, "cannot open '%s'", path) : fd;
}

/* As it is found from now on: set-up may have brought a lock file that nobody tracks, or a program
 * that is then not installed first. */
static int mark_done(const struct step *step, char **env, int mark_fd, struct err *err)
{
    struct deps_plan plan;
    char mark[32];
    int status = make_plan(step, env, &plan, err);
    int len = snprintf(mark, sizeof mark, "%016llx\n", (unsigned long long)plan.fingerprint);
    deps_plan_release(&plan);
    return status < 0 ? status : io_write_all(mark_fd, mark, (size_t)len, err);
}

/* For the agent, which the gateway tells nothing: once, by the set-up of the base. */
static int leave_internet(const struct step *step, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, ENVIRONMENT_INTERNET_MAX);
    mkdir(state_dir, 0700);
    AUTO_FD int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, "cannot open '%s'", state_dir);
    if (faccessat(dir, SANDBOX_INTERNET_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    struct environment_file file;
    int status = environment_file_read(step->workdir, &file, err);
    if (status >= 0)
        environment_file_internet(&file, &text);
    environment_file_release(&file);
    return status < 0
               ? status
               : io_replace_file_at(dir, SANDBOX_INTERNET_FILE, text.data, text.len, 0600, err);
}

static int run_command(const struct step *step, const struct deps_command *command, char **env,
                       int64_t deadline_ms, struct failure *failure, struct err *err)
{
    AUTO_FREE char *dir = str_format("%s/%s", step->workdir, command->dir);
    const char *const argv[] = {"bash", "-lc", command->line, NULL};
    const struct supervised what = {.argv = argv,
                                    .envp = (const char *const *)env,
                                    .dir = dir,
                                    .out_fd = STDOUT_FILENO,
                                    .tail = &failure->tail,
                                    .deadline_ms = deadline_ms,
                                    .as_root = true};
    if (strcmp(command->dir, ".") != 0)
        printf("$ cd %s && %s\n", command->dir, command->line);
    else
        printf("$ %s\n", command->line);
    fflush(stdout);
    buf_clear(&failure->tail);
    int64_t began_ms = clock_mono_ms();
    int status = supervise(&what, &failure->end, err);
    failure->duration_ms = clock_mono_ms() - began_ms;
    return status;
}

static int run_plan(const struct step *step, const struct deps_plan *plan, char **env,
                    struct failure *failure, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + step->test_timeout_ms;
    for (size_t i = 0; i < plan->count; i++) {
        const struct deps_command *command = &plan->commands[i];
        int status = run_command(step, command, env, deadline_ms, failure, err);
        if (status < 0)
            return status;
        if (failure->end.timed_out || failure->end.exit_code != 0) {
            failure->command = command;
            return 0;
        }
    }
    if (plan->cut)
        fprintf(stderr, "codex-agent setup: only the first %d commands were run\n",
                DEPS_COMMANDS_MAX);
    return 0;
}

/* Of the command that failed: as that of tests (for the agent, after a commit of its own), and what
 * to try, for the task's fault. */
static int write_failure(const struct failure *failure, struct err *err)
{
    const struct deps_command *command = failure->command;
    const struct supervised_end *end = &failure->end;
    AUTO_BUF struct buf json, advice;
    buf_init(&json, STEP_RESULT_MAX);
    buf_init(&advice, 4096);
    setup_advice(command, end, failure->tail.data, &advice);
    fprintf(stderr, "codex-agent setup: %s\n", advice.data);
    buf_append_str(&json, "{\"command\":");
    size_t len = strlen(command->line);
    json_text_string(&json, command->line, len < LINE_SHOWN_MAX ? len : LINE_SHOWN_MAX);
    buf_append_str(&json, ",\"directory\":");
    json_text_cstring(&json, command->dir);
    buf_append_str(&json, ",\"found\":");
    json_text_cstring(&json, command->found);
    buf_appendf(&json,
                end->signal ? ",\"exit_code\":null,\"signal\":%d"
                            : ",\"exit_code\":%d,\"signal\":null",
                end->signal ? end->signal : end->exit_code);
    buf_appendf(&json, ",\"timed_out\":%s,\"duration_ms\":%lld,\"advice\":",
                end->timed_out ? "true" : "false", (long long)failure->duration_ms);
    json_text_string(&json, advice.data, advice.len);
    buf_append_str(&json, ",\"output_tail\":");
    json_text_string(&json, failure->tail.data, failure->tail.len);
    buf_append_char(&json, '}');
    return step_write_result(&json, err);
}

/* Tracked files as they were; what is new is named in info/exclude. As the task's user. */
static int tidy(const struct step *step, struct err *err)
{
    AUTO_FREE char *git_dir = str_format("%s/.git", step->workdir);
    AUTO_FREE char *index = str_format("GIT_INDEX_FILE=%s/index", git_dir);
    struct git_command reset, list;
    git_command_init(&reset, git_dir, step->workdir);
    git_env(&reset, index);
    git_args(&reset, "read-tree", "--reset", "-u", "HEAD", NULL);
    reset.dir = step->workdir;
    reset.timeout_ms = TIDY_TIMEOUT_MS;
    int status = git_must(&reset, err);
    AUTO_BUF struct buf names, lines;
    buf_init(&names, 1 << 20);
    buf_init(&lines, 2 << 20);
    git_command_init(&list, git_dir, step->workdir);
    git_env(&list, index);
    git_args(&list, "ls-files", "--others", "--exclude-standard", "--directory",
             "--no-empty-directory", "-z", NULL);
    list.dir = step->workdir;
    list.out = &names;
    list.timeout_ms = TIDY_TIMEOUT_MS;
    if (status == 0)
        status = git_must(&list, err);
    return status < 0 ? status : worktree_exclude(git_dir, names.data, names.len, err);
}

/* Everything that is left to do when all commands have succeeded. */
static int settle(const struct step *step, char **env, struct err *err)
{
    int status = ownership_hand_over(step->workdir, err);
    if (status == 0)
        status = ownership_hand_over(SANDBOX_HOME, err);
    AUTO_FD int mark = status < 0 ? -1 : open_mark(err); /* the task's user could not */
    if (mark < 0)
        return status < 0 ? status : mark;
    status = step_drop(err);
    if (status == 0)
        status = tidy(step, err);
    return status < 0 ? status : mark_done(step, env, mark, err);
}

static int setup(struct step *step, struct err *err)
{
    struct deps_plan plan;
    struct failure failure = {0};
    buf_init(&failure.tail, TAIL_MAX);
    umask(022);
    char **env = make_env();
    int status = make_plan(step, env, &plan, err);
    if (status == 0)
        status = leave_internet(step, err);
    int end = plan.count ? SETUP_DONE : SETUP_NOTHING;
    if (status == 0 && plan.count && is_done(&plan))
        end = SETUP_NOTHING;
    if (status == 0 && end == SETUP_DONE)
        status = run_plan(step, &plan, env, &failure, err);
    if (status == 0 && failure.command) {
        status = write_failure(&failure, err);
        end = failure.end.timed_out ? SETUP_TIMED_OUT : SETUP_FAILED;
    } else if (status == 0 && end == SETUP_DONE) {
        status = settle(step, env, err);
    }
    deps_plan_release(&plan);
    buf_release(&failure.tail);
    user_env_free(env);
    return status < 0 ? status : end;
}

int setup_main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--state")) {
        state_dir = argv[2];
        argc = 1;
    }
    return step_main(argc, argv, setup, SETUP_FAILED);
}
