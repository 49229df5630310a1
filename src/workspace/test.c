#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/user_env.h"
#include "task/exit.h"
#include "workspace/find.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/supervise.h"

enum {
    TAIL_MAX = 12288, /* bytes of output in the result */
    SHOWN_MAX = 2048, /* bytes of the command in the result */
    PROBE_TIMEOUT_MS = 20000,
};

/* How the tests went. */
struct test_run {
    struct supervised_end end;
    int64_t duration_ms;
    struct buf tail;
};

/* Where and how every command of the step runs. */
struct surroundings {
    const char *dir;
    char **env;
};

static bool pytest_works(void *arg)
{
    static const char *const argv[] = {
        "python3", "-c",
        "import importlib.util, sys; sys.exit(importlib.util.find_spec('pytest') is None)", NULL};
    const struct surroundings *around = arg;
    AUTO_BUF struct buf tail;
    buf_init(&tail, TAIL_MAX);
    AUTO_FD int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const struct supervised probe = {.argv = argv,
                                     .envp = (const char *const *)around->env,
                                     .dir = around->dir,
                                     .out_fd = null,
                                     .tail = &tail,
                                     .deadline_ms = clock_mono_ms() + PROBE_TIMEOUT_MS};
    struct supervised_end end;
    struct err ignored;
    return supervise(&probe, &end, &ignored) == 0 && !end.timed_out && end.exit_code == 0;
}

/* Run the commands of PLAN until one fails. */
static int run_plan(const struct step *step, const struct test_plan *plan, struct test_run *result,
                    struct err *err)
{
    AUTO_FREE char *parent = step_parent(step);
    const char *const extra[] = {"CI=1", plan->env, NULL};
    char **env = user_env_new(step_user(), parent, extra);
    int64_t began_ms = clock_mono_ms();
    int status = 0;
    for (size_t i = 0; status == 0 && i < plan->count; i++) {
        const struct supervised command = {.argv = (const char *const *)plan->argv[i],
                                           .envp = (const char *const *)env,
                                           .dir = step->workdir,
                                           .out_fd = STDOUT_FILENO,
                                           .tail = &result->tail,
                                           .deadline_ms = began_ms + step->test_timeout_ms};
        status = supervise(&command, &result->end, err);
        if (result->end.timed_out || result->end.exit_code != 0)
            break;
    }
    user_env_free(env);
    result->duration_ms = clock_mono_ms() - began_ms;
    return status;
}

static int find_plan(const struct step *step, struct test_plan *plan, struct err *err)
{
    if (access(step->workdir, X_OK) < 0)
        return err_errno(err, "cannot enter '%s'", step->workdir);
    if (step->test_command) {
        test_plan_use(step->test_command, plan);
        return 0;
    }
    AUTO_FREE char *parent = step_parent(step);
    struct surroundings around = {step->workdir, user_env_new(step_user(), parent, NULL)};
    const struct test_probe probe = {pytest_works, &around};
    int status = test_plan_find(step->workdir, &probe, plan, err);
    user_env_free(around.env);
    return status;
}

/* The end of the output as a JSON string of at most MAX bytes: a byte can become six. */
static void append_tail(const struct buf *tail, size_t max, struct buf *out)
{
    for (size_t len = tail->len;; len /= 2) {
        AUTO_BUF struct buf text;
        buf_init(&text, max);
        if (json_text_string(&text, tail->data + tail->len - len, len) == 0) {
            buf_append(out, text.data, text.len);
            return;
        }
    }
}

static int write_result(const struct test_plan *plan, const struct test_run *result,
                        struct err *err)
{
    AUTO_BUF struct buf json, command;
    buf_init(&json, STEP_RESULT_MAX);
    buf_init(&command, 1 << 20);
    test_plan_describe(plan, &command);
    buf_append_str(&json, "{\"command\":");
    if (plan->found)
        json_text_string(&json, command.data, command.len < SHOWN_MAX ? command.len : SHOWN_MAX);
    else
        json_text_cstring(&json, NULL);
    buf_append_str(&json, ",\"found\":");
    json_text_cstring(&json, plan->found);
    const struct supervised_end *end = &result->end;
    bool exited = plan->found && end->signal == 0;
    buf_appendf(&json, exited ? ",\"exit_code\":%d" : ",\"exit_code\":null", end->exit_code);
    buf_appendf(&json, end->signal ? ",\"signal\":%d" : ",\"signal\":null", end->signal);
    buf_appendf(&json, ",\"timed_out\":%s,\"duration_ms\":%lld,\"output_tail\":",
                end->timed_out ? "true" : "false", (long long)result->duration_ms);
    append_tail(&result->tail, STEP_RESULT_MAX - json.len - 1, &json);
    buf_append_char(&json, '}');
    return step_write_result(&json, err);
}

static int exit_status(const struct test_plan *plan, const struct test_run *result)
{
    if (!plan->found) {
        fprintf(stderr,
                "codex-agent test: no tests found: looked for %s; name the command with --test\n",
                test_plan_looked_for);
        return TEST_NOT_FOUND;
    }
    if (result->end.timed_out)
        return TEST_TIMED_OUT;
    if (plan->none_ran && plan->none_ran(result->end.exit_code, result->tail.data)) {
        fprintf(stderr,
                "codex-agent test: no tests found: %s (found by %s) ran none; name the command "
                "with --test\n",
                plan->argv[plan->count - 1][0], plan->found);
        return TEST_NOT_FOUND;
    }
    return result->end.signal == 0 && result->end.exit_code == 0 ? TEST_PASSED : TEST_FAILED;
}

static int test(struct step *step, struct err *err)
{
    struct test_plan plan = {0};
    struct test_run result = {0};
    buf_init(&result.tail, TAIL_MAX);
    umask(022);
    int status = find_plan(step, &plan, err);
    if (status == 0 && plan.found)
        status = run_plan(step, &plan, &result, err);
    if (status == 0)
        status = write_result(&plan, &result, err);
    if (status == 0)
        status = exit_status(&plan, &result);
    test_plan_release(&plan);
    buf_release(&result.tail);
    return status;
}

int test_main(int argc, char **argv)
{
    return step_main(argc, argv, test, TEST_BROKEN);
}
