#include "test.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"

struct seen {
    struct loop *loop;
    char order[16];
    int wait_status;
    struct loop_source *other;
};

static void note(struct seen *seen, char what)
{
    size_t n = strlen(seen->order);
    assert_true(n + 1 < sizeof seen->order);
    seen->order[n] = what;
}

static void first_timer(void *arg)
{
    note(arg, '1');
}

static void second_timer(void *arg)
{
    note(arg, '2');
    loop_stop(((struct seen *)arg)->loop, 7);
}

static void timers_run_in_the_order_of_their_time(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    loop_add_timer(seen.loop, 20, second_timer, &seen);
    loop_add_timer(seen.loop, 1, first_timer, &seen);
    loop_remove(loop_add_timer(seen.loop, 5, second_timer, &seen));
    assert_int_equal(loop_run(seen.loop, NULL), 7);
    assert_string_equal(seen.order, "12");
    loop_free(seen.loop);
}

static void child_ended(void *arg, pid_t pid, int wait_status)
{
    struct seen *seen = arg;
    seen->wait_status = wait_status;
    loop_stop(seen->loop, 0);
}

static void a_child_is_reaped_and_reported(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    pid_t pid = fork();
    if (pid == 0)
        _exit(9);
    assert_non_null(loop_add_child(seen.loop, pid, child_ended, &seen, NULL));
    loop_run(seen.loop, NULL);
    assert_int_equal(WEXITSTATUS(seen.wait_status), 9);
    assert_int_equal(waitpid(pid, NULL, 0), -1);
    loop_free(seen.loop);
}

static void remove_the_other(void *arg, uint32_t events)
{
    struct seen *seen = arg;
    note(seen, 'r');
    loop_remove(seen->other);
    seen->other = NULL;
    loop_stop(seen->loop, 0);
}

static void a_source_removed_in_the_same_round_is_not_called(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    int a[2], b[2];
    assert_int_equal(pipe(a) + pipe(b), 0);
    struct loop_source *first =
        loop_add_fd(seen.loop, a[0], EPOLLIN, remove_the_other, &seen, NULL);
    seen.other = loop_add_fd(seen.loop, b[0], EPOLLIN, remove_the_other, &seen, NULL);
    assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    /* Whichever comes first removes `other`; if it was `other` itself, nothing is left to free. */
    loop_run_once(seen.loop, 100, NULL);
    assert_true(strlen(seen.order) >= 1);
    loop_remove(first);
    loop_free(seen.loop);
}

static void on_signal(void *arg, int signal)
{
    struct seen *seen = arg;
    note(seen, signal == SIGUSR1 ? 'u' : '?');
    loop_stop(seen->loop, 0);
}

static void a_signal_becomes_a_call(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    assert_int_equal(loop_add_signal(seen.loop, SIGUSR1, on_signal, &seen, NULL), 0);
    raise(SIGUSR1);
    loop_run(seen.loop, NULL);
    assert_string_equal(seen.order, "u");
    loop_free(seen.loop);
}

/* A child that nobody added: the grandchild of one that has ended. */
static void an_orphan_is_reaped_and_a_known_child_told(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(loop_reap_orphans(seen.loop, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0)
            _exit(0);
        _exit(3);
    }
    assert_non_null(loop_add_child(seen.loop, pid, child_ended, &seen, NULL));
    loop_run(seen.loop, NULL);
    assert_int_equal(WEXITSTATUS(seen.wait_status), 3);
    for (int i = 0; i < 1000 && waitpid(-1, NULL, WNOHANG) == 0; i++)
        loop_run_once(seen.loop, 10, NULL);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    loop_free(seen.loop);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void reaping_now_tells_who_waits(void **state)
{
    struct seen seen = {.loop = loop_new(NULL)};
    pid_t pid = fork();
    if (pid == 0)
        _exit(4);
    assert_non_null(loop_add_child(seen.loop, pid, child_ended, &seen, NULL));
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    loop_reap_now(seen.loop);
    assert_int_equal(WEXITSTATUS(seen.wait_status), 4);
    loop_free(seen.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_run_in_the_order_of_their_time),
        cmocka_unit_test(a_child_is_reaped_and_reported),
        cmocka_unit_test(a_source_removed_in_the_same_round_is_not_called),
        cmocka_unit_test(a_signal_becomes_a_call),
        cmocka_unit_test(reaping_now_tells_who_waits),
        cmocka_unit_test(an_orphan_is_reaped_and_a_known_child_told),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
