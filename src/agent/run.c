#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/context.h"
#include "agent/conversation.h"
#include "agent/events.h"
#include "agent/feedback.h"
#include "agent/model.h"
#include "agent/task_file.h"
#include "agent/tool.h"
#include "agent/turn.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sandbox_layout.h"
#include "task/exit.h"

enum { FD_TASK = 0, FD_EVENTS = 3, FD_FEEDBACK = 6 };

enum { GROUPS_MAX = 5, NARROWING_MAX_BYTES = 65536 };

struct agent {
    struct agent_task task;
    bool as_root; /* the commands are ours, root's */
    int state_fd;
    int events_fd, feedback_fd; /* -1: not there */
    struct loop *loop;
    struct conversation *conversation;
    struct events *events;
    struct tool_host host;
    struct tool_group groups[GROUPS_MAX];
    size_t groups_count;
    struct model *model;
    struct err why;
};

/* A descriptor that the platform may have given us; no child shall get it. */
static int inherited(int fd)
{
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : fd;
}

static enum agent_exit open_state_dir(struct agent *agent, const char *path)
{
    struct stat status;
    mkdir(path, 0700);
    agent->state_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (agent->state_fd < 0 || fstat(agent->state_fd, &status) < 0) {
        err_errno(&agent->why, "cannot open the state directory '%s'", path);
        return AGENT_EXIT_INTERNAL;
    }
    /* Who could write there could make the agent say and do anything. */
    if (status.st_uid != geteuid() || (status.st_mode & 022)) {
        err_set(&agent->why, ERR_REFUSED,
                "the state directory '%s' can be written by others than uid %d", path,
                (int)geteuid());
        return AGENT_EXIT_INTERNAL;
    }
    return AGENT_EXIT_DONE;
}

static enum agent_exit open_conversation(struct agent *agent)
{
    agent->conversation =
        conversation_open(agent->task.provider, agent->state_fd, agent->task.task, &agent->why);
    if (!agent->conversation)
        return agent->why.code == ERR_PROTOCOL ? AGENT_EXIT_BAD_INPUT
               : agent->why.code == ERR_LIMIT  ? AGENT_EXIT_CONTEXT_FULL
                                               : AGENT_EXIT_INTERNAL;
    agent->events = events_new(agent->events_fd, conversation_session(agent->conversation));
    events_thread_started(agent->events, agent->task.task);
    return AGENT_EXIT_DONE;
}

/* What `setup` has left of the repository's .codex/environment.conf; NULL: it narrows nothing. */
static json_t *read_narrowing(const struct agent *agent)
{
    AUTO_FD int fd = openat(agent->state_fd, SANDBOX_INTERNET_FILE,
                            O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    AUTO_BUF struct buf text;
    buf_init(&text, NARROWING_MAX_BYTES);
    return fd >= 0 && io_read_all(fd, &text, NULL) == 0 ? json_loadb(text.data, text.len, 0, NULL)
                                                        : NULL;
}

/* Before the first prompt: AGENTS.md, where we are, and what is asked. */
static int begin_conversation(struct agent *agent, struct err *err)
{
    AUTO_BUF struct buf agents_md;
    AUTO_BUF struct buf environment;
    buf_init(&agents_md, CONTEXT_AGENTS_MD_MAX_BYTES + 16384);
    buf_init(&environment, 65536);
    int status = context_agents_md(&agent->host, &agents_md, err);
    if (status < 0)
        return status;
    json_t *narrowing = read_narrowing(agent);
    context_environment(&agent->host, &agent->task, narrowing, &environment);
    json_decref(narrowing);
    struct message messages[3];
    size_t count = 0;
    if (agents_md.len)
        messages[count++] = (struct message){agents_md.data, agents_md.len};
    messages[count++] = (struct message){environment.data, environment.len};
    messages[count++] = (struct message){agent->task.prompt, strlen(agent->task.prompt)};
    return conversation_add_user(agent->conversation, messages, count, err);
}

/* What is said to the model at this start: the prompt, the feedback, or only that it was
 * interrupted. */
static enum agent_exit prepare_conversation(struct agent *agent)
{
    struct conversation *conversation = agent->conversation;
    AUTO_BUF struct buf feedback;
    buf_init(&feedback, 2 * FEEDBACK_MAX_BYTES);
    if (agent->feedback_fd >= 0 && feedback_read(agent->feedback_fd, &feedback, &agent->why) < 0)
        return AGENT_EXIT_BAD_INPUT;
    if (conversation_calls(conversation))
        events_error(agent->events,
                     "the agent was interrupted while calls were open: it goes on, and "
                     "does not run them again");
    int status = conversation_interrupt_calls(conversation, &agent->why);
    if (status == 0 && conversation_is_empty(conversation))
        status = begin_conversation(agent, &agent->why);
    if (status == 0 && feedback.len)
        status = conversation_begin_round(
            conversation, (struct message){feedback.data, feedback.len}, &agent->why);
    return status == 0           ? AGENT_EXIT_DONE
           : status == ERR_LIMIT ? AGENT_EXIT_CONTEXT_FULL
                                 : AGENT_EXIT_INTERNAL;
}

static enum agent_exit open_tools(struct agent *agent)
{
    static int (*const openers[])(const struct tool_host *, struct tool_group *, struct err *) = {
        exec_tools_open, patch_tools_open, view_tools_open, plan_tools_open};
    int status = 0;
    for (size_t i = 0; i < sizeof openers / sizeof openers[0] && status == 0; i++) {
        status = openers[i](&agent->host, &agent->groups[agent->groups_count], &agent->why);
        agent->groups_count += status == 0;
    }
    if (status == 0) {
        status = submit_tools_open(&agent->host, agent->state_fd,
                                   &agent->groups[agent->groups_count], &agent->why);
        agent->groups_count += status == 0;
    }
    return status < 0 ? AGENT_EXIT_INTERNAL : AGENT_EXIT_DONE;
}

static enum agent_exit open_model(struct agent *agent)
{
    const struct model_options options = {
        .loop = agent->loop,
        .events = agent->events,
        .provider = agent->task.provider,
        .settings = {.model = agent->task.model,
                     .effort = agent->task.effort,
                     .cache_key = agent->task.task,
                     .instructions = agent_instructions,
                     .groups = agent->groups,
                     .groups_count = agent->groups_count},
        .base_url = agent->task.base_url,
        .key = agent->task.api_key,
        .limits = agent->task.retry,
        .heard = conversation_session(agent->conversation) > 0,
    };
    agent->model = model_new(&options, &agent->why);
    return agent->model ? AGENT_EXIT_DONE : AGENT_EXIT_BAD_INPUT;
}

static enum agent_exit work(struct agent *agent)
{
    struct stat place;
    if (stat(agent->task.workdir, &place) < 0 || !S_ISDIR(place.st_mode)) {
        err_set(&agent->why, ERR_USAGE, "task.json: the workdir '%s' is not a directory",
                agent->task.workdir);
        return AGENT_EXIT_BAD_INPUT;
    }
    bool drop = geteuid() == 0 && !agent->as_root;
    agent->host = (struct tool_host){
        .loop = agent->loop,
        .events = agent->events,
        .workdir = agent->task.workdir,
        .drop = drop,
        .uid = drop ? SANDBOX_UID : geteuid(),
        .gid = drop ? SANDBOX_GID : getegid(),
        .session = conversation_session(agent->conversation),
    };
    enum agent_exit status = prepare_conversation(agent);
    if (status != AGENT_EXIT_DONE || conversation_has_ended(agent->conversation))
        return status;
    status = open_tools(agent);
    if (status == AGENT_EXIT_DONE)
        status = open_model(agent);
    if (status != AGENT_EXIT_DONE)
        return status;
    const struct turn_parts parts = {agent->loop,  agent->events, agent->conversation,
                                     agent->model, agent->groups, agent->groups_count};
    return turn_run(&parts, &agent->why);
}

/* The machine's own pid namespace has this inode number (PROC_PID_INIT_INO, linux/proc_ns.h). */
static bool sees_the_whole_machine(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) < 0 || status.st_ino == 0xeffffffc;
}

static enum agent_exit run(struct agent *agent, const char *state_dir)
{
    /* With the turn everything of the commands' user ends, whatever has left its session: within a
     * sandbox that is the task's own, elsewhere it would be somebody's desktop. */
    if (geteuid() == 0 && sees_the_whole_machine()) {
        err_set(&agent->why, ERR_REFUSED,
                "as root it runs only in a sandbox, with processes of its own");
        return AGENT_EXIT_BAD_INPUT;
    }
    if (agent_task_read(&agent->task, FD_TASK, &agent->why) < 0)
        return AGENT_EXIT_BAD_INPUT;
    agent->loop = loop_new(&agent->why);
    if (!agent->loop)
        return AGENT_EXIT_INTERNAL;
    enum agent_exit status = open_state_dir(agent, state_dir);
    if (status == AGENT_EXIT_DONE)
        status = open_conversation(agent);
    return status == AGENT_EXIT_DONE ? work(agent) : status;
}

static void report(struct agent *agent)
{
    if (!agent->events)
        agent->events = events_new(agent->events_fd, 0);
    events_turn_failed(agent->events, agent->why.message);
    fprintf(stderr, "codex-agent: %s\n", agent->why.message);
}

static void release(struct agent *agent)
{
    for (size_t i = 0; i < agent->groups_count; i++)
        if (agent->groups[i].free)
            agent->groups[i].free(agent->groups[i].state);
    model_free(agent->model);
    conversation_free(agent->conversation);
    events_free(agent->events);
    loop_free(agent->loop);
    agent_task_release(&agent->task);
    if (agent->state_fd >= 0)
        close(agent->state_fd);
}

int agent_run_main(int argc, char **argv)
{
    bool with_state = argc == 3 && !strcmp(argv[1], "--state");
    bool as_root = argc == 2 && !strcmp(argv[1], "--as-root");
    /* Commands of our own user shall not look into us. */
    if ((argc != 1 && !with_state && !as_root) || (as_root && prctl(PR_SET_DUMPABLE, 0) < 0)) {
        fprintf(stderr, "usage: codex-agent run [--as-root | --state DIR] <task.json\n");
        return 2;
    }
    /* Blocked until the loop reads it: a SIGTERM that comes before is not lost. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);

    inherited(FD_TASK);
    struct agent agent = {.as_root = as_root,
                          .state_fd = -1,
                          .events_fd = inherited(FD_EVENTS),
                          .feedback_fd = inherited(FD_FEEDBACK)};
    enum agent_exit status = run(&agent, with_state ? argv[2] : SANDBOX_STATE_DIR);
    if (status != AGENT_EXIT_DONE)
        report(&agent);
    release(&agent);
    return status;
}
