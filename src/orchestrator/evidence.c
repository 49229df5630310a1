#include "orchestrator/evidence.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "orchestrator/files.h"
#include "task/exit.h"

/* The list in the file PATH into TEXT (as bytes) and LIST; false when there is none that can be
 * used, and both are empty then. */
static bool read_list(const struct job *job, const char *path, struct buf *text,
                      struct test_list *list)
{
    struct err err;
    buf_init(text, TEST_LIST_BYTES_MAX + 1);
    test_list_init(list);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int status = fd < 0 ? err_errno(&err, "cannot open '%s'", path) : io_read_all(fd, text, &err);
    if (status == 0 && !text->len)
        return false; /* the step could not read its results */
    if (status == 0)
        status = test_list_parse(text->data, text->len, list, &err);
    if (status == 0)
        return true;
    log_warn(job->id, "results of single tests are not used: %s", err.message);
    buf_clear(text);
    return false;
}

/* The last commit's tests beside the baseline's. */
struct comparison {
    struct buf before_text, after_text;
    struct test_list before, after;
    bool known; /* the later one */
    struct test_changes changes;
};

static void comparison_make(const struct job *job, struct comparison *self)
{
    AUTO_FREE char *before_path = files_tests_before(job->o, job->id, job->run);
    AUTO_FREE char *after_path = files_tests_after(job->o, job->id, job->run);
    self->changes = (struct test_changes){0};
    bool before = read_list(job, before_path, &self->before_text, &self->before);
    self->known = read_list(job, after_path, &self->after_text, &self->after);
    if (before && self->known)
        test_changes_find(&self->before, &self->after, &self->changes);
}

static void comparison_release(struct comparison *self)
{
    buf_release(&self->before_text);
    buf_release(&self->after_text);
    test_list_release(&self->before);
    test_list_release(&self->after);
    test_changes_release(&self->changes);
}

/* A flaky test passed when it was run again. */
static void set_counts(struct test_result *result, const struct test_list *list)
{
    result->passed = (int64_t)(list->totals[TEST_CASE_PASSED] + list->totals[TEST_CASE_FLAKY]);
    result->failed = (int64_t)list->totals[TEST_CASE_FAILED];
    result->skipped = (int64_t)list->totals[TEST_CASE_SKIPPED];
}

/* The result of a baseline is known from now on for every task that starts at this commit. A
 * timeout or a broken step says more about this run than about the commit. */
static int keep_baseline(struct job *job, const struct test_result *result, struct err *err)
{
    if (result->status != TEST_PASSED && result->status != TEST_FAILED &&
        result->status != TEST_NOT_FOUND)
        return 0;
    struct task task;
    int status = store_task_load(job->o->store, job->number, &task, err);
    if (status < 0)
        return status;
    char environment[BASELINE_ENVIRONMENT_SIZE];
    launch_environment(job, &task, environment);
    struct store_baseline_key key = {task.repo, task.base_commit, task.test_command, environment};
    status = store_baseline_set(job->o->store, &key, result, err);
    task_release(&task);
    return status;
}

static int take_baseline(struct job *job, struct test_result *result, struct err *err)
{
    AUTO_FREE char *path = files_tests_before(job->o, job->id, job->run);
    struct buf text;
    struct test_list list;
    if (read_list(job, path, &text, &list)) {
        set_counts(result, &list);
        result->tests = buf_steal(&text, NULL);
    }
    buf_release(&text);
    test_list_release(&list);
    int status = store_test_set(job->o->store, job->number, STORE_TEST_BASELINE, result, err);
    return status < 0 ? status : keep_baseline(job, result, err);
}

static int take_verification(struct job *job, struct test_result *result, struct err *err)
{
    struct comparison comparison;
    comparison_make(job, &comparison);
    if (comparison.known)
        set_counts(result, &comparison.after);
    /* What the step in the sandbox said about it was for the rounds alone. */
    result->status = verdict_test_status(result->status, &comparison.changes, &comparison.after);
    int status = store_test_set(job->o->store, job->number, STORE_TEST_VERIFICATION, result, err);
    if (status == 0)
        status = store_test_changes_set(job->o->store, job->number, &comparison.changes, err);
    comparison_release(&comparison);
    return status;
}

int evidence_take(struct job *job, const struct run_event *event, struct err *err)
{
    struct test_result result;
    run_event_test_result(event, &result);
    int status = event->phase == PHASE_BASELINE ? take_baseline(job, &result, err)
                                                : take_verification(job, &result, err);
    test_result_release(&result);
    return status;
}
