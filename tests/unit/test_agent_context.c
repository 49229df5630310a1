/* What the agent reads before it works: task.json, AGENTS.md, the result of a failed
 * verification. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/context.h"
#include "agent/feedback.h"
#include "agent/task_file.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

/* ---- AGENTS.md */

struct place {
    char path[64];
    struct tool_host host;
    char workdir[128];
    struct buf out;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->path, "/tmp/codex-test-context-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    assert_int_equal(chmod(place->path, 0755), 0);
    snprintf(place->workdir, sizeof place->workdir, "%s/repo/a/b", place->path);
    assert_int_equal(io_make_dirs(place->workdir, 0755, NULL), 0);
    place->host = (struct tool_host){.workdir = place->workdir,
                                     .drop = geteuid() == 0,
                                     .uid = geteuid() == 0 ? 1000 : geteuid(),
                                     .gid = geteuid() == 0 ? 1000 : getegid()};
    buf_init(&place->out, 1 << 20);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    buf_release(&place->out);
    io_remove_tree_at(AT_FDCWD, place->path, NULL);
    free(place);
    return 0;
}

/* PATH is below the place. */
static void put(const struct place *place, const char *path, const char *text, size_t len)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", place->path, path);
    AUTO_FD int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
}

static void put_text(const struct place *place, const char *path, const char *text)
{
    put(place, path, text, strlen(text));
}

static void make_root(const struct place *place)
{
    char git[128];
    snprintf(git, sizeof git, "%s/repo/.git", place->path);
    assert_int_equal(mkdir(git, 0755), 0);
}

static void collect(struct place *place)
{
    struct err err = {0};
    buf_clear(&place->out);
    if (context_agents_md(&place->host, &place->out, &err) < 0)
        fail_msg("%s", err.message);
}

/* What stands between the markers. */
static void assert_collected(struct place *place, const char *expected)
{
    collect(place);
    char message[4096];
    snprintf(message, sizeof message,
             "# AGENTS.md instructions for %s\n\n<INSTRUCTIONS>\n%s\n</INSTRUCTIONS>",
             place->workdir, expected);
    assert_string_equal(place->out.data, *expected ? message : "");
}

static void every_directory_from_the_root_down_is_read(void **state)
{
    struct place *place = *state;
    make_root(place);
    put_text(place, "AGENTS.md", "outside");
    put_text(place, "repo/AGENTS.md", "root");
    put_text(place, "repo/a/b/AGENTS.md", "b");
    put_text(place, "repo/a/b/AGENTS.override.md.not", "x");
    assert_collected(place, "root\n\nb");
}

static void without_a_root_only_the_workdir_counts(void **state)
{
    struct place *place = *state;
    put_text(place, "repo/AGENTS.md", "root");
    put_text(place, "repo/a/b/AGENTS.md", "b");
    assert_collected(place, "b");
}

static void an_override_replaces_its_neighbour(void **state)
{
    struct place *place = *state;
    make_root(place);
    put_text(place, "repo/AGENTS.md", "root");
    put_text(place, "repo/a/AGENTS.md", "hidden");
    put_text(place, "repo/a/AGENTS.override.md", "override");
    put_text(place, "repo/a/b/AGENTS.md", "hidden");
    put_text(place, "repo/a/b/AGENTS.override.md", " \n"); /* a blank one too */
    assert_collected(place, "root\n\noverride");
}

static void nothing_is_said_when_there_is_nothing(void **state)
{
    struct place *place = *state;
    make_root(place);
    assert_collected(place, "");
    put_text(place, "repo/AGENTS.md", "\n\t\n");
    assert_collected(place, "");
}

static void all_of_it_is_bounded(void **state)
{
    struct place *place = *state;
    make_root(place);
    static char large[30000];
    memset(large, 'x', sizeof large);
    put(place, "repo/AGENTS.md", large, sizeof large);
    put(place, "repo/a/AGENTS.md", large, sizeof large);
    put(place, "repo/a/b/AGENTS.md", "never read", 10);
    collect(place);
    assert_in_range(place->out.len, 32768, 33100);
    assert_non_null(
        strstr(place->out.data, "[cut: AGENTS.md files are read up to 32 KiB together]"));
    assert_null(strstr(place->out.data, "never read"));
}

/* Links to what is no regular file, or belongs to the agent, give nothing and do not hang. */
static void hostile_files_give_nothing(void **state)
{
    struct place *place = *state;
    make_root(place);
    char at[160], secret[128];
    snprintf(at, sizeof at, "%s/AGENTS.md", place->workdir);
    snprintf(secret, sizeof secret, "%s/secret", place->path);
    put_text(place, "secret", "secret");
    assert_int_equal(chmod(secret, 0600), 0);
    const char *const targets[] = {
        "/dev/zero", "/proc/self/fd/0", "/proc/self/environ", "/proc/self/fd/100", ".", at, secret};
    size_t count = sizeof targets / sizeof targets[0] - (geteuid() != 0); /* whose secret is it? */
    /* Standard input and another descriptor of the agent lead to the secret. */
    AUTO_FD int fd = open(secret, O_RDONLY | O_CLOEXEC);
    AUTO_FD int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 50);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(dup2(fd, 100), 100);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(symlink(targets[i], at), 0);
        assert_collected(place, "");
        assert_int_equal(unlink(at), 0);
    }
    dup2(saved, STDIN_FILENO);
    close(100);

    assert_int_equal(mkfifo(at, 0644), 0);
    int64_t began = clock_mono_ms();
    assert_collected(place, "");
    assert_true(clock_mono_ms() - began < 2000);
}

static void a_link_within_the_repository_is_followed(void **state)
{
    struct place *place = *state;
    char at[160];
    snprintf(at, sizeof at, "%s/AGENTS.md", place->workdir);
    put_text(place, "repo/CLAUDE.md", "shared");
    assert_int_equal(symlink("../../CLAUDE.md", at), 0);
    assert_collected(place, "shared");
}

static void the_environment_is_described(void **state)
{
    struct place *place = *state;
    strcat(place->workdir, "&<x>");
    struct agent_task task = {.base = "main", .base_commit = "abc"};
    context_environment(&place->host, &task, NULL, &place->out);
    assert_ptr_equal(strstr(place->out.data, "<environment_context>\n  <cwd>/tmp/"),
                     place->out.data);
    assert_non_null(strstr(place->out.data, "/repo/a/b&amp;&lt;x&gt;</cwd>\n"));
    assert_non_null(strstr(place->out.data, "  <shell>bash</shell>\n"));
    assert_non_null(strstr(place->out.data, "  <base>main at abc</base>\n"));
    assert_non_null(strstr(place->out.data, "  <network>none"));
    assert_non_null(strstr(place->out.data, "</environment_context>"));
    static const char *const reached[][2] = {{"public", "<network>HTTP and HTTPS to public addr"},
                                             {"common", "<network>HTTP and HTTPS to the usual"},
                                             {"list", "<network>HTTP and HTTPS to a few hosts"},
                                             {"off", "<network>none"},
                                             {"unheard of", "<network>none"}};
    for (size_t i = 0; i < sizeof reached / sizeof reached[0]; i++) {
        task.internet = reached[i][0];
        buf_clear(&place->out);
        context_environment(&place->host, &task, NULL, &place->out);
        assert_non_null(strstr(place->out.data, reached[i][1]));
    }
}

static void the_network_is_what_the_repository_leaves_of_it(void **state)
{
    static const char *const cases[][3] = {
        {"public", "{\"access\":\"off\",\"allow\":[]}", "<network>none: no other machine"},
        {"off", "{\"access\":\"list\",\"allow\":[\"a.test\"]}",
         "nothing can be downloaded</network>"},
        {"public", "{\"access\":\"list\",\"allow\":[\"a.test\",\"b.test:99\"]}",
         "otherwise; and of that only what the repository lets its tasks reach: a.test, "
         "b.test:99</network>"},
        {"common", "{\"access\":\"common\",\"allow\":[\"a.test\"]}",
         "reach: the usual package registries and forges, a.test</network>"},
        {"public", "null", "cannot be resolved otherwise</network>"},
    };
    struct place *place = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct agent_task task = {.internet = cases[i][0]};
        json_t *narrowing = json_loads(cases[i][1], JSON_DECODE_ANY, NULL);
        buf_clear(&place->out);
        context_environment(&place->host, &task, narrowing, &place->out);
        if (!strstr(place->out.data, cases[i][2]))
            fail_msg("%s", place->out.data);
        json_decref(narrowing);
    }
}

/* ---- task.json */

static const char good_task[] =
    "{\"task\":\"task-abc123\",\"prompt\":\"Do\\nit\",\"workdir\":\"/workspace/"
    "demo\",\"model\":\"o3\","
    "\"effort\":\"high\",\"base_url\":\"http://127.0.0.1:64080/v1\",\"api_key\":\"k\",\"more\":[1],"
    "\"retry\":{\"base_ms\":1,\"max_ms\":2,\"give_up_ms\":0,\"first_byte_timeout_ms\":4,"
    "\"idle_timeout_ms\":5}}";

static int read_task(struct agent_task *task, const char *text, struct err *err)
{
    AUTO_FD int fd = io_memfd("task", text, strlen(text), NULL);
    assert_true(fd >= 0);
    lseek(fd, 3, SEEK_SET); /* an earlier step read from it */
    return agent_task_read(task, fd, err);
}

static void a_task_is_read(void **state)
{
    struct agent_task task;
    assert_int_equal(read_task(&task, good_task, NULL), 0);
    assert_string_equal(task.prompt, "Do\nit");
    assert_string_equal(task.effort, "high");
    assert_null(task.base);
    assert_int_equal(task.retry.base_ms, 1);
    assert_int_equal(task.retry.max_ms, 2);
    assert_int_equal(task.retry.give_up_ms, 0);
    assert_int_equal(task.retry.first_byte_timeout_ms, 4);
    assert_int_equal(task.retry.idle_timeout_ms, 5);
    agent_task_release(&task);
}

static void assert_refused(const char *text, const char *why)
{
    struct agent_task task;
    struct err err = {0};
    assert_true(read_task(&task, text, &err) < 0);
    assert_string_equal(err.message, why);
    agent_task_release(&task);
}

static void a_task_that_lacks_something_is_refused(void **state)
{
    static const char *const required[] = {"task",  "prompt",   "workdir",
                                           "model", "base_url", "api_key"};
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        json_t *json = json_loads(good_task, 0, NULL);
        char why[64];
        json_object_set_new(json, required[i], json_null());
        AUTO_FREE char *null = json_dumps(json, 0);
        snprintf(why, sizeof why, "task.json: '%s' is missing", required[i]);
        assert_refused(null, why);
        json_object_set_new(json, required[i], json_integer(3));
        AUTO_FREE char *number = json_dumps(json, 0);
        snprintf(why, sizeof why, "task.json: '%s' must be a string", required[i]);
        assert_refused(number, why);
        json_object_set_new(json, required[i], json_string(""));
        AUTO_FREE char *empty = json_dumps(json, 0);
        snprintf(why, sizeof why, "task.json: '%s' is empty", required[i]);
        assert_refused(empty, why);
        json_decref(json);
    }
}

static void a_task_that_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "task.json: line 1: '[' or '{' expected near end of file"},
        {"[]", "task.json: not a JSON object"},
        {"{\"task\":\"t\",\"prompt\":\"p\",\"workdir\":\"w\",\"model\":\"m\",\"base_url\":\"u\","
         "\"api_key\":\"k\"}",
         "task.json: 'workdir' must be an absolute path"},
        {"{\"task\":\"t\",\"prompt\":\"p\",\"workdir\":\"/"
         "w\",\"model\":\"m\",\"base_url\":\"u\",\"api_key\":\"k\\nX: y\"}",
         "task.json: 'api_key' holds a control character"},
        {"{\"task\":\"t\",\"prompt\":\"p\",\"workdir\":\"/"
         "w\",\"model\":\"m\",\"base_url\":\"u\",\"api_key\":\"k\",\"retry\":1}",
         "task.json: 'retry' must be an object"},
        {"{\"task\":\"t\",\"prompt\":\"p\",\"workdir\":\"/"
         "w\",\"model\":\"m\",\"base_url\":\"u\",\"api_key\":\"k\",\"retry\":{\"base_ms\":0}}",
         "task.json: 'retry.base_ms' must be a number of milliseconds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(cases[i].text, cases[i].why);
    AUTO_FREE char *long_name = malloc(2000);
    memset(long_name, 'm', 1999);
    long_name[1999] = '\0';
    json_t *json = json_loads(good_task, 0, NULL);
    json_object_set_new(json, "model", json_string(long_name));
    AUTO_FREE char *text = json_dumps(json, 0);
    assert_refused(text, "task.json: 'model' is longer than 512 bytes");
    json_decref(json);
}

/* ---- feedback */

static void read_result(const char *json, struct buf *out)
{
    AUTO_FD int fd = io_memfd("feedback", json, strlen(json), NULL);
    struct err err = {0};
    buf_clear(out);
    if (feedback_read(fd, out, &err) < 0)
        fail_msg("%s", err.message);
}

static void a_failed_verification_becomes_a_message(void **state)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    read_result(
        "{\"command\":\"npm test\",\"exit_code\":1,\"signal\":null,\"timed_out\":false,"
        "\"duration_ms\":1500,\"output_tail\":\"1 failing\\n\",\"newly_broken\":[\"t1\",\"t2\"]}",
        &out);
    assert_non_null(strstr(out.data, "Command: npm test\nResult: exit code 1\n"));
    const char *names = strstr(out.data, "- t1\n- t2\n");
    const char *tail = strstr(out.data, "The end of its output:\n1 failing\n");
    assert_true(names && tail && names < tail);

    read_result("{\"command\":\"x\",\"exit_code\":null,\"signal\":9,\"output_tail\":\"\"}", &out);
    assert_non_null(strstr(out.data, "Result: killed by signal 9 (SIGKILL)\n"));
    assert_null(strstr(out.data, "output:"));
    read_result("{\"command\":\"x\",\"timed_out\":true,\"duration_ms\":60000}", &out);
    assert_non_null(strstr(out.data, "Result: not finished after 60 s, and ended\n"));
    read_result("{}", &out);
    assert_non_null(strstr(out.data, "Command: (none)\n"));
}

static void long_output_keeps_its_end_in_whole_lines(void **state)
{
    AUTO_BUF struct buf json;
    AUTO_BUF struct buf out;
    buf_init(&json, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_append_str(&json, "{\"command\":\"x\",\"output_tail\":\"");
    for (int i = 0; i < 10000; i++)
        buf_appendf(&json, "line %d\\n", i);
    buf_append_str(&json, "\"}");
    read_result(json.data, &out);
    assert_true(out.len < 34000);
    const char *tail = strstr(out.data, "The end of its output:\nline ");
    assert_non_null(tail);
    assert_non_null(strstr(out.data, "line 9999\n"));
}

static void feedback_that_is_no_object_is_refused(void **state)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    struct err err = {0};
    AUTO_FD int fd = io_memfd("feedback", "[]", 2, NULL);
    assert_int_equal(feedback_read(fd, &out, &err), ERR_USAGE);
    assert_string_equal(err.message, "the feedback is not a JSON object");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_directory_from_the_root_down_is_read),
        TEST(without_a_root_only_the_workdir_counts),
        TEST(an_override_replaces_its_neighbour),
        TEST(nothing_is_said_when_there_is_nothing),
        TEST(all_of_it_is_bounded),
        TEST(hostile_files_give_nothing),
        TEST(a_link_within_the_repository_is_followed),
        TEST(the_environment_is_described),
        TEST(the_network_is_what_the_repository_leaves_of_it),
        cmocka_unit_test(a_task_is_read),
        cmocka_unit_test(a_task_that_lacks_something_is_refused),
        cmocka_unit_test(a_task_that_is_wrong_is_refused),
        cmocka_unit_test(a_failed_verification_becomes_a_message),
        cmocka_unit_test(long_output_keeps_its_end_in_whole_lines),
        cmocka_unit_test(feedback_that_is_no_object_is_refused),
    };
    return cmocka_run_group_tests_name("agent_context", tests, NULL, NULL);
}
