/* update_plan: the model's to-do list, shown to people as a todo_list item. */
#include <stdlib.h>
#include <string.h>

#include "agent/events.h"
#include "agent/tool.h"

enum { STEPS_MAX = 100, STEP_MAX_BYTES = 2000 };

struct plan {
    struct events *events;
    bool shown;
    char item_id[EVENTS_ID_SIZE];
    json_t *steps; /* the last list: an array of {step, status} */
};

static const char description[] =
    "Updates the task plan.\n"
    "Provide an optional explanation and a list of plan items, each with a step and status.\n"
    "At most one step can be in_progress at a time.\n";

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"explanation\":{\"type\":\"string\"},"
    "\"plan\":{\"type\":\"array\",\"description\":\"The list of steps\",\"items\":{"
    "\"type\":\"object\",\"properties\":{\"step\":{\"type\":\"string\"},"
    "\"status\":{\"type\":\"string\","
    "\"description\":\"One of: pending, in_progress, completed\"}},"
    "\"required\":[\"step\",\"status\"],\"additionalProperties\":false}}},"
    "\"required\":[\"plan\"],\"additionalProperties\":false}";

static int check_step(json_t *step, size_t number, struct err *err)
{
    static const char *const known[] = {"pending", "in_progress", "completed"};
    struct tool_call call = {.arguments = step};
    const char *text = "", *status = "";
    if (!json_is_object(step))
        return err_set(err, ERR_USAGE, "step %zu must be an object with 'step' and 'status'",
                       number);
    if (tool_arg_string(&call, "step", true, &text, err) < 0 ||
        tool_arg_string(&call, "status", true, &status, err) < 0)
        return err_context(err, "step %zu", number);
    if (strlen(text) > STEP_MAX_BYTES)
        return err_set(err, ERR_USAGE, "step %zu is longer than %d bytes", number, STEP_MAX_BYTES);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(status, known[i]))
            return 0;
    return err_set(err, ERR_USAGE, "step %zu: 'status' must be pending, in_progress or completed",
                   number);
}

static int check_steps(json_t *steps, struct err *err)
{
    if (!json_is_array(steps))
        return err_set(err, ERR_USAGE, "'plan' must be a list of steps");
    if (json_array_size(steps) > STEPS_MAX)
        return err_set(err, ERR_USAGE, "'plan' has more than %d steps", STEPS_MAX);
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step) {
        int status = check_step(step, i + 1, err);
        if (status < 0)
            return status;
    }
    return 0;
}

static void show(struct plan *plan, enum event_stage stage)
{
    struct event_todo items[STEPS_MAX];
    size_t i;
    json_t *step;
    json_array_foreach(plan->steps, i, step) {
        const char *status = json_string_value(json_object_get(step, "status"));
        items[i] = (struct event_todo){
            .text = json_string_value(json_object_get(step, "step")),
            .completed = !strcmp(status, "completed"),
        };
    }
    events_todo_list(plan->events, stage, plan->item_id, items, json_array_size(plan->steps));
}

static void update_plan(void *state, struct tool_call *call)
{
    struct plan *plan = state;
    struct err err;
    json_t *steps = json_object_get(call->arguments, "plan");
    if (check_steps(steps, &err) < 0) {
        tool_call_finishf(call, false, "%s", err.message);
        return;
    }
    json_decref(plan->steps);
    plan->steps = json_incref(steps);
    if (!plan->shown)
        events_item_id(plan->events, plan->item_id);
    show(plan, plan->shown ? EVENT_UPDATED : EVENT_STARTED);
    plan->shown = true;
    tool_call_finishf(call, true, "Plan updated");
}

static void complete(void *state)
{
    struct plan *plan = state;
    if (plan->shown)
        show(plan, EVENT_COMPLETED);
    plan->shown = false;
}

static void free_plan(void *state)
{
    struct plan *plan = state;
    json_decref(plan->steps);
    free(plan);
}

static const struct tool tools[] = {
    {.name = "update_plan",
     .kind = TOOL_FUNCTION,
     .description = description,
     .schema = schema,
     .start = update_plan},
};

int plan_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        abort();
    plan->events = host->events;
    *out = (struct tool_group){
        .tools = tools, .count = 1, .state = plan, .stop = complete, .free = free_plan};
    return 0;
}
