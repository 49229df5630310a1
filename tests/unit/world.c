#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "orchestrator/spawner.h"

static void report(struct world *world, enum spawn_type type, const struct spawn_report *what)
{
    struct spawn_message message = {.magic = SPAWN_MAGIC, .type = type, .body.report = *what};
    assert_int_equal(send(world->spawner_end, &message, sizeof message, MSG_NOSIGNAL),
                     sizeof message);
}

/* --- codex-git --- */

static int fd_of(const struct spawn_git *git, const int *fds, int number)
{
    for (size_t i = 0; i < git->fds_count; i++)
        if (git->fd_numbers[i] == number)
            return fds[i];
    fail_msg("codex-git got no descriptor %d", number);
    return -1;
}

static void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static const char *argument(const struct spawn_git *git, const char *name)
{
    const char *at = git->args;
    for (uint32_t i = 0; i < git->argc; i++, at += strlen(at) + 1)
        if (!strcmp(at, name))
            return at + strlen(at) + 1;
    return NULL;
}

static bool has_branch(struct world *world, const char *name)
{
    for (int i = 0; i < world->branches_count; i++)
        if (!strcmp(world->branches[i], name))
            return true;
    return false;
}

static int do_push(struct world *world, const struct spawn_git *git)
{
    const char *branch = argument(git, "--branch");
    if (has_branch(world, branch))
        return 4;
    strcpy(world->branches[world->branches_count++], branch);
    return 0;
}

static void do_resolve(const struct spawn_git *git, const int *fds, struct world *world)
{
    char text[512];
    const char *branch = argument(git, "--branch");
    snprintf(text, sizeof text, "path /repo\nbase main\ncommit " BASE_COMMIT "\nbranch_exists %s\n",
             branch && has_branch(world, branch) ? "yes" : "no");
    put(fd_of(git, fds, 1), text);
}

static void do_git(struct world *world, const struct spawn_git *git, const int *fds)
{
    const char *verb = git->args;
    struct world_git *answer = !strcmp(verb, "resolve")  ? &world->resolve
                               : !strcmp(verb, "fetch")  ? &world->fetch
                               : !strcmp(verb, "import") ? &world->import
                               : !strcmp(verb, "push")   ? &world->push
                                                         : &world->merged;
    answer->calls++;
    answer->last_as = git->as;
    answer->last_uid = git->uid;
    const char *at = git->args;
    answer->last_args[0] = '\0';
    for (uint32_t i = 0; i < git->argc; i++, at += strlen(at) + 1) {
        size_t len = strlen(answer->last_args);
        snprintf(answer->last_args + len, sizeof answer->last_args - len, "%s%s", i ? " " : "", at);
    }
    if (answer->silent)
        return;
    int exit_status = answer->exit_status;
    if (exit_status == 0 && answer == &world->resolve)
        do_resolve(git, fds, world);
    else if (exit_status == 0 && answer == &world->fetch)
        put(fd_of(git, fds, 1), "base bundle");
    else if (exit_status == 0 && answer == &world->import) {
        put(fd_of(git, fds, 5), "clean bundle");
        put(fd_of(git, fds, 6), "+the diff\n");
    } else if (exit_status == 0 && answer == &world->push)
        exit_status = do_push(world, git);
    if (exit_status > 0)
        put(fd_of(git, fds, 2), "codex-git: it would not\nsecond line\n");
    report(world, SPAWN_GIT_ENDED,
           &(struct spawn_report){.id = git->id,
                                  .wait_status = exit_status < 0 ? 9 : exit_status << 8});
}

/* --- the spawner --- */

static void take_run(struct world *world, const struct spawn_run *request, const int *fds,
                     size_t count)
{
    assert_true(world->runs_count < WORLD_MAX);
    struct world_run *run = &world->runs[world->runs_count++];
    *run = (struct world_run){.request = *request};
    for (size_t i = 0; i < SPAWN_FD_COUNT; i++)
        run->fds[i] = i < count ? fds[i] : -1;
    struct spawn_report what = {.name = request->name, .pid = getpid()};
    if (world->refuse_runs)
        strcpy(what.message, "no sandbox today");
    report(world, world->refuse_runs ? SPAWN_FAILED : SPAWN_RUN_STARTED, &what);
}

static void on_request(void *arg, uint32_t events)
{
    struct world *world = arg;
    struct spawn_message message;
    int fds[IO_MAX_FDS];
    size_t count;
    struct err err;
    ssize_t len = io_recv_fds(world->spawner_end, &message, sizeof message, fds, &count, &err);
    if (len <= 0)
        return;
    assert_int_equal(len, sizeof message);
    assert_int_equal(message.magic, SPAWN_MAGIC);
    if (message.type == SPAWN_RUN) {
        take_run(world, &message.body.run, fds, count);
        return; /* keeps its descriptors */
    }
    if (message.type == SPAWN_GIT)
        do_git(world, &message.body.git, fds);
    else if (message.type == SPAWN_CANCEL) {
        world->cancelled[world->cancelled_count++ % WORLD_MAX] = message.body.cancel.name;
        struct spawn_report nobody = {.name = message.body.cancel.name};
        if (world->cancels_fail)
            report(world, SPAWN_FAILED, &nobody);
    }
    while (count)
        close(fds[--count]);
}

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
    world->source = loop_add_fd(world->loop, ends[1], EPOLLIN, on_request, world, NULL);
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
    static const char *const dirs[] = {"server", "server/tasks", "server/bundles", "runs"};
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

void world_until(struct world *world, world_condition *condition, const char *what)
{
    int64_t deadline = clock_mono_ms() + 10000;
    while (!condition(world)) {
        if (clock_mono_ms() > deadline)
            fail_msg("not within ten seconds: %s", what);
        loop_run_once(world->loop, 20, NULL);
    }
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

static bool submitted(struct world *world)
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
    until(world, submitted);
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

struct world_run *world_run_of(struct world *world, const char *task_id)
{
    for (int i = world->runs_count; i-- > 0;)
        if (!strcmp(world->runs[i].request.name.task, task_id))
            return &world->runs[i];
    return NULL;
}

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
    report(world, SPAWN_RUN_ENDED,
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
