#include "runner/interactive.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "runner/gateway_link.h"
#include "runner/pump.h"
#include "runner/run_dir.h"
#include "runner/sandbox_name.h"
#include "runner/terminal.h"

/* What is forwarded to the command. On a terminal of its own Ctrl-C comes as a key instead. */
static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* For a spawner that looks at a directory which is still being made. */
enum { BRIDGES = 4, LOCK_WAIT_MS = 2000 };

struct interactive {
    const struct interactive_options *options;
    struct loop *loop;
    struct run_dir run;
    struct sandbox_host host;
    struct sandbox *sandbox;
    struct gateway_link gateway;
    int events; /* the gateway's; nobody reads them */
    struct terminal terminal;
    bool on_terminal; /* 0, 1 and 2 all are one: the command gets a pty */
    /* A single one of 0, 1, 2 that is a terminal is bridged by a pipe: no terminal of the host goes
     * inside. */
    int inside[3];
    struct pump *pumps[BRIDGES];
    unsigned pumps_count, pumps_running;
    pid_t pid;        /* of the command; 0: none */
    int early_signal; /* came before there was a command */
    bool progress_shown;
    struct sandbox_result result;
    bool ended;
};

static void show_progress(void *arg, unsigned percent, uint64_t entries)
{
    struct interactive *self = arg;
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\rmaking the sandbox image, once: %u%% (%llu files)", percent,
            (unsigned long long)entries);
    self->progress_shown = true;
}

static void signal_command(pid_t pid, int signal)
{
    if (kill(-pid, signal) < 0) /* on a terminal it leads a process group */
        kill(pid, signal);
}

static void forward_signal(void *arg, int signal)
{
    struct interactive *self = arg;
    if (!self->pid)
        self->early_signal = signal;
    else
        signal_command(self->pid, signal);
    if (self->pid && (signal == SIGHUP || signal == SIGTERM))
        signal_command(self->pid, SIGCONT); /* as a terminal does: what is stopped hears it, too */
}

static void window_changed(void *arg, int signal)
{
    struct interactive *self = arg;
    terminal_resize(&self->terminal);
}

static int watch_signals(struct interactive *self, struct err *err)
{
    signal(SIGPIPE, SIG_IGN);
    int status = loop_add_signal(self->loop, SIGWINCH, window_changed, self, err);
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0] && status == 0; i++)
        status = loop_add_signal(self->loop, forwarded[i], forward_signal, self, err);
    return status;
}

static void output_ended(void *arg)
{
    struct interactive *self = arg;
    self->pumps_running--;
}

static int add_bridge(struct interactive *self, int in, int out, pump_ended_fn *ended,
                      struct err *err)
{
    struct pump *pump = pump_new(self->loop, in, out, ended, self, err);
    if (!pump)
        return err->code;
    self->pumps[self->pumps_count++] = pump;
    return 0;
}

/* A bridge that carries the command's output has to end before we do. */
static int add_output(struct interactive *self, int in, int out, struct err *err)
{
    int status = add_bridge(self, in, out, output_ended, err);
    if (status == 0)
        self->pumps_running++;
    return status;
}

/* The end of what is typed is passed on. Nobody waits for it. */
static void input_ended(void *arg)
{
    struct interactive *self = arg;
    if (self->inside[0] >= 0)
        close(self->inside[0]);
    self->inside[0] = -1;
}

/* A pipe in place of the terminal FD. Returns the end for the command. */
static int bridge_by_pipe(struct interactive *self, int fd, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    int status;
    if (fd == STDIN_FILENO) {
        self->inside[0] = ends[1];
        status = add_bridge(self, fd, ends[1], input_ended, err);
        return status < 0 ? status : ends[0];
    }
    self->inside[fd] = ends[0];
    status = add_output(self, ends[0], fd, err);
    return status < 0 ? status : ends[1];
}

/* The descriptors of the command; those that were made here go to MADE, for the caller to close. */
static int prepare_fds(struct interactive *self, struct sandbox_fd fds[3], size_t *count,
                       int made[3], struct err *err)
{
    *count = 0;
    for (int fd = 0; fd < 3; fd++) {
        made[fd] = -1;
        if (self->on_terminal || fcntl(fd, F_GETFD) < 0)
            continue;
        int from = fd;
        if (isatty(fd)) {
            from = made[fd] = bridge_by_pipe(self, fd, err);
            if (from < 0)
                return from;
        }
        fds[(*count)++] = (struct sandbox_fd){from, fd};
    }
    return 0;
}

static void command_ended(void *arg, const struct sandbox_result *result)
{
    struct interactive *self = arg;
    self->result = *result;
    self->ended = true;
    self->pid = 0;
    /* What it left running ends with it; and whoever still holds its output. */
    sandbox_kill(self->sandbox);
}

static int connect_terminal(struct interactive *self, struct err *err)
{
    int status = terminal_connect(&self->terminal, err);
    if (status == 0)
        status = add_bridge(self, STDIN_FILENO, self->terminal.keyboard, input_ended, err);
    return status < 0 ? status : add_output(self, self->terminal.master, STDOUT_FILENO, err);
}

/* By way of a shell's exec, which says what is missing as shells do: 127 not found, 126 not
 * executable. The caller frees. */
static const char **command_line(const char *const *argv)
{
    static const char *const prefix[] = {"/bin/sh", "-c", "exec \"$@\"", "sh"};
    size_t count = 0;
    while (argv[count])
        count++;
    const char **line = calloc(count + 5, sizeof *line);
    if (!line)
        abort();
    memcpy(line, prefix, sizeof prefix);
    memcpy(line + 4, argv, count * sizeof *argv);
    return line;
}

static int start_command(struct interactive *self, const char *cwd, struct err *err)
{
    char term[128] = "TERM=dumb";
    const char *const env[] = {term, NULL};
    if (self->on_terminal && getenv("TERM"))
        snprintf(term, sizeof term, "TERM=%s", getenv("TERM"));
    AUTO_FREE const char **argv = command_line(self->options->argv);
    struct sandbox_fd fds[3];
    int made[3] = {-1, -1, -1};
    struct sandbox_step step = {.profile = self->options->root ? SANDBOX_AS_ROOT : SANDBOX_AS_USER,
                                .argv = argv,
                                .env = env,
                                .cwd = cwd,
                                .fds = fds,
                                .timeout_ms = self->options->timeout_ms};
    if (self->on_terminal) {
        int status = terminal_open(&self->terminal, SANDBOX_RUN_DIR "/private/console", err);
        if (status < 0)
            return status;
        step.console = self->terminal.path;
    }
    int status = prepare_fds(self, fds, &step.fds_count, made, err);
    pid_t pid = status < 0 ? status : sandbox_exec(self->sandbox, &step, command_ended, self, err);
    for (int fd = 0; fd < 3; fd++)
        if (made[fd] >= 0)
            close(made[fd]);
    if (pid < 0)
        return pid;
    self->pid = pid;
    status = self->on_terminal ? connect_terminal(self, err) : 0;
    if (status == 0 && self->early_signal)
        forward_signal(self, self->early_signal);
    return status;
}

/* The last component of the workspace's path, made absolute in PATH. */
static int resolve_workdir(const char *workdir, char path[PATH_MAX], const char **name,
                           struct err *err)
{
    if (!realpath(workdir, path))
        return err_errno(err, "cannot use '%s' as the workspace", workdir);
    const char *slash = strrchr(path, '/');
    *name = slash + 1;
    if (!slash[1])
        return err_set(err, ERR_USAGE,
                       "'/' cannot be the workspace: go into a directory, or name one");
    return 0;
}

/* The way to the internet: a gateway like a task's, which has no model. What it refuses it tells the
 * program that asked. */
static int open_door(struct interactive *self, struct err *err)
{
    const struct interactive_options *options = self->options;
    if (options->gateway_config < 0)
        return 0;
    self->events = open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC);
    if (self->events < 0)
        return err_errno(err, "cannot open '/dev/null'");
    const struct gateway_link_options gateway = {.program = options->gateway,
                                                 .task = self->run.name,
                                                 .events_fd = self->events,
                                                 .config_fd = options->gateway_config,
                                                 .replay_fd = -1};
    int status = gateway_link_open(&self->gateway, self->loop, &gateway, err);
    int listener = status < 0 ? status : sandbox_listen(self->sandbox, GATEWAY_PROXY_PORT, err);
    if (listener < 0)
        return listener;
    gateway_link_listen(&self->gateway, GATEWAY_LISTENER_PROXY, listener);
    return 0;
}

static int start_sandbox(struct interactive *self, const char *name, struct err *err)
{
    const struct interactive_options *options = self->options;
    char path[PATH_MAX], directory[PATH_MAX], cgroup[SANDBOX_NAME_SIZE], cwd[PATH_MAX];
    const char *workspace = NULL;
    int status = resolve_workdir(options->workdir, path, &workspace, err);
    if (status == 0)
        status = sandbox_name(cgroup, options->state, name, "shell", err);
    snprintf(directory, sizeof directory, "%s/sandboxes", options->state);
    AUTO_FD int layers = status < 0 ? status : io_open_private_dir(directory, err);
    if (layers < 0)
        return layers;
    snprintf(directory, sizeof directory, "%s/sandboxes/%s", options->state, name);
    if (snprintf(cwd, sizeof cwd, SANDBOX_WORKSPACE "/%s", workspace) >= (int)sizeof cwd)
        return err_set(err, -ENAMETOOLONG, "path too long");
    self->sandbox =
        sandbox_create(&self->host,
                       &(struct sandbox_options){.name = cgroup,
                                                 .directory = directory,
                                                 .limits = options->limits,
                                                 .workspace = {path, workspace, options->write}},
                       err);
    if (!self->sandbox)
        return err->code;
    status = open_door(self, err);
    if (status == 0)
        status = sandbox_start(self->sandbox, err);
    return status < 0 ? status : start_command(self, cwd, err);
}

static int start(struct interactive *self, struct err *err)
{
    const struct interactive_options *options = self->options;
    const struct sandbox_host_options host = {.images = options->images,
                                              .runtime = options->runtime,
                                              .agent = options->agent,
                                              .progress = show_progress,
                                              .progress_arg = self};
    char id[13], name[RUN_NAME_SIZE];
    str_random_id(id, sizeof id - 1);
    snprintf(name, sizeof name, "sandbox-%s", id);
    self->loop = loop_new(err);
    int status = self->loop ? watch_signals(self, err) : err->code;
    if (status == 0)
        status = sandbox_host_open(&self->host, self->loop, &host, err);
    if (self->progress_shown)
        fprintf(stderr, "\r\033[K");
    if (status == 0)
        status = run_dir_take(&self->run, options->state, name, LOCK_WAIT_MS, err);
    return status < 0 ? status : start_sandbox(self, name, err);
}

static void tell_why(const struct interactive *self)
{
    const struct sandbox_result *result = &self->result;
    if (result->end == SANDBOX_OUT_OF_MEMORY)
        fprintf(stderr, "codex: the sandbox ran out of memory (limit %llu MiB)\n",
                (unsigned long long)self->options->limits.memory_bytes >> 20);
    else if (result->end == SANDBOX_TIMED_OUT)
        fprintf(stderr, "codex: the command was ended after its time limit of %lld s\n",
                (long long)(self->options->timeout_ms / 1000));
    if (result->pids_denied)
        fprintf(stderr, "codex: the sandbox ran into its limit of %u processes\n",
                self->options->limits.pids);
}

/* Give back what start() took, as far as it got. */
static int stop(struct interactive *self, struct err *err)
{
    for (unsigned i = 0; i < self->pumps_count; i++)
        pump_free(self->pumps[i]);
    for (int fd = 0; fd < 3; fd++)
        if (self->inside[fd] >= 0)
            close(self->inside[fd]);
    terminal_release(&self->terminal);
    int status = sandbox_free(self->sandbox, err);
    gateway_link_close(&self->gateway);
    if (self->events >= 0)
        close(self->events);
    if (self->run.lock_fd >= 0 && status == 0) {
        char directory[PATH_MAX];
        snprintf(directory, sizeof directory, "%s/sandboxes/%s", self->options->state,
                 self->run.name);
        status = io_remove_tree_at(AT_FDCWD, directory, err);
    }
    /* What could not be removed is left to the spawner, which finds it by the run's directory. */
    run_dir_release(&self->run, status == 0);
    sandbox_host_release(&self->host);
    loop_free(self->loop);
    return status;
}

int interactive_run(const struct interactive_options *options)
{
    struct interactive self = {.options = options,
                               .run = {.dir_fd = -1, .lock_fd = -1, .runs_fd = -1},
                               .host.image.lock_fd = -1,
                               .terminal = {.listener = -1, .master = -1, .keyboard = -1},
                               .inside = {-1, -1, -1},
                               .events = -1,
                               .on_terminal = isatty(0) && isatty(1) && isatty(2)};
    struct err err = {0};
    gateway_link_init(&self.gateway);
    int status = start(&self, &err);
    while (status == 0 && (!self.ended || self.pumps_running))
        status = loop_run_once(self.loop, -1, &err);
    struct err left = {0};
    if (stop(&self, &left) < 0)
        fprintf(stderr, "codex: cannot clean up: %s\n", left.message);
    if (status < 0) {
        fprintf(stderr, "codex: %s\n", err.message);
        return INTERACTIVE_NO_SANDBOX;
    }
    tell_why(&self);
    return self.result.end == SANDBOX_TIMED_OUT ? INTERACTIVE_TIMED_OUT : self.result.status;
}
