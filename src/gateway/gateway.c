#include "gateway/gateway.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "gateway/budget.h"
#include "gateway/control.h"
#include "gateway/egress/proxy.h"
#include "gateway/egress/record.h"
#include "gateway/event_file.h"
#include "gateway/model.h"
#include "gateway/output.h"
#include "gateway/outside_json.h"
#include "gateway/replay.h"
#include "gateway/run_events.h"
#include "gateway/stream.h"
#include "gateway/upstream.h"
#include "task/limits.h"

struct gateway {
    struct loop *loop;
    struct gateway_options options;
    struct event_file *events;
    struct streams *streams;
    struct budget budget;
    struct model *model; /* NULL: none is configured */
    struct record *record;
    struct proxy *proxy;
    struct loop_source *control;
    struct control_message message; /* the one that is being taken */
    struct err err;                 /* why it ends, when that is no good reason */
    int status;                     /* enum gateway_exit */
    bool ended;
};

/* ---- the end */

static void end(struct gateway *gateway, enum gateway_exit status)
{
    gateway->ended = true;
    if (gateway->status == GATEWAY_EXIT_DONE) /* the first trouble counts */
        gateway->status = status;
    loop_stop(gateway->loop, gateway->status);
}

static void on_events_failed(void *arg, const struct err *err)
{
    struct gateway *gateway = arg;
    gateway->err = *err;
    bool full = err->code == -ENOSPC || err->code == -EDQUOT || err->code == -EFBIG;
    end(gateway, full ? GATEWAY_EXIT_DISK_FULL : GATEWAY_EXIT_EVENTS);
}

void gateway_stop(struct gateway *gateway)
{
    end(gateway, GATEWAY_EXIT_DONE);
}

/* ---- the runner's messages */

static int answer(struct gateway *gateway, enum gateway_control_type type, uint32_t stream)
{
    const struct gateway_control answer = {.type = type, .stream = stream};
    return control_send(gateway->options.control_fd, &answer, &gateway->err);
}

static void on_stream_ended(void *arg, uint32_t stream)
{
    struct gateway *gateway = arg;
    if (answer(gateway, GATEWAY_STREAM_ENDED, stream) < 0)
        end(gateway, GATEWAY_EXIT_CONTROL);
}

static int take_run_ended(struct gateway *gateway)
{
    /* What was under way is counted before the last line, behind which nobody reads. */
    model_free(gateway->model);
    gateway->model = NULL;
    proxy_free(gateway->proxy);
    gateway->proxy = NULL;
    record_flush(gateway->record, gateway->budget.phase);
    run_event_ended(gateway->events, &gateway->message);
    if (event_file_sync(gateway->events) < 0)
        return 0; /* on_events_failed has ended it */
    return answer(gateway, GATEWAY_WRITTEN, 0);
}

static int take_listener(struct gateway *gateway)
{
    uint32_t kind = gateway->message.head.kind;
    int fd = gateway->message.fd;
    if (kind == GATEWAY_LISTENER_MODEL && gateway->model)
        return model_listen(gateway->model, fd, &gateway->err);
    if (kind != GATEWAY_LISTENER_MODEL && gateway->proxy)
        return proxy_listen(gateway->proxy, kind - GATEWAY_LISTENER_PROXY, fd, &gateway->err);
    close(fd);
    return err_set(&gateway->err, ERR_PROTOCOL,
                   "a listener after the run's end, or for a model where none is configured");
}

/* Of the model's there is never more than one, which another takes the place of. */
static void drop_listener(struct gateway *gateway)
{
    uint32_t kind = gateway->message.head.kind;
    if (kind != GATEWAY_LISTENER_MODEL && gateway->proxy)
        proxy_stop_listening(gateway->proxy, kind - GATEWAY_LISTENER_PROXY);
}

static void begin_phase(struct gateway *gateway)
{
    uint32_t phase = gateway->message.head.phase;
    record_flush(gateway->record, phase);
    gateway->budget.phase = phase;
    run_event_phase_started(gateway->events, &gateway->message);
}

/* What cannot be read narrows to nothing: that is told, and ends no run. */
static void narrow_internet(struct gateway *gateway, const json_t *internet, struct buf *text)
{
    struct egress_policy *policy = &gateway->options.config->internet;
    struct err err;
    if (egress_policy_narrow(policy, internet, &err) < 0)
        buf_appendf(text, "internet: off, because what the repository allows is not known (%s)\n",
                    err.message);
    else if (policy->narrowing.access != EGRESS_PUBLIC)
        buf_appendf(text, "internet: narrowed by .codex/environment.conf to '%s'\n",
                    egress_access_name(policy->narrowing.access));
}

/* Tell the runner, who reads nothing that comes from a sandbox, what the repository says. */
static int tell_limits(struct gateway *gateway, const json_t *limits, struct buf *text)
{
    int status = 0;
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT && status == 0; i++) {
        int64_t value = json_integer_value(json_object_get(limits, task_limit_member(i)));
        if (!task_limit_valid(i, value))
            continue;
        const struct gateway_control limit = {
            .type = GATEWAY_LIMIT, .kind = i, .figure = (uint64_t)value};
        buf_appendf(text, "limits: .codex/environment.conf asks for no more %s than ",
                    task_limit_name(i));
        task_limit_append(text, i, value);
        buf_append_char(text, '\n');
        status = control_send(gateway->options.control_fd, &limit, &gateway->err);
    }
    return status;
}

static int narrow(struct gateway *gateway)
{
    json_t *checkout = outside_object(gateway->message.payload, gateway->message.head.payload_size);
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    narrow_internet(gateway, json_object_get(checkout, "internet"), &text);
    int status = tell_limits(gateway, json_object_get(checkout, "limits"), &text);
    if (text.len)
        output_note(gateway->events, gateway->budget.phase, text.data, text.len);
    json_decref(checkout);
    if (gateway->proxy)
        proxy_begin(gateway->proxy);
    return status < 0 ? status : answer(gateway, GATEWAY_NARROWED, 0); /* with all of it done */
}

/* Returns 0, or negative with gateway->err. */
static int take_message(struct gateway *gateway)
{
    const struct control_message *message = &gateway->message;
    const struct gateway_control *head = &message->head;
    switch (head->type) {
    case GATEWAY_LISTEN:
        return take_listener(gateway);
    case GATEWAY_UNLISTEN:
        drop_listener(gateway);
        return 0;
    case GATEWAY_NARROW:
        return narrow(gateway);
    case GATEWAY_PHASE_STARTED:
        begin_phase(gateway);
        return 0;
    case GATEWAY_PHASE_COMPLETED:
        run_event_phase_completed(gateway->events, message);
        return 0;
    case GATEWAY_STREAM:
        return streams_add(gateway->streams, head->stream, (enum gateway_stream_kind)head->kind,
                           head->phase, message->fd, &gateway->err);
    case GATEWAY_STREAM_STOP:
        streams_stop(gateway->streams, head->stream);
        return 0;
    case GATEWAY_LIMIT_HIT:
        run_event_limit_hit(gateway->events, message);
        return 0;
    case GATEWAY_NOTE:
        run_event_note(gateway->events, message);
        return 0;
    case GATEWAY_RUN_ENDED:
        return take_run_ended(gateway);
    default: /* control_receive() lets no other pass */
        abort();
    }
}

static void on_control(void *arg, uint32_t events)
{
    struct gateway *gateway = arg;
    int n = control_receive(gateway->options.control_fd, &gateway->message, &gateway->err);
    if (n == 0) {
        end(gateway, GATEWAY_EXIT_DONE);
        return;
    }
    if (n < 0 || take_message(gateway) < 0) {
        err_context(&gateway->err, "the control socket");
        end(gateway, GATEWAY_EXIT_CONTROL);
    }
}

/* ---- putting it together */

static int open_provider(struct gateway *gateway, struct provider *provider, struct err *err)
{
    const struct gateway_options *options = &gateway->options;
    if (!options->config->is_replay)
        return upstream_open(gateway->loop, options->config, provider, err);
    if (options->replay_fd < 0)
        return err_set(err, ERR_USAGE, "wire_api is replay, but no replay file was handed over");
    replay_open(gateway->loop, options->config, options->replay_fd, provider);
    return 0;
}

static int open_model(struct gateway *gateway, struct err *err)
{
    const struct gateway_options *options = &gateway->options;
    struct provider provider;
    if (!options->config->wire)
        return 0;
    int status = open_provider(gateway, &provider, err);
    if (status == 0)
        gateway->model = model_new(gateway->loop, options->config, &gateway->budget, &provider,
                                   options->trouble, options->arg);
    return status;
}

static int open_parts(struct gateway *gateway, struct err *err)
{
    const struct gateway_options *options = &gateway->options;
    gateway->events = event_file_new(options->events_fd, on_events_failed, gateway, err);
    if (!gateway->events)
        return err->code;
    gateway->streams = streams_new(gateway->loop, gateway->events, on_stream_ended, gateway);
    budget_init(&gateway->budget, options->config, gateway->events);
    gateway->record = record_new(gateway->loop, gateway->events);
    gateway->proxy = proxy_new(gateway->loop, &options->config->internet, gateway->record,
                               options->config->repository_narrows);
    int status = open_model(gateway, err);
    if (status < 0)
        return status;
    gateway->control =
        loop_add_fd(gateway->loop, options->control_fd, EPOLLIN, on_control, gateway, err);
    return gateway->control ? 0 : err_context(err, "the control socket");
}

struct gateway *gateway_new(struct loop *loop, const struct gateway_options *options,
                            struct err *err)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway)
        abort();
    gateway->loop = loop;
    gateway->options = *options;
    if (open_parts(gateway, err) == 0)
        return gateway;
    gateway_free(gateway);
    return NULL;
}

int gateway_run(struct gateway *gateway, struct err *err)
{
    int status = gateway->ended ? gateway->status : loop_run(gateway->loop, &gateway->err);
    if (status < 0)
        status = GATEWAY_EXIT_INTERNAL;
    if (status == GATEWAY_EXIT_DONE) {
        streams_stop_all(gateway->streams);
        record_flush(gateway->record, gateway->budget.phase);
        status = gateway->status; /* the event file may have failed only now */
    }
    *err = gateway->err;
    return status;
}

void gateway_free(struct gateway *gateway)
{
    if (!gateway)
        return;
    loop_remove(gateway->control);
    model_free(gateway->model);
    proxy_free(gateway->proxy);
    record_free(gateway->record);
    streams_free(gateway->streams);
    event_file_free(gateway->events);
    free(gateway);
}
