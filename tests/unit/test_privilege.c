#include "test.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/privilege.h"
#include "base/process.h"
#include "base/str.h"

enum { UID = 1000 };

/* Run CHECK in a child; it returns 0 when all is well. */
static void in_child(int (*check)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(check());
    int status = process_wait(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The value of FIELD in /proc/self/status as a program that we exec sees it. */
static int field_after_exec(const char *field, struct buf *out)
{
    struct err err;
    const char *argv[] = {"sed", "-n", field, "/proc/self/status", NULL};
    buf_clear(out);
    return process_run(argv, -1, out, &err);
}

static int check_powerless(void)
{
    struct buf out;
    buf_init(&out, 4096);
    static const char none[] = "0000000000000000\n";
    const char *fields[] = {"s/^CapEff:.//p", "s/^CapPrm:.//p", "s/^CapInh:.//p", "s/^CapAmb:.//p"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (field_after_exec(fields[i], &out) != 0 || strcmp(out.data, none) != 0)
            return 10 + (int)i;
    if (field_after_exec("s/^NoNewPrivs:.//p", &out) != 0 || strcmp(out.data, "1\n") != 0)
        return 20;
    buf_release(&out);
    return 0;
}

static int drop_and_check(void)
{
    if (privilege_drop(UID, UID) < 0)
        return 1;
    if (getuid() != UID || geteuid() != UID || getgid() != UID || getegid() != UID)
        return 2;
    if (getgroups(0, NULL) != 0)
        return 3;
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return 4;
    return check_powerless();
}

static int renounce_and_check(void)
{
    uid_t uid = getuid();
    if (privilege_renounce() < 0)
        return 1;
    return getuid() == uid ? check_powerless() : 2;
}

static void a_dropped_process_cannot_come_back(void **state)
{
    if (geteuid() != 0)
        skip();
    in_child(drop_and_check);
}

static void a_renounced_process_gains_nothing_by_exec(void **state)
{
    in_child(renounce_and_check);
}

static int drop_to_root(void)
{
    return privilege_drop(0, 0) == -EINVAL && privilege_drop(UID, 0) == -EINVAL ? 0 : 1;
}

static void dropping_to_root_is_a_mistake(void **state)
{
    in_child(drop_to_root);
}

/* This is no sandbox, so nobody is killed: not even a process of the user that is named. */
static void outside_a_sandbox_nobody_is_killed(void **state)
{
    assert_false(privilege_in_sandbox());
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && privilege_drop(UID, UID) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(privilege_kill_all(UID, UID), 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGKILL);
    process_wait(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_process_cannot_come_back),
        cmocka_unit_test(a_renounced_process_gains_nothing_by_exec),
        cmocka_unit_test(dropping_to_root_is_a_mistake),
        cmocka_unit_test(outside_a_sandbox_nobody_is_killed),
    };
    return cmocka_run_group_tests_name("privilege", tests, NULL, NULL);
}
