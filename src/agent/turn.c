#include "agent/turn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent/calls.h"
#include "base/clock.h"

enum {
    SYNC_DELAY_MS = 20, /* a model that answers sooner is not kept waiting by the disk */
    CUT_SHORT_MAX = 3,  /* answers in a row that the output limit may cut */
    PAUSED_MAX = 20,    /* answers in a row that the server may pause */
    STOP_MAX_MS = 3000, /* for the tools to end what they started; they take a second at most */
};

struct turn {
    struct turn_parts parts;
    struct calls *calls;
    struct loop_source *sync_timer;
    bool finished;
    enum agent_exit exit;
    struct err *why;
    unsigned cut_short, paused; /* answers in a row */
    bool nudged;                /* the last answer was empty */
};

static void finish(struct turn *turn, enum agent_exit status, const char *why)
{
    if (turn->finished)
        return;
    turn->finished = true;
    turn->exit = status;
    err_set(turn->why, 0, "%s", why);
    model_cancel(turn->parts.model);
    calls_stop(turn->calls);
    loop_remove(turn->sync_timer);
    turn->sync_timer = NULL;
    loop_stop(turn->parts.loop, 0);
}

/* The conversation could not take what it should. */
static void finish_for(struct turn *turn, int status, const struct err *err)
{
    finish(turn, status == ERR_LIMIT ? AGENT_EXIT_CONTEXT_FULL : AGENT_EXIT_INTERNAL, err->message);
}

static void on_answer(void *arg, struct answer *answer, const struct failure *failure);

static void on_sync_timer(void *arg)
{
    struct turn *turn = arg;
    struct err err;
    turn->sync_timer = NULL;
    int status = conversation_sync(turn->parts.conversation, &err);
    if (status < 0)
        finish_for(turn, status, &err);
}

/* Events stop when nobody reads them, and when SIGTERM comes while they wait for their reader. */
static bool has_lost_events(struct turn *turn)
{
    int status = events_status(turn->parts.events);
    if (status == -EINTR)
        finish(turn, AGENT_EXIT_STOPPED, "stopped by SIGTERM");
    else if (status < 0)
        finish(turn, AGENT_EXIT_INTERNAL, "the events could not be written");
    return status < 0;
}

static void ask(struct turn *turn)
{
    if (has_lost_events(turn))
        return;
    turn->sync_timer = loop_add_timer(turn->parts.loop, SYNC_DELAY_MS, on_sync_timer, turn);
    model_ask(turn->parts.model, conversation_text(turn->parts.conversation), on_answer, turn);
}

/* Say TEXT to the model, because of WHAT, and ask it again. */
static void say(struct turn *turn, const char *what, const char *text)
{
    struct err err;
    events_error(turn->parts.events, what);
    struct message message = {text, strlen(text)};
    int status = conversation_add_user(turn->parts.conversation, &message, 1, &err);
    if (status < 0)
        finish_for(turn, status, &err);
    else
        ask(turn);
}

static void on_calls_done(void *arg, int status, const struct err *err, enum repeat_verdict verdict,
                          unsigned times)
{
    struct turn *turn = arg;
    char text[400];
    if (status < 0) {
        finish_for(turn, status, err);
    } else if (verdict == REPEAT_STOP) {
        snprintf(text, sizeof text,
                 "the model made the same calls with the same results %u times in a row", times);
        finish(turn, AGENT_EXIT_GAVE_UP, text);
    } else if (verdict == REPEAT_TELL) {
        snprintf(text, sizeof text,
                 "You have now made the same call %u times in a row, always with the same result. "
                 "Doing it again will not change that: look for another way, or, if you cannot get "
                 "any further, end the turn and say what stands in the way.",
                 times);
        say(turn, "the model repeats itself, and is told so", text);
    } else {
        ask(turn);
    }
}

static void show(struct events *events, const struct item *item)
{
    if (!item->text || !*item->text)
        return;
    char id[EVENTS_ID_SIZE];
    events_item_id(events, id);
    if (item->kind == ITEM_MESSAGE)
        events_agent_message(events, EVENT_COMPLETED, id, item->text);
    else
        events_reasoning(events, EVENT_COMPLETED, id, item->text);
}

/* Neither words nor calls. Its items are dropped: a reasoning item that nothing follows would make
 * the server refuse the next request. */
static bool is_empty(const struct response *response)
{
    for (size_t i = 0; i < response->count; i++) {
        const struct item *item = &response->items[i];
        if (item->kind == ITEM_CALL || (item->kind == ITEM_MESSAGE && *item->text))
            return false;
    }
    return true;
}

static void on_empty_answer(struct turn *turn)
{
    if (!turn->nudged) {
        turn->nudged = true;
        say(turn, "the model's answer was empty: it is asked to go on",
            "Your last answer was empty. Go on with the task; if it is done, say so in a "
            "sentence or two.");
        return;
    }
    struct err err;
    if (!calls_any_succeeded(turn->calls))
        finish(turn, AGENT_EXIT_MODEL_FAILED, "the model gives empty answers");
    else if (conversation_end(turn->parts.conversation, &err) < 0)
        finish(turn, AGENT_EXIT_INTERNAL, err.message);
    else
        finish(turn, AGENT_EXIT_DONE, "");
}

static void on_cut_short(struct turn *turn)
{
    if (++turn->cut_short > CUT_SHORT_MAX)
        finish(turn, AGENT_EXIT_MODEL_FAILED,
               "the model's answers run into the provider's limit on output tokens");
    else
        say(turn, "the model's answer ran into the limit on output tokens, and was dropped",
            "Your last answer ran into the limit on output tokens and was cut off. Nothing of "
            "it was kept, and no call in it was run. Go on in smaller steps: shorter answers, "
            "smaller patches.");
}

static void on_whole_answer(struct turn *turn)
{
    const struct response *response = conversation_last(turn->parts.conversation);
    turn->nudged = false;
    turn->cut_short = 0;
    turn->paused = response->paused ? turn->paused + 1 : 0;
    for (size_t i = 0; i < response->count; i++)
        show(turn->parts.events, &response->items[i]);
    if (conversation_calls(turn->parts.conversation))
        calls_run(turn->calls, on_calls_done, turn);
    else if (turn->paused > PAUSED_MAX)
        finish(turn, AGENT_EXIT_MODEL_FAILED, "the model's server pauses again and again");
    else if (turn->paused)
        ask(turn);
    else
        finish(turn, AGENT_EXIT_DONE, "");
}

static void on_answer(void *arg, struct answer *answer, const struct failure *failure)
{
    struct turn *turn = arg;
    struct err err;
    loop_remove(turn->sync_timer);
    turn->sync_timer = NULL;
    if (failure) {
        finish(turn, retry_exit(failure->kind), failure->message);
        return;
    }
    bool empty = !answer->response.paused && is_empty(&answer->response);
    if (empty)
        response_drop_items(&answer->response);
    int status = conversation_add_response(turn->parts.conversation, &answer->response, &err);
    if (status < 0)
        finish_for(turn, status, &err);
    else if (answer->state == ANSWER_CUT_SHORT)
        on_cut_short(turn);
    else if (empty)
        on_empty_answer(turn);
    else
        on_whole_answer(turn);
}

static void on_sigterm(void *arg, int signal)
{
    finish(arg, AGENT_EXIT_STOPPED, "stopped by SIGTERM");
}

static size_t running(const struct turn *turn)
{
    size_t count = 0;
    for (size_t g = 0; g < turn->parts.groups_count; g++)
        if (turn->parts.groups[g].running)
            count += turn->parts.groups[g].running(turn->parts.groups[g].state);
    return count;
}

/* Calls that were still running get their outputs meanwhile, and those the journal. */
static void stop_groups(struct turn *turn)
{
    struct err err;
    for (size_t g = 0; g < turn->parts.groups_count; g++)
        if (turn->parts.groups[g].stop)
            turn->parts.groups[g].stop(turn->parts.groups[g].state);
    int64_t deadline_ms = clock_mono_ms() + STOP_MAX_MS;
    while (running(turn) && clock_mono_ms() < deadline_ms)
        if (loop_run_once(turn->parts.loop, 50, &err) < 0)
            break;
}

static void begin(struct turn *turn)
{
    struct err err;
    if (loop_add_signal(turn->parts.loop, SIGTERM, on_sigterm, turn, &err) < 0)
        finish(turn, AGENT_EXIT_INTERNAL, err.message);
    else
        ask(turn);
    if (!turn->finished && loop_run(turn->parts.loop, &err) < 0)
        finish(turn, AGENT_EXIT_INTERNAL, err.message);
}

/* A turn that nobody can read about, or that the disk has lost, is not done. */
static void end(struct turn *turn)
{
    struct err err;
    int status = conversation_sync(turn->parts.conversation, &err);
    if (turn->exit != AGENT_EXIT_DONE)
        return;
    turn->finished = false; /* what comes now overrules it */
    if (status < 0)
        finish_for(turn, status, &err);
    else
        events_turn_completed(turn->parts.events, conversation_usage(turn->parts.conversation));
    has_lost_events(turn);
}

enum agent_exit turn_run(const struct turn_parts *parts, struct err *why)
{
    struct turn turn = {.parts = *parts, .why = why};
    turn.calls = calls_new(parts->loop, parts->events, parts->conversation, parts->groups,
                           parts->groups_count);
    events_turn_started(parts->events);
    begin(&turn);
    stop_groups(&turn);
    end(&turn);
    calls_free(turn.calls);
    return turn.exit;
}
