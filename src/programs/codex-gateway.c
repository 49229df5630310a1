/*
 * codex-gateway: the only door of one run's sandboxes. Started by the runner without arguments;
 * what it is given are descriptors (task/gateway_control.h).
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/confine.h"
#include "gateway/footprint.h"
#include "gateway/gateway.h"
#include "programs/about.h"
#include "task/gateway_control.h"

#ifdef __SANITIZE_ADDRESS__
/* The leak check at the end of a sanitizer build traces the process from a thread: both are
 * forbidden here (confine.h). */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

enum { TROUBLE_LINES_MAX = 100 }; /* in the log, of one run */

struct program {
    const char *task;
    struct gateway *gateway;
    unsigned trouble_lines;
};

static void on_trouble(void *arg, const char *message)
{
    struct program *program = arg;
    if (program->trouble_lines++ < TROUBLE_LINES_MAX)
        log_warn(program->task, "%s", message);
}

static void on_sigterm(void *arg, int sig)
{
    struct program *program = arg;
    gateway_stop(program->gateway);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Keep the descriptors that were meant for us, and see that nothing else is there. */
static int take_descriptors(int *replay_fd, struct err *err)
{
    if (!is_open(GATEWAY_FD_CONTROL) || !is_open(GATEWAY_FD_EVENTS) || !is_open(GATEWAY_FD_CONFIG))
        return err_set(err, ERR_USAGE, "codex-gateway is started by codex-runner, not by hand");
    *replay_fd = is_open(GATEWAY_FD_REPLAY) ? GATEWAY_FD_REPLAY : -1;
    for (int fd = GATEWAY_FD_CONTROL; fd <= GATEWAY_FD_REPLAY; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    syscall(SYS_close_range, GATEWAY_FD_REPLAY + 1, ~0U, 0);
    return 0;
}

static int run(struct program *program, const struct gateway_options *options, struct err *err)
{
    struct loop *loop = loop_new(err);
    if (!loop)
        return GATEWAY_EXIT_INTERNAL;
    int status = GATEWAY_EXIT_START;
    program->gateway = gateway_new(loop, options, err);
    if (program->gateway && loop_add_signal(loop, SIGTERM, on_sigterm, program, err) == 0) {
        footprint_trim();
        status = gateway_run(program->gateway, err);
    }
    gateway_free(program->gateway);
    loop_free(loop);
    return status;
}

static int start(struct program *program, struct gateway_config *config, int *replay_fd,
                 struct err *err)
{
    int status = take_descriptors(replay_fd, err);
    if (status == 0)
        status = gateway_config_read(config, GATEWAY_FD_CONFIG, err);
    if (status < 0)
        return status;
    program->task = config->task;
    close(GATEWAY_FD_CONFIG);
    return confine(err);
}

static void print_usage(FILE *out)
{
    fputs(
        "usage: codex-gateway\n"
        "The only door of one run's sandboxes. codex-runner starts it; it is not for use by hand.\n",
        out);
}

int main(int argc, char **argv)
{
    if (about(argc, argv, "codex-gateway", print_usage))
        return GATEWAY_EXIT_DONE;
    footprint_init();
    log_open("codex-gateway");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);

    struct program program = {.task = "-"};
    struct gateway_config config = {0};
    struct gateway_options options = {.config = &config,
                                      .control_fd = GATEWAY_FD_CONTROL,
                                      .events_fd = GATEWAY_FD_EVENTS,
                                      .replay_fd = -1,
                                      .trouble = on_trouble,
                                      .arg = &program};
    struct err err;
    int status = start(&program, &config, &options.replay_fd, &err) < 0
                     ? GATEWAY_EXIT_START
                     : run(&program, &options, &err);
    if (status != GATEWAY_EXIT_DONE)
        log_error(program.task, "%s", err.message);
    gateway_config_release(&config);
    return status;
}
