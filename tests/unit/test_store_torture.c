/*
 * A process that works with the store is killed at random points, again and again, on one and the
 * same store. After each kill: no acknowledged task is lost, every task's seq is 1 … n, exactly the
 * lines before the committed offset of an event file are events, each once and in order, and the
 * outbox agrees with the states.
 */
#include "store_fixture.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 60, LINES_PER_BATCH = 7 };

/* --- the process that gets killed --- */

static void must(int status)
{
    if (status < 0)
        _exit(3);
}

static FILE *event_file(const struct fixture *f, int64_t task, const char *mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/events-%lld", f->dir, (long long)task);
    return fopen(path, mode);
}

/* As a gateway would. */
static void write_lines(const struct fixture *f, int64_t task)
{
    FILE *file = event_file(f, task, "a");
    for (int i = 0; i < LINES_PER_BATCH; i++)
        fprintf(file, "line %d of %lld\n", rand() % 1000, (long long)task);
    fclose(file);
}

/* Commit what the file has beyond the offset, offset and events together. */
static void follow(struct store *store, const struct fixture *f, int64_t task)
{
    struct store_run run;
    must(store_run_get(store, task, &run, NULL));
    FILE *file = event_file(f, task, "r");
    char line[128];
    fseek(file, run.events_offset, SEEK_SET);
    must(store_begin(store, STORE_LATER, NULL));
    while (fgets(line, sizeof line, file)) {
        char members[256];
        line[strcspn(line, "\n")] = '\0';
        snprintf(members, sizeof members, ",\"line\":\"%s\"", line);
        struct store_event event = {
            .number = task, .run = run.run, .type = "line", .members = members};
        must(store_event_add(store, &event, NULL));
    }
    must(store_run_set_offset(store, task, run.run, ftell(file), true, NULL));
    must(store_commit(store, NULL));
    fclose(file);
}

static int64_t submit(struct store *store, int acknowledge)
{
    char id[TASK_ID_SIZE];
    must(store_begin(store, STORE_NOW, NULL));
    int64_t task = add_task(store, rand() % 3, id);
    must(store_commit(store, NULL));
    if (write(acknowledge, &task, sizeof task) != sizeof task)
        _exit(4);
    return task;
}

static void move(struct store *store, int64_t task, enum task_state to)
{
    struct task_move move = {.number = task, .fence = 1, .to = to};
    must(task_set_state(store, &move, NULL));
}

static _Noreturn void work(const struct fixture *f, int acknowledge)
{
    srand((unsigned)getpid());
    struct store *store = store_open(f->path, NULL);
    if (!store)
        _exit(2);
    for (;;) {
        int64_t task = submit(store, acknowledge);
        must(store_begin(store, STORE_NOW, NULL));
        must(store_run_add(store, task, NULL) == 1 ? 0 : -1);
        move(store, task, TASK_PREPARING);
        must(store_commit(store, NULL));
        for (int i = 0; i < 3; i++) {
            write_lines(f, task);
            follow(store, f, task);
        }
        must(store_begin(store, STORE_NOW, NULL));
        struct outbox row = {.step = OUTBOX_IMPORT, .end_state = TASK_COMPLETED};
        move(store, task, TASK_DELIVERING);
        must(store_outbox_set(store, task, &row, NULL));
        must(store_commit(store, NULL));
        must(store_begin(store, STORE_NOW, NULL));
        move(store, task, TASK_COMPLETED);
        must(store_commit(store, NULL));
    }
}

/* --- what must hold afterwards --- */

struct check {
    FILE *file;
    int64_t seq;
};

static int check_event(void *arg, int64_t seq, const char *type, const char *json)
{
    struct check *check = arg;
    assert_int_equal(seq, ++check->seq);
    if (strcmp(type, "line"))
        return 0;
    char line[128], expected[160];
    assert_non_null(fgets(line, sizeof line, check->file));
    line[strcspn(line, "\n")] = '\0';
    snprintf(expected, sizeof expected, ",\"line\":\"%s\"}", line);
    assert_true(str_ends_with(json, expected));
    return 0;
}

static void check_task(struct fixture *f, int64_t number)
{
    struct task task;
    ok(store_task_load(f->store, number, &task, &why));
    struct check check = {.file = event_file(f, number, "r")};
    ok(store_event_list(f->store, number, 0, INT64_MAX, check_event, &check, &why));
    assert_int_equal(check.seq, task.last_seq);
    if (task.run) {
        struct store_run run;
        ok(store_run_get(f->store, number, &run, &why));
        assert_int_equal(check.file ? ftell(check.file) : 0, run.events_offset);
    }
    struct outbox row;
    bool exists;
    ok(store_outbox_get(f->store, number, &row, &exists, &why));
    assert_int_equal(exists, task.state == TASK_DELIVERING);
    outbox_release(&row);
    if (check.file)
        fclose(check.file);
    task_release(&task);
}

static void killed_at_any_point(void **state)
{
    struct fixture *f = *state;
    int64_t acknowledged = 0, from_pipe;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    for (int round = 0; round < ROUNDS; round++) {
        store_close(f->store);
        f->store = NULL;
        pid_t pid = fork();
        if (pid == 0)
            work(f, pipe_fds[1]);
        usleep((useconds_t)(rand() % 40000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        while (read(pipe_fds[0], &from_pipe, sizeof from_pipe) == sizeof from_pipe)
            acknowledged = from_pipe;

        struct err err = {0};
        f->store = store_open(f->path, &err);
        if (!f->store)
            fail_msg("%s", err.message);
        /* Numbers are given in order, so the last one acknowledged stands for all before it. */
        for (int64_t n = acknowledged > 30 ? acknowledged - 30 : 1; n <= acknowledged; n++)
            check_task(f, n);
    }
    assert_true(acknowledged > ROUNDS / 4);
    for (int64_t n = 1; n <= acknowledged; n++)
        check_task(f, n);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    sqlite3_stmt *row;
    sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &row, NULL);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(row, 0), "ok");
    sqlite3_finalize(row);
    sqlite3_close(db);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_at_any_point, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests_name("store_torture", tests, NULL, NULL);
}
