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
#include "workspace/proof.h"
#include "workspace/results.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/supervise.h"

enum {
    TAIL_MAX = 12288,     /* bytes of output in the result */
    KEPT_MAX = 256 << 10, /* bytes that excerpts are taken from */
    SHOWN_MAX = 2048,     /* bytes of the command in the result */
    PROBE_TIMEOUT_MS = 20000,
};

/* How the tests went. */
struct test_run {
    struct supervised_end end;
    int64_t duration_ms;
    struct buf kept; /* the end of the output */
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

static void feed(void *arg, const char *bytes, size_t len)
{
    results_feed(arg, bytes, len);
}

/* What makes test runners name their tests, whoever calls them: docs/tests-found.md. */
static char **environment(const struct step *step, const struct test_plan *plan)
{
    AUTO_FREE char *parent = step_parent(step);
    /* Root's is the same, so that what set-up has put into the user's home is found. */
    const char *const extra[] = {"CI=1", "PYTEST_ADDOPTS=-vv", "GOFLAGS=-v", plan->env, NULL};
    const char *const roots[] = {USER_ENV_TRUSTING_GIT, "CI=1",    "PYTEST_ADDOPTS=-vv",
                                 "GOFLAGS=-v",          plan->env, NULL};
    return user_env_new(step_user(), parent, step->as_root ? roots : extra);
}

/* Run the commands of PLAN until one fails, or the deadline is there. */
static int run_commands(const struct step *step, const struct test_plan *plan, int64_t deadline_ms,
                        struct results *results, struct test_run *result, struct err *err)
{
    char **env = environment(step, plan);
    int status = 0;
    for (size_t i = 0; status == 0 && i < plan->count; i++) {
        const struct supervised command = {.argv = (const char *const *)plan->argv[i],
                                           .envp = (const char *const *)env,
                                           .dir = step->workdir,
                                           .out_fd = STDOUT_FILENO,
                                           .tail = &result->kept,
                                           .output = feed,
                                           .output_arg = results,
                                           .deadline_ms = deadline_ms,
                                           .as_root = step->as_root};
        status = supervise(&command, &result->end, err);
        if (result->end.timed_out || result->end.exit_code != 0)
            break;
    }
    user_env_free(env);
    return status;
}

/* A shell says 128 + n of a command that was killed by signal n. */
static bool was_cut(const struct supervised_end *end)
{
    return end->timed_out || end->signal || end->exit_code > 128;
}

/* Run PLAN, and read what became of its tests. AGAIN: for the second time; when that is ended before
 * its time, nothing is known of it, and the first one stands. */
static int run_plan(const struct step *step, const struct test_plan *plan, int64_t deadline_ms,
                    bool again, struct test_run *result, struct proof *proof, struct err *err)
{
    struct timespec since;
    clock_gettime(CLOCK_REALTIME_COARSE, &since); /* what files are stamped with */
    struct results *results = results_new();
    struct test_run run = {0};
    buf_init(&run.kept, KEPT_MAX);
    int status = run_commands(step, plan, deadline_ms, results, &run, err);
    bool cut = was_cut(&run.end);
    if (status < 0 || (again && cut)) {
        results_free(results);
        buf_release(&run.kept);
        return status;
    }
    proof->reran = again;
    proof_take(proof, results, step, &since, cut);
    buf_release(&result->kept);
    *result = run;
    return 0;
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
static void append_tail(const struct buf *kept, size_t max, struct buf *out)
{
    for (size_t len = kept->len < TAIL_MAX ? kept->len : TAIL_MAX;; len /= 2) {
        AUTO_BUF struct buf text;
        buf_init(&text, max);
        if (json_text_string(&text, kept->data + kept->len - len, len) == 0) {
            buf_append(out, text.data, text.len);
            return;
        }
    }
}

static int write_result(const struct test_plan *plan, const struct test_run *result,
                        const struct proof *proof, struct err *err)
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
    buf_appendf(&json, ",\"timed_out\":%s,\"duration_ms\":%lld", end->timed_out ? "true" : "false",
                (long long)result->duration_ms);
    proof_append_members(proof, &result->kept, TAIL_MAX, &json);
    buf_append_str(&json, ",\"output_tail\":");
    append_tail(&result->kept, STEP_RESULT_MAX - json.len - 1, &json);
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
    if (plan->none_ran && plan->none_ran(result->end.exit_code, result->kept.data)) {
        fprintf(stderr,
                "codex-agent test: no tests found: %s (found by %s) ran none; name the command "
                "with --test\n",
                plan->argv[plan->count - 1][0], plan->found);
        return TEST_NOT_FOUND;
    }
    return result->end.signal == 0 && result->end.exit_code == 0 ? TEST_PASSED : TEST_FAILED;
}

/* Run the tests; once more when one fails that passed in the baseline: it may be one that does so now
 * and then. Both share the time limit. */
static int run_tests(const struct step *step, const struct test_plan *plan, struct test_run *result,
                     struct proof *proof, struct err *err)
{
    int64_t began_ms = clock_mono_ms(), deadline_ms = began_ms + step->test_timeout_ms;
    int status = run_plan(step, plan, deadline_ms, false, result, proof, err);
    if (status == 0 && !was_cut(&result->end) && result->end.exit_code != 0 &&
        proof_is_worth_again(proof)) {
        fprintf(stderr,
                "codex-agent test: tests fail that passed before: the command is run once more\n");
        status = run_plan(step, plan, deadline_ms, true, result, proof, err);
    }
    result->duration_ms = clock_mono_ms() - began_ms;
    return status;
}

static int report(const struct step *step, const struct test_plan *plan,
                  const struct test_run *result, struct proof *proof, struct err *err)
{
    int exit = exit_status(plan, result);
    if (exit == TEST_NOT_FOUND)
        proof_take_none(proof);
    int status = write_result(plan, result, proof, err);
    if (status == 0)
        status = proof_write(proof, step, err);
    return status < 0 ? status : proof_status(proof, exit);
}

static int test(struct step *step, struct err *err)
{
    struct test_plan plan = {0};
    struct test_run result = {0};
    struct proof proof;
    buf_init(&result.kept, KEPT_MAX);
    proof_init(&proof, step);
    umask(022);
    int status = find_plan(step, &plan, err);
    if (status == 0 && plan.found)
        status = run_tests(step, &plan, &result, &proof, err);
    if (status == 0)
        status = report(step, &plan, &result, &proof, err);
    test_plan_release(&plan);
    proof_release(&proof);
    buf_release(&result.kept);
    return status;
}

int test_main(int argc, char **argv)
{
    return step_main(argc, argv, test, TEST_BROKEN);
}
