/* The tools exec_command and write_stdin, and the jobs behind them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tool.h"
#include "agent/tools/ending.h"
#include "agent/tools/exec_arguments.h"
#include "agent/tools/job.h"
#include "agent/tools/login.h"
#include "agent/tools/sink.h"
#include "agent/tools/typed_patch.h"
#include "agent/user.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/user_env.h"

enum {
    JOBS_MAX = 64,
    IDS_PER_START = 1000, /* so that an id from before a restart names nothing, not another job */
};

struct exec {
    const struct tool_host *host;
    struct command_limits limits;
    char **environment;
    struct login *login;
    struct job *jobs; /* newest first */
    size_t job_count;
    unsigned next_id;
    struct typed_patches patches;
    struct sinks sinks;
    struct ending ending;
    bool stopping;
};

static void remove_job(struct exec *exec, struct job *job)
{
    struct job **at = &exec->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    exec->job_count--;
    job_free(job);
}

static void job_ended(void *arg, struct job *job, bool waited)
{
    struct exec *exec = arg;
    int fd = session_take_fd(job->session);
    if (fd >= 0)
        sinks_add(&exec->sinks, fd, job->session->pid);
    if (job->login && !exec->stopping)
        login_refresh(exec->login); /* now, while the model thinks */
    if (waited)
        remove_job(exec, job);
}

static struct job *find_job(const struct exec *exec, int64_t id)
{
    for (struct job *job = exec->jobs; job; job = job->next)
        if (job->id == id)
            return job;
    return NULL;
}

/* There is room for one more, if need be by forgetting the oldest that has ended unasked. */
static bool make_room(struct exec *exec)
{
    if (exec->job_count < JOBS_MAX)
        return true;
    struct job *oldest = NULL;
    for (struct job *job = exec->jobs; job; job = job->next)
        if (job->session->ended)
            oldest = job;
    if (oldest)
        remove_job(exec, oldest);
    return oldest != NULL;
}

static void start_job(struct exec *exec, struct tool_call *call, const char *workdir,
                      const struct exec_arguments *arguments)
{
    bool login = arguments->login && !arguments->shell && !arguments->tty;
    char *const *known = login ? login_environment(exec->login) : NULL;
    const char *const argv[] = {arguments->shell ? arguments->shell : "bash",
                                arguments->login && !known ? "-lc" : "-c", arguments->cmd, NULL};
    const struct command command = {
        .host = exec->host,
        .limits = &exec->limits,
        .argv = argv,
        .environment = known ? known : exec->environment,
        .workdir = workdir,
        .tty = arguments->tty,
    };
    struct err err;
    struct job *job = job_start(&command, exec->next_id, arguments->cmd, job_ended, exec, &err);
    if (!job) {
        tool_call_finishf(call, false, "%s", err.message);
        return;
    }
    exec->next_id++;
    exec->job_count++;
    job->login = login;
    job->next = exec->jobs;
    exec->jobs = job;
    job_wait(job, call, arguments->yield_ms, arguments->max_output_tokens);
}

static char *resolve_workdir(const struct exec *exec, const char *workdir)
{
    if (!workdir || !*workdir)
        return str_dup(exec->host->workdir);
    return *workdir == '/' ? str_dup(workdir) : str_format("%s/%s", exec->host->workdir, workdir);
}

static void exec_command(void *state, struct tool_call *call)
{
    struct exec *exec = state;
    struct exec_arguments arguments;
    struct shell_patch typed;
    struct err err;
    if (exec_arguments_read(call, &arguments, &err) < 0) {
        tool_call_finishf(call, false, "%s", err.message);
        return;
    }
    AUTO_FREE char *workdir = resolve_workdir(exec, arguments.workdir);
    if (exec->stopping)
        tool_call_finishf(call, false, "not started: the agent was told to stop");
    else if (shell_patch_find(arguments.cmd, &typed))
        typed_patches_add(&exec->patches, call, workdir, &typed);
    else if (shell_patch_is_bare(arguments.cmd))
        tool_call_finishf(call, false,
                          "not run: this is a patch, not a command; give it to the apply_patch "
                          "tool, or to the command apply_patch in a here-document");
    else if (make_room(exec))
        start_job(exec, call, workdir, &arguments);
    else
        tool_call_finishf(call, false,
                          "%d processes are running already; end one of them first, by "
                          "write_stdin with \\u0003 or by kill",
                          JOBS_MAX);
}

static int type(struct job *job, const char *chars, struct err *err)
{
    static const char interrupt[] = "\x03";
    if (job->session->ended)
        return 0; /* how it ended is what the model learns now */
    if (job->session->tty)
        return session_type(job->session, chars, strlen(chars), err);
    if (strcmp(chars, interrupt) != 0)
        return err_set(err, ERR_REFUSED,
                       "stdin is closed for this session; rerun exec_command with tty=true to "
                       "keep stdin open");
    session_signal(job->session, SIGINT);
    return 0;
}

static void write_stdin(void *state, struct tool_call *call)
{
    struct exec *exec = state;
    struct write_arguments arguments;
    struct err err;
    int status = write_arguments_read(call, &arguments, &err);
    struct job *job = status == 0 ? find_job(exec, arguments.session_id) : NULL;
    if (status == 0 && !job)
        status = err_set(&err, ERR_NOT_FOUND, "no process has session ID %lld",
                         (long long)arguments.session_id);
    if (status == 0 && job->call)
        status = err_set(&err, ERR_REFUSED, "another call waits for session ID %u", job->id);
    if (status == 0 && *arguments.chars)
        status = type(job, arguments.chars, &err);
    if (status < 0)
        tool_call_finishf(call, false, "%s", err.message);
    else
        job_wait(job, call, arguments.yield_ms, arguments.max_output_tokens);
}

static void signal_known(void *arg, int signal)
{
    const struct exec *exec = arg;
    for (const struct job *job = exec->jobs; job; job = job->next)
        session_signal(job->session, signal);
    if (!exec->host->drop) /* else they all go with their user; a number may be another's by now */
        sinks_signal(&exec->sinks, signal);
    login_signal(exec->login, signal);
}

static void stop(void *state)
{
    struct exec *exec = state;
    exec->stopping = true;
    for (struct job *job = exec->jobs; job; job = job->next)
        job_interrupt(job);
    typed_patches_stop(&exec->patches);
    ending_begin(&exec->ending);
}

static size_t running(void *state)
{
    const struct exec *exec = state;
    size_t count = typed_patches_running(&exec->patches) + login_running(exec->login) +
                   ending_running(&exec->ending);
    for (const struct job *job = exec->jobs; job; job = job->next)
        count += !job->session->ended;
    return count;
}

static void free_exec(void *state)
{
    struct exec *exec = state;
    ending_release(&exec->ending);
    typed_patches_release(&exec->patches);
    while (exec->jobs)
        remove_job(exec, exec->jobs);
    sinks_release(&exec->sinks);
    login_free(exec->login);
    user_env_free(exec->environment);
    free(exec);
}

static const struct tool tools[] = {
    {.name = "exec_command",
     .kind = TOOL_FUNCTION,
     .description = exec_command_description,
     .schema = exec_command_schema,
     .start = exec_command},
    {.name = "write_stdin",
     .kind = TOOL_FUNCTION,
     .description = write_stdin_description,
     .schema = write_stdin_schema,
     .start = write_stdin},
};

int exec_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err)
{
    struct exec *exec = calloc(1, sizeof *exec);
    if (!exec)
        abort();
    *exec = (struct exec){
        .host = host,
        .next_id = host->session * IDS_PER_START + 1,
        .patches = {.host = host},
        .sinks = {.loop = host->loop},
        .ending = {.host = host, .signal_known = signal_known, .arg = exec},
    };
    int status = command_limits_read(&exec->limits, err);
    if (status < 0) {
        free(exec);
        return status;
    }
    exec->environment = user_environment(host);
    exec->login = login_new(host, &exec->limits, exec->environment);
    *out = (struct tool_group){.tools = tools,
                               .count = sizeof tools / sizeof tools[0],
                               .state = exec,
                               .stop = stop,
                               .running = running,
                               .free = free_exec};
    return 0;
}
