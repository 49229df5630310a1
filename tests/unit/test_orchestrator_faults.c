/* What goes wrong while tasks are under way: dead runs, restarts, git that fails. */
#include "world.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json_text.h"

static void a_dead_run_is_replaced(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"preparing\",\"round\":1}");
    int old_events = dup(run->fds[SPAWN_FD_EVENTS]);
    run_dies(world, run, 9);
    struct world_run *second = world_wait_run(world, 2);
    assert_int_equal(second->request.name.run, 2);
    /* What the dead one still writes changes nothing. */
    static const char late[] = "{\"type\":\"run.ended\",\"outcome\":\"failed\"}\n";
    assert_int_equal(write(old_events, late, sizeof late - 1), sizeof late - 1);
    close(old_events);
    run_works(second);
    run_ends(world, second, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    assert_int_equal(task.run, 2);
    task_release(&task);
}

static void three_dead_runs_in_a_row_are_enough(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    for (int i = 1; i <= 2; i++)
        run_dies(world, world_wait_run(world, i), 9);
    /* Progress counts: the next ones are the first again. */
    struct world_run *run = world_wait_run(world, 3);
    run_works(run);
    run_dies(world, run, 9);
    world->refuse_runs = true;
    struct task task = world_wait_end(world, number);
    assert_int_equal(world->runs_count, 7); /* the last one was to save what there is */
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_PLATFORM);
    assert_string_equal(task.fault.message,
                        "its run ended early three times in a row (no sandbox today): see codexd's "
                        "log, then submit the task again");
    assert_true(world_has_file(world, task.id, "diff.patch")); /* of the third run */
    task_release(&task);
}

static void let_go_of_lock(int signal)
{
}

/* Lock the run's lock file in a process of its own, as its runner would. SIGUSR1 makes it give the
 * lock back. */
static pid_t hold_lock(struct world *world, const char *task_id)
{
    AUTO_FREE char *dir = str_format("%s/runs/%s-1", world->state_dir, task_id);
    AUTO_FREE char *path = str_format("%s/lock", dir);
    mkdir(dir, 0755);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR | O_CREAT, 0644);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_SETLK, &lock) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        signal(SIGUSR1, let_go_of_lock);
        for (;;) {
            pause();
            lock.l_type = F_UNLCK;
            fcntl(fd, F_SETLK, &lock);
        }
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void runners_are_found_again(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    pid_t runner = hold_lock(world, run->request.name.task);
    world_restart(world);
    world_settle(world);
    run_works(run);
    world_settle(world);
    assert_true(world_task_is(world, number, TASK_VERIFYING));
    world_restart(world);
    world_settle(world);
    assert_int_equal(world->runs_count, 1);
    /* It dies without a word while a codexd that did not start it watches. */
    kill(runner, SIGKILL);
    waitpid(runner, NULL, 0);
    run = world_wait_run(world, 2);
    assert_int_equal(run->request.name.run, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    task_release(&task);
}

/* As a spawner does that cleans up what a dead runner left. */
static void a_lock_that_is_given_back_by_a_living_process(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"preparing\",\"round\":1}");
    pid_t spawner = hold_lock(world, run->request.name.task);
    world_restart(world);
    world_settle(world);
    kill(spawner, SIGUSR1);
    run = world_wait_run(world, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    task_release(&task);
    kill(spawner, SIGKILL);
    waitpid(spawner, NULL, 0);
}

static void a_run_that_ended_while_codexd_was_away(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_says(run, "{\"type\":\"run.ended\",\"outcome\":\"done\",\"fault\":null,\"changed\":true}");
    world_restart(world); /* perhaps before any of it was read */
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    assert_int_equal(task.run, 1);
    task_release(&task);
}

static void a_run_that_never_began_is_no_crash(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    for (int i = 1; i <= 5; i++) {
        world_wait_run(world, i);
        world_restart(world);
    }
    struct world_run *run = world_wait_run(world, 6);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    task_release(&task);
}

static void an_old_runner_has_to_go_first(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"preparing\",\"round\":1}");
    pid_t runner = hold_lock(world, run->request.name.task);
    world->cancels_fail = true;
    run_dies(world, run, 9); /* says the spawner, but somebody has the lock */
    world_wait_cancels(world, 1);
    assert_int_equal(world->runs_count, 1);
    kill(runner, SIGKILL);
    waitpid(runner, NULL, 0);
    run = world_wait_run(world, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    task_release(&task);
}

/* Cancelled work is kept, and nothing else would remove its workspace: also when its runner has died
 * before it could do either. */
static void a_cancelled_run_that_dies_is_saved_by_another(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_says(run, "{\"type\":\"phase.completed\",\"phase\":\"preparing\",\"round\":1,\"status\":0,"
                  "\"duration_ms\":1,\"result\":{}}");
    world_settle(world);
    struct task task = world_task(world, number);
    assert_true(task.prepared);
    assert_int_equal(orchestrator_cancel(world->orchestrator, &task, &why), 0);
    task_release(&task);
    world_wait_cancels(world, 1);
    run_dies(world, run, 9);
    run = world_wait_run(world, 2);
    assert_true(run->request.flags & SPAWN_RUN_SALVAGE);
    run_ends(world, run, "cancelled", false);
    task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_CANCELLED);
    task_release(&task);
}

static void delivery_goes_on_after_a_restart(void **state)
{
    struct world *world = *state;
    world->import.silent = true;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", true);
    world_wait_calls(world, &world->import, 1);
    world->import.silent = false;
    world->push.silent = true;
    world_restart(world);
    world_wait_calls(world, &world->push, 1);
    world->push.silent = false;
    world_restart(world);
    struct task task = world_wait_end(world, number);
    assert_string_equal(task.branch, "feat/add-it");
    assert_int_equal(world->branches_count, 1);
    assert_string_equal(world_states(world, number),
                        "queued preparing baseline working verifying delivering completed");
    task_release(&task);
}

static void remove_file(struct world *world, const char *task_id, const char *name)
{
    AUTO_FREE char *path = orchestrator_task_file(world->orchestrator, task_id, name);
    assert_int_equal(unlink(path), 0);
}

static void files_that_are_lost_are_made_again_or_told(void **state)
{
    struct world *world = *state;
    world->push.silent = true;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", true);
    world_wait_calls(world, &world->push, 1);
    remove_file(world, run->request.name.task, "push.bundle");
    world->push.silent = false;
    world_restart(world);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    assert_int_equal(world->import.calls, 2);
    task_release(&task);

    world->import.silent = true;
    number = world_submit(world, "y");
    run = world_wait_run(world, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    world_wait_calls(world, &world->import, 3);
    remove_file(world, run->request.name.task, "work-1.bundle");
    world_restart(world);
    task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_PLATFORM);
    assert_non_null(strstr(task.fault.message, "work-1.bundle'"));
    task_release(&task);
}

static void steps_of_git_are_tried_again_and_then_told(void **state)
{
    struct world *world = *state;
    world->push.exit_status = 1;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_USER);
    assert_non_null(strstr(task.fault.message, "cannot be pushed (it would not)"));
    assert_null(task.branch);
    assert_int_equal(world->push.calls, 1);
    task_release(&task);

    world->push.exit_status = 0;
    world->import.exit_status = -1; /* killed */
    number = world_submit(world, "y");
    run = world_wait_run(world, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(world->import.calls, 1 + 3);
    task_release(&task);
}

static void a_base_that_is_gone_fails_the_task(void **state)
{
    struct world *world = *state;
    world->fetch.exit_status = 3;
    struct task task = world_wait_end(world, world_submit(world, "x"));
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_USER);
    assert_string_equal(task.fault.step, "preparing");
    assert_non_null(strstr(task.fault.message, "it would not"));
    assert_string_equal(world_states(world, task.number), "queued preparing failed");
    task_release(&task);
}

static void however_long_a_fault_is_the_task_ends(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    size_t len = 60000;
    AUTO_FREE char *flood = calloc(1, len + 1);
    memset(flood, 1, len); /* six bytes each in JSON */
    struct buf line;
    buf_init(&line, 1 << 20);
    buf_append_str(&line,
                   "{\"type\":\"run.ended\",\"outcome\":\"failed\",\"fault\":{\"kind\":\"agent\","
                   "\"message\":");
    json_text_string(&line, flood, len);
    buf_append_str(&line, "}}\n");
    assert_int_equal(write(run->fds[SPAWN_FD_EVENTS], line.data, line.len), line.len);
    buf_release(&line);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_AGENT);
    assert_int_equal(strlen(task.fault.message), 1000);
    task_release(&task);
}

int main(void)
{
#define in_world(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        in_world(a_dead_run_is_replaced),
        in_world(three_dead_runs_in_a_row_are_enough),
        in_world(runners_are_found_again),
        in_world(a_lock_that_is_given_back_by_a_living_process),
        in_world(a_run_that_ended_while_codexd_was_away),
        in_world(a_run_that_never_began_is_no_crash),
        in_world(a_cancelled_run_that_dies_is_saved_by_another),
        in_world(an_old_runner_has_to_go_first),
        in_world(delivery_goes_on_after_a_restart),
        in_world(files_that_are_lost_are_made_again_or_told),
        in_world(steps_of_git_are_tried_again_and_then_told),
        in_world(a_base_that_is_gone_fails_the_task),
        in_world(however_long_a_fault_is_the_task_ends),
    };
    return cmocka_run_group_tests_name("orchestrator_faults", tests, NULL, NULL);
}
