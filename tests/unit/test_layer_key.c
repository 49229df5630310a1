/* What an environment layer and a baseline are known by: a change of anything that they depend on makes another, and
 * a change of nothing else does. */
#include "test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "orchestrator/run_config.h"
#include "sandbox/image.h"

static const struct task standard_task = {.number = 1,
                                          .id = "task-aaaaaa",
                                          .uid = 1000,
                                          .prompt = "a",
                                          .repo = "/repo",
                                          .base = "main",
                                          .base_commit = "1111111111111111111111111111111111111111",
                                          .model = "m",
                                          .effort = "high"};

static char *rules[] = {"example.com", "example.org"};

static struct config standard_config(void)
{
    return (struct config){.author_name = "Codex",
                           .author_email = "codex@localhost",
                           .internet = "list",
                           .allow = {.rules = rules, .count = 1},
                           .memory_bytes = 1 << 30,
                           .test_timeout_ms = 1000};
}

static const char *key(const struct task *task, const struct config *config, const char *modules)
{
    static char keys[2][SPAWN_LAYER_SIZE];
    static unsigned turn;
    char *out = keys[turn++ % 2];
    run_config_layer(task, config, modules, out);
    return out;
}

#define DIFFERS(field, value)                                                                      \
    do {                                                                                           \
        struct task task = standard_task;                                                          \
        struct config config = standard_config();                                                  \
        const char *modules = "m1";                                                                \
        const char *before = key(&task, &config, modules);                                         \
        (field) = (value);                                                                         \
        assert_string_not_equal(before, key(&task, &config, modules));                             \
        (void)modules;                                                                             \
    } while (0)

#define IS_THE_SAME(field, value)                                                                  \
    do {                                                                                           \
        struct task task = standard_task;                                                          \
        struct config config = standard_config();                                                  \
        const char *before = key(&task, &config, "m1");                                            \
        (field) = (value);                                                                         \
        assert_string_equal(before, key(&task, &config, "m1"));                                    \
    } while (0)

static void whatever_a_layer_depends_on_names_it(void **state)
{
    DIFFERS(task.uid, 1001);
    DIFFERS(task.repo, "/repo2");
    DIFFERS(task.base, "next");
    DIFFERS(task.base_commit, "1111111111111111111111111111111111111112");
    DIFFERS(task.setup_command, "make deps");
    DIFFERS(modules, "m2");
    DIFFERS(config.author_name, "Other");
    DIFFERS(config.author_email, "other@localhost");
    DIFFERS(config.internet, "off");
    DIFFERS(config.allow.count, 2);
    DIFFERS(config.allow_private.rules, rules + (config.allow_private.count = 1));
}

/* Where one part ends and the next begins is told, too. */
static void parts_do_not_flow_together(void **state)
{
    struct task one = standard_task, other = standard_task;
    struct config config = standard_config();
    one.repo = "/repo", one.base = "main";
    other.repo = "/repom", other.base = "ain";
    assert_string_not_equal(key(&one, &config, ""), key(&other, &config, ""));
}

static void nothing_else_makes_another_layer(void **state)
{
    IS_THE_SAME(task.number, 2);
    IS_THE_SAME(task.run, 2);
    IS_THE_SAME(task.prompt, "b");
    IS_THE_SAME(task.model, "n");
    IS_THE_SAME(task.effort, "low");
    IS_THE_SAME(task.test_command, "make check");
    IS_THE_SAME(task.branch_wanted, "b");
    IS_THE_SAME(task.budget_tokens, 5);
    IS_THE_SAME(task.timeout_ms, 5);
    IS_THE_SAME(config.memory_bytes, 2 << 30);
    IS_THE_SAME(config.pids, 7);
    IS_THE_SAME(config.test_timeout_ms, 7);
}

/* ---- the host's packages */

/* In a child: 0 when the key of the host image is another after FROM was put in the place of ON. */
static int key_differs(const char *from, const char *on)
{
    char before[IMAGE_KEY_SIZE], again[IMAGE_KEY_SIZE], after[IMAGE_KEY_SIZE];
    struct err err;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 2;
    if (image_key(before, &err) < 0 || image_key(again, &err) < 0 || strcmp(before, again) != 0)
        return 3;
    if (mount(from, on, NULL, MS_BIND, NULL) < 0 || image_key(after, &err) < 0)
        return 4;
    return strcmp(before, after) != 0 ? 0 : 1;
}

static int in_child(const char *from, const char *on)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(key_differs(from, on));
    int status = process_wait(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_state_of_the_hosts_packages_names_its_image(void **state)
{
    if (geteuid() != 0)
        skip();
    char file[] = "/tmp/codex-test-XXXXXX", directory[] = "/tmp/codex-test-XXXXXX";
    AUTO_FD int fd = mkstemp(file);
    assert_true(fd >= 0 && mkdtemp(directory));
    assert_int_equal(in_child(file, "/var/lib/dpkg/status"), 0);
    assert_int_equal(in_child(directory, "/usr/bin"), 0);
    assert_int_equal(in_child(directory, "/etc/alternatives"), 0);
    assert_int_equal(in_child(file, "/etc/hostname"), 1); /* not in the image */
    unlink(file);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_layer_depends_on_names_it),
        cmocka_unit_test(parts_do_not_flow_together),
        cmocka_unit_test(nothing_else_makes_another_layer),
        cmocka_unit_test(the_state_of_the_hosts_packages_names_its_image),
    };
    return cmocka_run_group_tests_name("layer_key", tests, NULL, NULL);
}
