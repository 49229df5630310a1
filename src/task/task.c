#include "task/task.h"

#include <stdlib.h>

void fault_release(struct fault *fault)
{
    free(fault->step);
    free(fault->message);
    *fault = (struct fault){0};
}

void pull_request_release(struct pull_request *request)
{
    free(request->forge);
    free(request->url);
    free(request->state);
    free(request->title);
    free(request->body);
    *request = (struct pull_request){0};
}

void task_release(struct task *task)
{
    char *const strings[] = {
        task->prompt,        task->repo,           task->base,         task->base_commit,
        task->model,         task->branch_wanted,  task->test_command, task->provider,
        task->effort,        task->phase,          task->activity,     task->waiting_for,
        task->title,         task->body,           task->commit,       task->branch_offered,
        task->branch,        task->archive_sha256, task->archive_path, task->setup_command,
        task->setup_failure, task->base_known,     task->forge,        task->limits_hit,
    };
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        free(strings[i]);
    free(task->base_moved.commit);
    test_result_release(&task->baseline);
    test_result_release(&task->verification);
    test_changes_release(&task->changes);
    fault_release(&task->fault);
    pull_request_release(&task->pull_request);
    *task = (struct task){0};
}
