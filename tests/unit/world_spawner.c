/* The spawner that a test plays, and its codex-git. */
#include "world.h"

#include <sys/socket.h>
#include <unistd.h>

void world_report(struct world *world, enum spawn_type type, const struct spawn_report *what)
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
                               : !strcmp(verb, "moved")  ? &world->moved
                               : !strcmp(verb, "merge")  ? &world->merge
                                                         : &world->merged;
    answer->calls++;
    answer->last_as = git->as;
    answer->last_uid = git->uid;
    answer->last_id = git->id;
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
    else if (exit_status == 0 && answer->output)
        put(fd_of(git, fds, 1), answer->output);
    if (exit_status > 0)
        put(fd_of(git, fds, 2), "codex-git: it would not\nsecond line\n");
    world_report(world, SPAWN_GIT_ENDED,
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
    world_report(world, world->refuse_runs ? SPAWN_FAILED : SPAWN_RUN_STARTED, &what);
}

void world_on_request(void *arg, uint32_t events)
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
            world_report(world, SPAWN_FAILED, &nobody);
    }
    while (count)
        close(fds[--count]);
}
