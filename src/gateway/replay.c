#include "gateway/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/replay_answer.h"
#include "gateway/replay_file.h"

enum {
    READ_SIZE = 16384,
    PIECE_BYTES = 16384,         /* of an answer, given to the client at once */
    EVENT_MAX_BYTES = 128 << 20, /* a recorded line, escaped: more is impossible */
};

struct replay {
    struct loop *loop;
    const struct gateway_config *config;
    int fd;
    bool loaded;
    struct replay_file file;
};

struct transfer {
    struct replay *replay;
    struct call *call;
    struct loop_source *timer;
    bool answering;
    struct replay_answer answer;
    struct buf event; /* the one that is on its way */
    size_t event_sent;
    bool last;
};

static void transfer_free(struct transfer *transfer)
{
    loop_remove(transfer->timer);
    replay_answer_release(&transfer->answer);
    buf_release(&transfer->event);
    free(transfer);
}

static void fail(struct transfer *transfer, enum api_error error, const char *message)
{
    struct call *call = transfer->call;
    transfer_free(transfer);
    call_fail(call, error, message);
}

/* Make the next event. Returns false when there is none left. */
static bool next_event(struct transfer *transfer)
{
    buf_release(&transfer->event);
    transfer->event_sent = 0;
    if (transfer->last)
        return false;
    if (call_wants_stream(transfer->call))
        return replay_answer_next(&transfer->answer, &transfer->event);
    replay_answer_whole(&transfer->answer, &transfer->event);
    transfer->last = true;
    return true;
}

/* Say as much as the client takes. */
static void talk(struct transfer *transfer)
{
    for (;;) {
        size_t left = transfer->event.len - transfer->event_sent;
        if (left == 0) {
            if (next_event(transfer))
                continue;
            struct call *call = transfer->call;
            transfer_free(transfer);
            call_end(call);
            return;
        }
        size_t n = left < PIECE_BYTES ? left : PIECE_BYTES;
        if (!call_data(transfer->call, transfer->event.data + transfer->event_sent, n))
            return; /* replay_writable() goes on */
        transfer->event_sent += n;
    }
}

static void begin_answer(struct transfer *transfer)
{
    struct replay *replay = transfer->replay;
    struct err err;
    if (!replay->loaded && replay_file_load(&replay->file, replay->fd, &err) < 0) {
        fail(transfer, API_BAD_REPLAY, err.message);
        return;
    }
    replay->loaded = true;
    int turn = call_turn(transfer->call);
    if ((size_t)turn > replay->file.turns_count) {
        char message[128];
        snprintf(message, sizeof message, "the recording has %zu turns, and turn %d was asked for",
                 replay->file.turns_count, turn);
        fail(transfer, API_REPLAY_ENDED, message);
        return;
    }
    json_t *recorded = replay_file_turn(&replay->file, turn, &err);
    if (!recorded) {
        fail(transfer, API_BAD_REPLAY, err.message);
        return;
    }
    replay_answer_init(&transfer->answer, replay->config->model, turn, recorded);
    transfer->answering = true;
    struct http_header type = {"Content-Type", call_wants_stream(transfer->call)
                                                   ? "text/event-stream; charset=utf-8"
                                                   : "application/json"};
    call_head(transfer->call, 200, &type, 1);
    talk(transfer);
}

/* Read the request to its end: the last of it may name the turn. */
static void read_request(struct transfer *transfer)
{
    char unused[READ_SIZE];
    ssize_t n;
    do
        n = call_read(transfer->call, unused, sizeof unused);
    while (n > 0);
    if (n == -EAGAIN)
        return;
    if (n < 0)
        fail(transfer, API_BAD_REQUEST, "");
    else
        begin_answer(transfer);
}

static void on_started(void *arg)
{
    struct transfer *transfer = arg;
    transfer->timer = NULL;
    read_request(transfer);
}

static void *replay_start(void *state, struct call *call)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        abort();
    *transfer = (struct transfer){.replay = state, .call = call};
    buf_init(&transfer->event, EVENT_MAX_BYTES);
    /* A call must not end while it starts. */
    transfer->timer = loop_add_timer(transfer->replay->loop, 0, on_started, transfer);
    return transfer;
}

static void replay_body(void *arg)
{
    struct transfer *transfer = arg;
    if (!transfer->timer && !transfer->answering)
        read_request(transfer);
}

static void replay_writable(void *arg)
{
    struct transfer *transfer = arg;
    if (transfer->answering)
        talk(transfer);
}

static void replay_cancel(void *arg)
{
    transfer_free(arg);
}

static void replay_free(void *state)
{
    struct replay *replay = state;
    replay_file_release(&replay->file);
    free(replay);
}

void replay_open(struct loop *loop, const struct gateway_config *config, int fd,
                 struct provider *out)
{
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        abort();
    *replay = (struct replay){.loop = loop, .config = config, .fd = fd};
    *out = (struct provider){replay,          replay_start,  replay_body,
                             replay_writable, replay_cancel, replay_free};
}
