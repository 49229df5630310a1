/*
 * The spawner's small helpers: a look at the machine, a gateway that tries a provider. They belong
 * to no run; codexd learns of their end by the descriptors that it gave.
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "runner/privileges.h"
#include "runner/spawner_internal.h"
#include "task/gateway_control.h"

enum {
    HELPERS_MAX = 8, /* at once */
    HELPER_MS = 120 * 1000,
};

static void helper_ended(void *arg, pid_t pid, int wait_status)
{
    spawner_remove_child(arg);
}

static void helper_timed_out(void *arg)
{
    struct spawner_child *child = arg;
    child->timer = NULL;
    kill(child->pid, SIGKILL);
}

static void start(struct spawner *spawner, const struct process_options *options)
{
    unsigned count = 0;
    struct err err;
    for (const struct spawner_child *child = spawner->children; child; child = child->next)
        count += child->helper;
    pid_t pid = count >= HELPERS_MAX ? err_set(&err, ERR_LIMIT, "too many checks at once")
                                     : process_spawn(options, &err);
    struct spawner_child *child =
        pid < 0 ? NULL : spawner_add_child(spawner, pid, helper_ended, &err);
    if (!child) {
        log_warn("-", "%s", err.message);
        return;
    }
    child->helper = true;
    child->timer = loop_add_timer(spawner->loop, HELPER_MS, helper_timed_out, child);
}

void spawner_start_check(struct spawner *spawner, int out)
{
    const struct spawner_options *places = spawner->options;
    const char *const argv[] = {"codex-runner", "--check",       "--state",
                                places->state,  "--images",      places->images,
                                "--runtime",    places->runtime, NULL};
    const struct process_fd fds[] = {{out, STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
    start(spawner, &(struct process_options){.argv = argv,
                                             .program = "/proc/self/exe",
                                             .fds = fds,
                                             .fds_count = 2,
                                             .cwd = "/",
                                             .new_session = true});
}

void spawner_start_gateway(struct spawner *spawner, const int *fds)
{
    const char *const argv[] = {spawner->options->gateway, NULL};
    const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    const struct process_fd placed[] = {{STDERR_FILENO, STDERR_FILENO},
                                        {fds[SPAWN_GATEWAY_CONTROL], GATEWAY_FD_CONTROL},
                                        {fds[SPAWN_GATEWAY_EVENTS], GATEWAY_FD_EVENTS},
                                        {fds[SPAWN_GATEWAY_CONFIG], GATEWAY_FD_CONFIG}};
    AUTO_FD int program = open(spawner->options->gateway, O_RDONLY | O_CLOEXEC);
    if (program < 0) {
        log_warn("-", "cannot run '%s'", spawner->options->gateway);
        return;
    }
    start(spawner, &(struct process_options){.argv = argv,
                                             .program_fd = program,
                                             .envp = environment,
                                             .fds = placed,
                                             .fds_count = sizeof placed / sizeof placed[0],
                                             .cwd = "/",
                                             .namespaces = PRIVILEGES_ALONE,
                                             .prepare = privileges_become_lone_nobody});
}
