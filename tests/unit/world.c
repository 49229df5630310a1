#include "world.h"

#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "orchestrator/spawner.h"

static void on_gone(void *arg, const struct err *err)
{
    fail_msg("%s", err->message);
}

/* --- set-up --- */

static void start(struct world *world)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    io_set_nonblocking(ends[1], true);
    world->spawner_end = ends[1];
    world->source = loop_add_fd(world->loop, ends[1], EPOLLIN, world_on_request, world, NULL);
    world->spawner = spawner_new(world->loop, ends[0], on_gone, world, NULL);
    struct orchestrator_options options = {.loop = world->loop,
                                           .store = world->fixture->store,
                                           .config = &world->config,
                                           .secrets = &world->secrets,
                                           .spawner = world->spawner,
                                           .state_dir = world->state_dir};
    world->orchestrator = orchestrator_new(&options, NULL);
    ok(orchestrator_start(world->orchestrator, &why));
}

static void stop(struct world *world)
{
    orchestrator_free(world->orchestrator);
    spawner_free(world->spawner);
    loop_remove(world->source);
    close(world->spawner_end);
}

void world_restart(struct world *world)
{
    stop(world);
    start(world);
}

int world_setup(void **state)
{
    static const char text[] = "[server]\nmax_running = 2\n[model]\nname = m\nprovider = p\n"
                               "[provider \"p\"]\nbase_url = http://h/v1\nenv_key = WORLD_KEY\n"
                               "[sandbox]\nruntime = /bin/true\n";
    struct world *world = calloc(1, sizeof *world);
    void *fixture;
    if (fixture_setup(&fixture) < 0)
        return -1;
    world->fixture = fixture;
    strcpy(world->state_dir, world->fixture->dir);
    static const char *const dirs[] = {"server",         "server/tasks",   "server/bundles",
                                       "server/mirrors", "server/uploads", "runs"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        AUTO_FREE char *path = str_format("%s/%s", world->state_dir, dirs[i]);
        mkdir(path, 0700);
    }
    setenv("WORLD_KEY", "sk-secret", 1);
    config_init(&world->config);
    world->loop = loop_new(NULL);
    if (config_parse(&world->config, "c", text, strlen(text), &why) < 0 ||
        secrets_load(&world->secrets, &world->config, &why) < 0)
        return -1;
    start(world);
    *state = world;
    return 0;
}

int world_teardown(void **state)
{
    struct world *world = *state;
    stop(world);
    for (int i = 0; i < world->runs_count; i++)
        for (int f = 0; f < SPAWN_FD_COUNT; f++)
            if (!world->runs[i].over && world->runs[i].fds[f] >= 0)
                close(world->runs[i].fds[f]);
    loop_free(world->loop);
    task_release(&world->submitted);
    secrets_release(&world->secrets);
    config_release(&world->config);
    void *fixture = world->fixture;
    free(world);
    return fixture_teardown(&fixture);
}

/* Whether what ARG says is so. */
typedef bool condition_fn(struct world *world, const void *arg);

static void wait_until(struct world *world, condition_fn *holds, const void *arg, const char *what)
{
    int64_t deadline = clock_mono_ms() + 10000;
    while (!holds(world, arg)) {
        if (clock_mono_ms() > deadline)
            fail_msg("not within ten seconds: %s", what);
        loop_run_once(world->loop, 20, NULL);
    }
}

static bool are_handed_over(struct world *world, const void *arg)
{
    return world->runs_count >= *(const int *)arg;
}

struct world_run *world_wait_run(struct world *world, int count)
{
    wait_until(world, are_handed_over, &count, "a run is handed over");
    return &world->runs[count - 1];
}

static bool has_ended(struct world *world, const void *arg)
{
    struct task task = world_task(world, *(const int64_t *)arg);
    bool ended = task_state_ended(task.state);
    task_release(&task);
    return ended;
}

struct task world_wait_end(struct world *world, int64_t number)
{
    wait_until(world, has_ended, &number, "the task has ended");
    world_settle(world);
    return world_task(world, number);
}

struct calls {
    const struct world_git *git;
    int calls;
};

static bool was_called(struct world *world, const void *arg)
{
    const struct calls *calls = arg;
    return calls->git->calls >= calls->calls;
}

void world_wait_calls(struct world *world, const struct world_git *git, int calls)
{
    wait_until(world, was_called, &(struct calls){git, calls}, "codex-git is called");
}

static bool are_cancelled(struct world *world, const void *arg)
{
    return world->cancelled_count >= *(const int *)arg;
}

void world_wait_cancels(struct world *world, int count)
{
    wait_until(world, are_cancelled, &count, "a run is cancelled");
}

void world_settle(struct world *world)
{
    int64_t deadline = clock_mono_ms() + 150;
    while (clock_mono_ms() < deadline)
        loop_run_once(world->loop, 10, NULL);
}

/* --- tasks --- */

static void on_submitted(void *arg, const struct task *task, const struct err *err)
{
    struct world *world = arg;
    world->submit_done = true;
    world->submitted.number = task ? task->number : 0;
    world->submit_err = *err;
}

static bool is_answered(struct world *world, const void *arg)
{
    return world->submit_done;
}

int64_t world_submit_as(struct world *world, const struct submission *submission)
{
    world->submit_done = false;
    world->submitted.number = 0;
    world->submit_err = (struct err){0};
    if (!orchestrator_submit(world->orchestrator, submission, on_submitted, world,
                             &world->submit_err))
        return 0;
    wait_until(world, is_answered, NULL, "the submission is answered");
    return world->submitted.number;
}

int64_t world_submit(struct world *world, const char *prompt)
{
    struct submission submission = {.uid = 1000, .prompt = prompt, .repo = "/repo"};
    return world_submit_as(world, &submission);
}

struct task world_task(struct world *world, int64_t number)
{
    struct task task;
    ok(store_task_load(world->fixture->store, number, &task, &why));
    return task;
}

bool world_task_is(struct world *world, int64_t number, enum task_state state)
{
    struct task task = world_task(world, number);
    bool is = task.state == state;
    task_release(&task);
    return is;
}

struct states {
    int64_t seq;
    char text[1024];
};

static int see_state(void *arg, int64_t seq, const char *type, const char *json)
{
    struct states *states = arg;
    assert_int_equal(seq, ++states->seq);
    if (strcmp(type, "task.state"))
        return 0;
    const char *at = strstr(json, "\"state\":\"") + strlen("\"state\":\"");
    sprintf(states->text + strlen(states->text), "%s%.*s", states->text[0] ? " " : "",
            (int)strcspn(at, "\""), at);
    return 0;
}

const char *world_states(struct world *world, int64_t number)
{
    static struct states states;
    states = (struct states){0};
    ok(store_event_list(world->fixture->store, number, 0, INT64_MAX, see_state, &states, &why));
    return states.text;
}

/* --- runs --- */

void run_says(struct world_run *run, const char *format, ...)
{
    char line[4096];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[n] = '\n';
    assert_int_equal(write(run->fds[SPAWN_FD_EVENTS], line, (size_t)n + 1), n + 1);
}

void run_works(struct world_run *run)
{
    bool known = run->request.flags & SPAWN_RUN_BASELINE_KNOWN;
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"preparing\",\"round\":1}");
    run_says(run,
             "{\"type\":\"phase.completed\",\"phase\":\"preparing\",\"round\":1,\"status\":0}");
    if (!known) {
        run_says(run, "{\"type\":\"phase.started\",\"phase\":\"baseline\",\"round\":1}");
        run_says(run,
                 "{\"type\":\"phase.completed\",\"phase\":\"baseline\",\"round\":1,\"status\":0,"
                 "\"result\":{\"command\":\"make check\",\"exit_code\":0}}");
    }
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"working\",\"round\":1}");
    run_says(run, "{\"type\":\"model.usage\",\"phase\":\"working\",\"usage\":{\"input_tokens\":10,"
                  "\"cached_input_tokens\":4,\"output_tokens\":5,\"reasoning_output_tokens\":2}}");
    run_says(run,
             "{\"type\":\"phase.completed\",\"phase\":\"working\",\"round\":1,\"status\":0,"
             "\"result\":{\"commit\":\"" WORK_COMMIT "\",\"changed\":true,\"title\":\"Add it\","
             "\"body\":\"Because.\",\"branch\":\"feat/add-it\"}}");
    assert_int_equal(write(run->fds[SPAWN_FD_WORK_BUNDLE], "work", 4), 4);
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"verifying\",\"round\":1}");
    run_says(run, "{\"type\":\"phase.completed\",\"phase\":\"verifying\",\"round\":1,\"status\":0,"
                  "\"result\":{\"command\":\"make check\",\"exit_code\":0}}");
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"finishing\",\"round\":1}");
}

void run_ends(struct world *world, struct world_run *run, const char *outcome, bool changed)
{
    run_says(run,
             "{\"type\":\"run.ended\",\"outcome\":\"%s\",\"fault\":%s,\"changed\":%s,"
             "\"archive\":{\"size_bytes\":5,\"sha256\":"
             "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}}",
             outcome,
             strcmp(outcome, "failed")
                 ? "null"
                 : "{\"kind\":\"limit\",\"step\":\"working\",\"message\":\"too "
                   "late\"}",
             changed ? "true" : "false");
    run_dies(world, run, 0);
}

void run_dies(struct world *world, struct world_run *run, int wait_status)
{
    for (int f = 0; f < SPAWN_FD_COUNT; f++)
        if (run->fds[f] >= 0)
            close(run->fds[f]);
    run->over = true;
    world_report(world, SPAWN_RUN_ENDED,
                 &(struct spawn_report){.name = run->request.name, .wait_status = wait_status});
}

char *fd_text(int fd)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ok(io_read_file(name, &text, &why));
    return buf_steal(&text, NULL);
}

bool world_has_file(struct world *world, const char *task_id, const char *name)
{
    AUTO_FREE char *path = orchestrator_task_file(world->orchestrator, task_id, name);
    return access(path, F_OK) == 0;
}
