#include "agent/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/conversation.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/client.h"

enum {
    FRAME_MAX_BYTES = 4 << 20,
    ERROR_BODY_MAX_BYTES = 65536,
    LINGER_MS = 100, /* for the end of the body behind the terminal event */
};

struct model {
    struct model_options options;
    struct http_peer peer;
    char *target, *authorization;
    struct buf head, tail; /* of the request, around the conversation */
    struct buf no_images;  /* the conversation, where the server does not take images, */
    struct buf adapted;    /* or does not take it as it is */
    unsigned left_out;     /* optional members that the server refused */
    bool heard;            /* it has answered before */

    /* The request under way, over all its tries. */
    struct json_span conversation;
    struct retry retry;
    struct loop_source *timer; /* until the next try, or for the end of the body */
    model_done_fn *fn;
    void *arg;

    /* The present try. */
    struct http_call *call;
    struct iovec body[3];
    int http_status; /* 0: no head yet */
    int64_t wait_ms; /* what the head asks for */
    struct buf error_body;
    struct answer *answer;
    uint64_t events_seen;
    int64_t last_event_ms;
};

struct model *model_new(const struct model_options *options, struct err *err)
{
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        abort();
    model->options = *options;
    model->heard = options->heard;
    buf_init(&model->head, FRAME_MAX_BYTES);
    buf_init(&model->tail, FRAME_MAX_BYTES);
    buf_init(&model->no_images, CONVERSATION_MAX_BYTES);
    buf_init(&model->adapted, CONVERSATION_MAX_BYTES);
    buf_init(&model->error_body, ERROR_BODY_MAX_BYTES);
    char *prefix;
    if (http_peer_url(&model->peer, options->base_url, &prefix, err) < 0) {
        model_free(model);
        return NULL;
    }
    model->target = str_format("%s%s", prefix, options->provider->path);
    free(prefix);
    model->authorization = str_format("Bearer %s", options->key);
    options->provider->frame(&options->settings, 0, &model->head, &model->tail);
    return model;
}

static void end_try(struct model *model)
{
    http_call_cancel(model->call);
    model->call = NULL;
    loop_remove(model->timer);
    model->timer = NULL;
    model->options.provider->answer_free(model->answer);
    model->answer = NULL;
    buf_release(&model->error_body);
    buf_release(&model->no_images);
    buf_release(&model->adapted);
}

void model_cancel(struct model *model)
{
    end_try(model);
    model->fn = NULL;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    end_try(model);
    buf_release(&model->head);
    buf_release(&model->tail);
    free(model->target);
    free(model->authorization);
    free(model);
}

static void start_try(void *arg);

static uint32_t random_number(void)
{
    uint32_t n = 0;
    (void)!getrandom(&n, sizeof n, GRND_NONBLOCK);
    return n;
}

/*
 * Whether the conversation's images may be what the server refuses. Each says it in its own words,
 * or names a member of the message, so any refusal counts: it costs one more request. llama.cpp
 * without a projector for images answers with status 500.
 */
static bool may_be_about_images(const struct model *model, const struct failure *failure)
{
    size_t offset = 0;
    struct json_span image;
    bool refused = failure->kind == FAILURE_REJECTED || failure->kind == FAILURE_CONTEXT ||
                   (failure->kind == FAILURE_SERVER && strcasestr(failure->message, "image"));
    return refused && !(model->left_out & LEFT_OUT_IMAGES) &&
           image_next(model->conversation, &model->options.provider->image, &offset, &image);
}

/* What a request can do without of what the server refuses; 0: nothing. */
static unsigned find_optional(const struct model *model, const struct failure *failure)
{
    unsigned more = 0;
    if (failure->kind == FAILURE_REJECTED || failure->kind == FAILURE_CONTEXT)
        more = model->options.provider->optional(model->options.settings.model, model->left_out,
                                                 failure);
    if (!(more & ~model->left_out) && may_be_about_images(model, failure))
        more = LEFT_OUT_IMAGES;
    return more & ~model->left_out;
}

/* The server does not take something that a request can do without: go on without it. */
static bool leave_out(struct model *model, const struct failure *failure)
{
    unsigned more = find_optional(model, failure);
    if (!more)
        return false;
    model->left_out |= more;
    model->options.provider->frame(&model->options.settings, model->left_out, &model->head,
                                   &model->tail);
    AUTO_FREE char *text = str_format("%s: going on without %s", failure->message,
                                      more == LEFT_OUT_IMAGES ? "images" : "what it refuses here");
    events_error(model->options.events, text);
    return true;
}

static void on_failure(struct model *model, struct failure *failure)
{
    if (leave_out(model, failure)) {
        start_try(model);
        return;
    }
    int64_t wait_ms = retry_next(&model->retry, &model->options.limits, failure, clock_mono_ms(),
                                 random_number());
    if (wait_ms < 0) {
        model->fn(model->arg, NULL, failure);
        return;
    }
    AUTO_FREE char *text = str_format("%s; trying again in %.1f s (failure %u)", failure->message,
                                      (double)wait_ms / 1000, model->retry.failures);
    events_error(model->options.events, text);
    model->timer = loop_add_timer(model->options.loop, wait_ms, start_try, model);
}

/* What is wrong with the try that ended with STATUS and ERR; false: nothing. */
static bool find_failure(struct model *model, int status, const struct err *err,
                         struct failure *failure)
{
    struct answer *answer = model->answer;
    if (!model->http_status)
        failure_set(failure, FAILURE_TRANSPORT, "no answer from the model server: %s",
                    err->message);
    else if (model->http_status != 200)
        failure_from_http(failure, model->http_status, model->wait_ms, model->error_body.data,
                          model->error_body.len);
    else if (answer->state == ANSWER_OPEN && status < 0)
        failure_set(failure, FAILURE_BROKEN_STREAM, "the model's answer broke off: %s",
                    err->message);
    else {
        if (answer->state == ANSWER_OPEN)
            model->options.provider->answer_end(answer);
        *failure = answer->failure;
        return answer->state == ANSWER_FAILED;
    }
    return true;
}

static void finish_try(struct model *model, int status, const struct err *err)
{
    struct failure failure;
    bool failed = find_failure(model, status, err, &failure);
    struct answer *answer = steal_pointer(&model->answer); /* `fn` may ask again, or cancel */
    const struct provider *provider = model->options.provider;
    end_try(model);
    model->heard |= !failed;
    if (failed)
        on_failure(model, &failure);
    else
        model->fn(model->arg, answer, NULL);
    provider->answer_free(answer);
}

static void on_head(void *arg, const struct http_head *head)
{
    struct model *model = arg;
    model->http_status = head->status;
    model->wait_ms = failure_wait_in_head(head);
}

static void on_linger_end(void *arg)
{
    struct model *model = arg;
    model->timer = NULL;
    finish_try(model, 0, NULL);
}

/* Comments keep a connection busy, and say nothing of the model: the idle limit is on events. */
static bool is_idle(struct model *model)
{
    int64_t now_ms = clock_mono_ms(), limit_ms = model->options.limits.idle_timeout_ms;
    if (model->answer->events != model->events_seen) {
        model->events_seen = model->answer->events;
        model->last_event_ms = now_ms;
    }
    return limit_ms > 0 && now_ms - model->last_event_ms > limit_ms;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct model *model = arg;
    if (model->http_status != 200) {
        size_t room = model->error_body.max - model->error_body.len;
        buf_append(&model->error_body, bytes, len < room ? len : room);
        return;
    }
    if (model->answer->state != ANSWER_OPEN)
        return;
    model->options.provider->answer_feed(model->answer, bytes, len);
    struct err err;
    if (model->answer->state != ANSWER_OPEN) {
        model->timer = loop_add_timer(model->options.loop, LINGER_MS, on_linger_end, model);
    } else if (is_idle(model)) {
        err_set(&err, -ETIMEDOUT, "no event came in time");
        finish_try(model, -ETIMEDOUT, &err);
    }
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct model *model = arg;
    model->call = NULL;
    finish_try(model, status, err);
}

/* What the body is made of. */
static void set_body(struct model *model)
{
    const struct provider *provider = model->options.provider;
    static const char note[] =
        "[An image was here. It is left out: the model server does not take it.]";
    struct json_span conversation = model->conversation;
    if ((model->left_out & LEFT_OUT_IMAGES) &&
        image_leave_out(conversation, &provider->image, SIZE_MAX, note, &model->no_images))
        conversation = (struct json_span){model->no_images.data, model->no_images.len};
    if (model->left_out && provider->adapt &&
        provider->adapt(conversation, model->left_out, &model->adapted))
        conversation = (struct json_span){model->adapted.data, model->adapted.len};
    model->body[0] = (struct iovec){model->head.data, model->head.len};
    model->body[1] = (struct iovec){(char *)conversation.at, conversation.len};
    model->body[2] = (struct iovec){model->tail.data, model->tail.len};
}

static void start_try(void *arg)
{
    static const struct http_call_handlers handlers = {on_head, on_data, on_end};
    struct model *model = arg;
    const struct provider *provider = model->options.provider;
    model->timer = NULL;
    model->http_status = 0;
    model->events_seen = 0;
    model->last_event_ms = clock_mono_ms();
    model->answer = provider->answer_new();
    set_body(model);
    enum { COMMON_HEADERS = 4 };
    struct http_header headers[COMMON_HEADERS + PROVIDER_HEADERS_MAX] = {
        {"Authorization", model->authorization},
        {"Content-Type", "application/json"},
        {"Accept", "text/event-stream"},
        {"User-Agent", "codex-agent"},
    };
    size_t more = provider->headers ? provider->headers(&model->options.settings, model->left_out,
                                                        headers + COMMON_HEADERS)
                                    : 0;
    const struct http_request request = {
        .method = "POST",
        .target = model->target,
        .headers = headers,
        .headers_count = COMMON_HEADERS + more,
        .body = model->body,
        .body_count = 3,
        .first_byte_timeout_ms = model->options.limits.first_byte_timeout_ms,
        .idle_timeout_ms = model->options.limits.idle_timeout_ms,
    };
    model->call = http_call_start(model->options.loop, &model->peer, &request, &handlers, model);
}

void model_ask(struct model *model, struct json_span conversation, model_done_fn *fn, void *arg)
{
    model->conversation = conversation;
    model->retry = (struct retry){.heard = model->heard};
    model->fn = fn;
    model->arg = arg;
    start_try(model);
}
