/* Arguments, update_plan and submit. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tool_double.h"

static struct err err;

static int string_argument(const char *json, bool required, const char **out)
{
    static json_t *arguments;
    json_decref(arguments);
    arguments = json_loads(json, JSON_ALLOW_NUL, NULL);
    assert_non_null(arguments);
    struct tool_call call = {.arguments = arguments};
    return tool_arg_string(&call, "a", required, out, &err);
}

static void strings_are_checked(void **state)
{
    const char *value = "before";
    assert_int_equal(string_argument("{\"a\":\"x\"}", true, &value), 0);
    assert_string_equal(value, "x");
    value = "before";
    assert_int_equal(string_argument("{}", false, &value), 0);
    assert_int_equal(string_argument("{\"a\":null}", false, &value), 0);
    assert_string_equal(value, "before");
    assert_int_equal(string_argument("{\"a\":null}", true, &value), -EINVAL);
    assert_string_equal(err.message, "'a' is required");
    assert_int_equal(string_argument("{\"a\":[\"x\"]}", false, &value), -EINVAL);
    assert_string_equal(err.message, "'a' must be a string");
    assert_int_equal(string_argument("{\"a\":\"x\\u0000y\"}", false, &value), -EINVAL);
    assert_string_equal(err.message, "'a' must not hold a NUL character");
    assert_string_equal(value, "before");
    string_argument("{}", false, &value);
}

static int int_argument(const char *json, int64_t *out)
{
    json_t *arguments = json_loads(json, 0, NULL);
    assert_non_null(arguments);
    struct tool_call call = {.arguments = arguments};
    int status = tool_arg_int(&call, "a", true, 0, 100, out, &err);
    json_decref(arguments);
    return status;
}

static void numbers_are_checked(void **state)
{
    int64_t value = -7;
    assert_int_equal(int_argument("{\"a\":0}", &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(int_argument("{\"a\":100.0}", &value), 0);
    assert_int_equal(value, 100);
    static const char *const bad[] = {"{\"a\":\"5\"}",  "{\"a\":1.5}",  "{\"a\":1e300}",
                                      "{\"a\":-1e300}", "{\"a\":true}", "{\"a\":{}}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(int_argument(bad[i], &value), -EINVAL);
        assert_string_equal(err.message, "'a' must be a whole number");
    }
    assert_int_equal(int_argument("{\"a\":101}", &value), -EINVAL);
    assert_string_equal(err.message, "'a' must be between 0 and 100");
    assert_int_equal(int_argument("{\"a\":-1}", &value), -EINVAL);
    assert_int_equal(value, 100);
}

static void booleans_are_checked(void **state)
{
    json_t *arguments = json_loads("{\"t\":true,\"f\":false,\"s\":\"true\"}", 0, NULL);
    struct tool_call call = {.arguments = arguments};
    bool value = false;
    assert_int_equal(tool_arg_bool(&call, "t", true, &value, &err), 0);
    assert_true(value);
    assert_int_equal(tool_arg_bool(&call, "f", true, &value, &err), 0);
    assert_false(value);
    assert_int_equal(tool_arg_bool(&call, "s", true, &value, &err), -EINVAL);
    assert_string_equal(err.message, "'s' must be true or false");
    json_decref(arguments);
}

static void every_schema_is_a_json_object(void **state)
{
    struct bench bench;
    bench_open(&bench, false);
    struct tool_group groups[4];
    assert_int_equal(exec_tools_open(&bench.host, &groups[0], &err), 0);
    assert_int_equal(patch_tools_open(&bench.host, &groups[1], &err), 0);
    assert_int_equal(plan_tools_open(&bench.host, &groups[2], &err), 0);
    assert_int_equal(submit_tools_open(&bench.host, AT_FDCWD, &groups[3], &err), 0);
    size_t functions = 0;
    for (size_t g = 0; g < 4; g++)
        for (size_t i = 0; i < groups[g].count; i++) {
            const struct tool *tool = &groups[g].tools[i];
            assert_true(strlen(tool->description) > 20);
            if (tool->kind == TOOL_CUSTOM) {
                assert_string_equal(tool->argument, "input");
                assert_non_null(strstr(tool->schema, "%import common.LF"));
                assert_non_null(strstr(tool->description, "*** Begin Patch"));
                continue;
            }
            functions++;
            json_t *schema = json_loads(tool->schema, 0, NULL);
            assert_string_equal(member(schema, "type"), "object");
            json_t *required = json_object_get(schema, "required"), *name;
            assert_true(json_array_size(required) > 0);
            size_t r;
            json_array_foreach(required, r, name) {
                assert_non_null(json_object_get(json_object_get(schema, "properties"),
                                                json_string_value(name)));
            }
            json_decref(schema);
        }
    assert_int_equal(functions, 4);
    for (size_t g = 0; g < 4; g++)
        bench_stop(&bench, &groups[g]);
    bench_close(&bench);
}

static void a_plan_is_shown_as_one_item(void **state)
{
    struct bench bench;
    struct tool_group group;
    struct asked asked;
    bench_open(&bench, false);
    assert_int_equal(plan_tools_open(&bench.host, &group, &err), 0);
    assert_string_equal(ask(&bench, &group, "update_plan",
                            "{\"plan\":[{\"step\":\"look\",\"status\":\"in_progress\"},"
                            "{\"step\":\"do\",\"status\":\"pending\"}]}",
                            &asked),
                        "Plan updated");
    assert_true(asked.ok);
    asked_release(&asked);
    ask(&bench, &group, "update_plan",
        "{\"explanation\":\"x\",\"plan\":[{\"step\":\"look\",\"status\":\"completed\"}]}", &asked);
    asked_release(&asked);
    bench_stop(&bench, &group);

    json_t *events = bench_events(&bench);
    static const char *const types[] = {"item.started", "item.updated", "item.completed"};
    assert_int_equal(json_array_size(events), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *event = json_array_get(events, i);
        assert_string_equal(member(event, "type"), types[i]);
        assert_string_equal(member(json_object_get(event, "item"), "id"), "item_0");
    }
    json_t *items = json_object_get(last_item(events, "todo_list"), "items");
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(member(json_array_get(items, 0), "text"), "look");
    assert_true(json_is_true(json_object_get(json_array_get(items, 0), "completed")));
    json_decref(events);
    bench_close(&bench);
}

static void a_bad_plan_is_refused(void **state)
{
    static const char *const bad[][2] = {
        {"{}", "'plan' must be a list of steps"},
        {"{\"plan\":\"x\"}", "'plan' must be a list of steps"},
        {"{\"plan\":[1]}", "step 1 must be an object with 'step' and 'status'"},
        {"{\"plan\":[{\"step\":\"x\"}]}", "step 1: 'status' is required"},
        {"{\"plan\":[{\"step\":\"x\",\"status\":\"done\"}]}",
         "step 1: 'status' must be pending, in_progress or completed"},
    };
    struct bench bench;
    struct tool_group group;
    bench_open(&bench, false);
    assert_int_equal(plan_tools_open(&bench.host, &group, &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct asked asked;
        assert_string_equal(ask(&bench, &group, "update_plan", bad[i][0], &asked), bad[i][1]);
        assert_false(asked.ok);
        asked_release(&asked);
    }
    bench_stop(&bench, &group);
    json_t *events = bench_events(&bench);
    assert_int_equal(json_array_size(events), 0);
    json_decref(events);
    bench_close(&bench);
}

/* A group whose state directory is the bench's workdir. */
static int open_submit(struct bench *bench, struct tool_group *group)
{
    bench_open(bench, false);
    int dir = open(bench->workdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir >= 0);
    assert_int_equal(submit_tools_open(&bench->host, dir, group, &err), 0);
    return dir;
}

static void a_submission_is_kept(void **state)
{
    struct bench bench;
    struct tool_group group;
    struct asked asked;
    int dir = open_submit(&bench, &group);
    ask(&bench, &group, "submit", "{\"title\":\"First\",\"body\":\"x\",\"branch\":\"feat/x\"}",
        &asked);
    assert_true(asked.ok);
    asked_release(&asked);
    ask(&bench, &group, "submit",
        "{\"title\":\"Add \\\"pagination\\\"\",\"body\":\"a\\n\\tb é\",\"branch\":\"\"}", &asked);
    assert_true(asked.ok);
    asked_release(&asked);

    AUTO_BUF struct buf text;
    buf_init(&text, 1000);
    struct stat status;
    assert_int_equal(io_read_file_at(dir, "submit.json", &text, &err), 0);
    assert_string_equal(text.data, "{\"title\":\"Add \\\"pagination\\\"\",\"body\":\"a\\n\\tb é\","
                                   "\"branch\":null}\n");
    assert_int_equal(fstatat(dir, "submit.json", &status, 0), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    bench_stop(&bench, &group);
    close(dir);
    bench_close(&bench);
}

static void a_bad_submission_is_refused(void **state)
{
    static const char *const bad[][2] = {
        {"{\"body\":\"x\"}", "'title' is required"},
        {"{\"title\":\"x\"}", "'body' is required"},
        {"{\"title\":\"  \",\"body\":\"x\"}", "'title' is empty"},
        {"{\"title\":\"a\\nb\",\"body\":\"x\"}",
         "'title' must be one line without control characters"},
        {"{\"title\":\"a\",\"body\":\"\\u001b[2J\"}", "'body' must not hold control characters"},
        {"{\"title\":\"a\",\"body\":\"x\",\"branch\":\"--upload-pack=x\"}",
         "'branch' cannot be used: branch name '--upload-pack=x' begins with '-'"},
        {"{\"title\":\"a\",\"body\":\"x\",\"branch\":\"a..b\"}",
         "'branch' cannot be used: branch name 'a..b' has '..'"},
    };
    struct bench bench;
    struct tool_group group;
    int dir = open_submit(&bench, &group);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct asked asked;
        assert_string_equal(ask(&bench, &group, "submit", bad[i][0], &asked), bad[i][1]);
        assert_false(asked.ok);
        asked_release(&asked);
    }
    struct asked asked;
    char title[300];
    memset(title, 't', sizeof title);
    title[201] = '\0';
    assert_string_equal(
        ask(&bench, &group, "submit", text_of("{\"title\":\"%s\",\"body\":\"x\"}", title), &asked),
        "'title' is longer than 200 bytes");
    asked_release(&asked);
    char *body = malloc(24578);
    memset(body, 'b', 24577);
    body[24577] = '\0';
    assert_string_equal(
        ask(&bench, &group, "submit", text_of("{\"title\":\"x\",\"body\":\"%s\"}", body), &asked),
        "'body' is longer than 24576 bytes");
    asked_release(&asked);
    free(body);
    assert_int_equal(faccessat(dir, "submit.json", F_OK, 0), -1);
    bench_stop(&bench, &group);
    close(dir);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_checked),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(booleans_are_checked),
        cmocka_unit_test(every_schema_is_a_json_object),
        cmocka_unit_test(a_plan_is_shown_as_one_item),
        cmocka_unit_test(a_bad_plan_is_refused),
        cmocka_unit_test(a_submission_is_kept),
        cmocka_unit_test(a_bad_submission_is_refused),
    };
    return cmocka_run_group_tests_name("agent_tools", tests, NULL, NULL);
}
