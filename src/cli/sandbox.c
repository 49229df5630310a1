#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "config/internet.h"

enum { RUNNER_ARGS_MAX = 24 };

struct sandbox_options {
    struct common_options common;
    bool write;
};

static const struct option sandbox_options[] = {
    {"write", 0, OPTION_FLAG, offsetof(struct sandbox_options, write),
     .help = "keep what it changes in the current directory"},
    {0},
};

/* The command line of codex-runner. What it is made of is owned by `owned`. */
struct command {
    const char **argv;
    size_t count;
    char *owned[8];
    size_t owned_count;
    int gateway_config; /* -1: none yet */
};

/* Where codex-runner --internet finds it. */
enum { RUNNER_FD_GATEWAY = 3 };

static void command_release(struct command *command)
{
    for (size_t i = 0; i < command->owned_count; i++)
        free(command->owned[i]);
    if (command->gateway_config >= 0)
        close(command->gateway_config);
    free(command->argv);
}

static void add(struct command *command, const char *word)
{
    command->argv[command->count++] = word;
}

/* OPTION and its VALUE, which is owned from now on. */
static void add_option(struct command *command, const char *option, char *value)
{
    command->owned[command->owned_count++] = value;
    add(command, option);
    add(command, value);
}

static void add_limits(struct command *command, const struct config *config)
{
    long long memory = config->memory_bytes, cpus = config->cpu_milli;
    if (memory)
        add_option(command, "--memory", str_format("%lldM", memory >> 20));
    if (cpus)
        add_option(command, "--cpus", str_format("%lld.%03lld", cpus / 1000, cpus % 1000));
    if (config->pids)
        add_option(command, "--pids", str_format("%lld", (long long)config->pids));
}

/* What of the internet a task could reach, this can. */
static int internet_config(const struct config *config, struct err *err)
{
    AUTO_BUF struct buf json;
    buf_init(&json, CONFIG_FILE_MAX * 4);
    buf_append_str(&json, "{\"task\":\"sandbox\",\"wire_api\":\"none\",\"internet\":");
    config_internet_json(config, &json);
    buf_append_char(&json, '}');
    return io_memfd("gateway.json", json.data, json.len, err);
}

static int build(struct command *command, const struct paths *paths, const struct config *config,
                 bool write, const char *const *words, int count, struct err *err)
{
    *command = (struct command){.argv = calloc((size_t)count + RUNNER_ARGS_MAX, sizeof(char *)),
                                .gateway_config = -1};
    if (!command->argv)
        abort();
    char *runner = command->owned[command->owned_count++] = program_path("codex-runner");
    if (!runner)
        return err_set(err, ERR_SANDBOX,
                       "cannot find the program codex-runner beside codex or in '%s'",
                       CODEX_LIBEXECDIR);
    char *workdir = getcwd(NULL, 0);
    if (!workdir)
        return err_set(err, ERR_SANDBOX, "cannot tell the current directory: %s", strerror(errno));
    add(command, runner);
    add(command, "--sandbox");
    if (write)
        add(command, "--write");
    add_option(command, "--workdir", workdir);
    add_limits(command, config);
    add(command, "--runtime");
    add(command, config->runtime);
    add(command, "--state");
    add(command, paths->state);
    add_option(command, "--images",
               config->images ? str_dup(config->images) : str_format("%s/images", paths->state));
    add(command, "--internet");
    command->gateway_config = internet_config(config, err);
    if (command->gateway_config < 0)
        return command->gateway_config;
    add(command, "--");
    for (int i = 0; i < count; i++)
        add(command, words[i]);
    add(command, NULL);
    return 0;
}

/* Run it and print its exit status as the last line. */
static int run_with_report(const struct command *command, struct err *err)
{
    const struct process_fd fds[] = {{STDIN_FILENO, 0},
                                     {STDOUT_FILENO, 1},
                                     {STDERR_FILENO, 2},
                                     {command->gateway_config, RUNNER_FD_GATEWAY}};
    const struct process_options options = {.argv = command->argv, .fds = fds, .fds_count = 4};
    /* Ctrl-C is for the command; its exit status is what we are here for. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    pid_t pid = process_spawn(&options, err);
    int wait_status = pid < 0 ? -1 : process_wait(pid);
    if (wait_status < 0)
        return err_set(err, ERR_SANDBOX, "cannot run codex-runner");
    int status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    json_t *answer = json_pack("{s:i}", "exit_code", status);
    json_print(answer);
    json_decref(answer);
    return status;
}

static int run_sandbox(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct sandbox_options *options = arg;
    struct paths paths;
    struct config config;
    struct command command;
    int status = paths_find(&paths, &config, NULL, err);
    if (status < 0)
        return status;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "codex: internet access: %s ([internet] in codex.conf)\n", config.internet);
    status = build(&command, &paths, &config, options->write, arguments, count, err);
    if (status == 0 && options->common.json) {
        status = run_with_report(&command, err);
    } else if (status == 0) {
        fflush(stdout);
        if (command.gateway_config == RUNNER_FD_GATEWAY)
            fcntl(RUNNER_FD_GATEWAY, F_SETFD, 0);
        else
            dup2(command.gateway_config, RUNNER_FD_GATEWAY);
        execv(command.argv[0], (char *const *)command.argv);
        status = err_set(err, ERR_SANDBOX, "cannot run '%s': %s", command.argv[0], strerror(errno));
    }
    command_release(&command);
    paths_release(&paths);
    config_release(&config);
    return status;
}

const struct verb verb_sandbox = {
    .name = "sandbox",
    .summary = "run a command in a sandbox like a task's, here",
    .arguments = "-- COMMAND [ARGUMENT]...",
    .examples = "  codex sandbox -- make test\n"
                "  codex sandbox --write -- npm install\n",
    .options = sandbox_options,
    .options_size = sizeof(struct sandbox_options),
    .arguments_min = 1,
    .arguments_max = -1,
    .command_follows = true,
    .run = run_sandbox,
};
