#include "gateway/egress/record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/str.h"

static const int64_t wait_max_ms = 3600 * 1000;

/* One place and reason. */
struct denied {
    char *host, *message;
    uint16_t port;
    enum egress_verdict verdict;
    char address[NET_ADDRESS_SIZE]; /* "": does not matter */
    uint64_t waiting;               /* since the last event */
    int64_t wait_ms, due_ms;        /* the next one is not before */
};

struct used {
    char *host;
    uint16_t port;
    uint64_t connections, sent_bytes, received_bytes;
};

struct record {
    struct loop *loop;
    struct event_file *events;
    uint32_t phase;
    struct denied *denied[RECORD_DENIED_MAX];
    size_t denied_count;
    uint64_t denied_others;
    struct used *used[RECORD_USED_MAX];
    size_t used_count;
    struct used used_others;
    bool full_told; /* in this phase */
    struct loop_source *timer;
};

struct record *record_new(struct loop *loop, struct event_file *events)
{
    struct record *record = calloc(1, sizeof *record);
    if (!record)
        abort();
    record->loop = loop;
    record->events = events;
    return record;
}

void record_connections_full(struct record *record, unsigned count)
{
    if (!record->full_told)
        event_limit_hit(record->events, record->phase, "connections", count);
    record->full_told = true;
}

/* ---- denied */

static void write_denied(struct record *record, struct denied *denied)
{
    struct buf *line = event_begin(record->events, "network.denied", record->phase);
    buf_append_str(line, ",\"host\":");
    json_text_cstring(line, denied->host);
    buf_appendf(line, ",\"port\":%u,\"reason\":\"%s\",\"message\":", denied->port,
                egress_verdict_name(denied->verdict));
    json_text_cstring(line, denied->message);
    if (*denied->address)
        buf_appendf(line, ",\"address\":\"%s\"", denied->address);
    buf_appendf(line, ",\"count\":%" PRIu64, denied->waiting);
    event_end(record->events);
    denied->waiting = 0;
    denied->due_ms = clock_mono_ms() + denied->wait_ms;
    denied->wait_ms = denied->wait_ms * 2 < wait_max_ms ? denied->wait_ms * 2 : wait_max_ms;
}

static void on_timer(void *arg);

/* Set the timer for the first event that is due. */
static void wait_for_due(struct record *record)
{
    int64_t due_ms = INT64_MAX, now_ms = clock_mono_ms();
    for (size_t i = 0; i < record->denied_count; i++)
        if (record->denied[i]->waiting && record->denied[i]->due_ms < due_ms)
            due_ms = record->denied[i]->due_ms;
    loop_remove(record->timer);
    record->timer = NULL;
    if (due_ms < INT64_MAX)
        record->timer =
            loop_add_timer(record->loop, due_ms > now_ms ? due_ms - now_ms : 0, on_timer, record);
}

static void on_timer(void *arg)
{
    struct record *record = arg;
    record->timer = NULL;
    for (size_t i = 0; i < record->denied_count; i++)
        if (record->denied[i]->waiting && record->denied[i]->due_ms <= clock_mono_ms())
            write_denied(record, record->denied[i]);
    wait_for_due(record);
}

static struct denied *find_denied(struct record *record, const char *host, uint16_t port,
                                  enum egress_verdict verdict)
{
    for (size_t i = 0; i < record->denied_count; i++) {
        struct denied *denied = record->denied[i];
        if (denied->port == port && denied->verdict == verdict && !strcmp(denied->host, host))
            return denied;
    }
    return NULL;
}

void record_denied(struct record *record, const struct net_host *host, uint16_t port,
                   enum egress_verdict verdict, const struct net_address *address,
                   const char *message)
{
    struct denied *denied = find_denied(record, host->text, port, verdict);
    if (!denied && record->denied_count == RECORD_DENIED_MAX) {
        record->denied_others++;
        return;
    }
    if (!denied) {
        denied = calloc(1, sizeof *denied);
        if (!denied)
            abort();
        *denied = (struct denied){.host = str_dup(host->text),
                                  .message = str_dup(message),
                                  .port = port,
                                  .verdict = verdict,
                                  .wait_ms = RECORD_FIRST_WAIT_MS};
        if (address)
            net_address_text(address, denied->address);
        record->denied[record->denied_count++] = denied;
    }
    denied->waiting++;
    if (denied->due_ms <= clock_mono_ms())
        write_denied(record, denied);
    else if (!record->timer)
        wait_for_due(record);
}

static void flush_denied(struct record *record)
{
    for (size_t i = 0; i < record->denied_count; i++)
        if (record->denied[i]->waiting)
            write_denied(record, record->denied[i]);
    if (record->denied_others) {
        struct buf *line = event_begin(record->events, "network.denied", record->phase);
        buf_appendf(line,
                    ",\"host\":null,\"port\":null,\"reason\":\"others\",\"message\":"
                    "\"requests to more than %d places were refused\",\"count\":%" PRIu64,
                    RECORD_DENIED_MAX, record->denied_others);
        event_end(record->events);
        record->denied_others = 0;
    }
    wait_for_due(record);
}

/* ---- used */

static struct used *find_used(struct record *record, const char *host, uint16_t port)
{
    for (size_t i = 0; i < record->used_count; i++)
        if (record->used[i]->port == port && !strcmp(record->used[i]->host, host))
            return record->used[i];
    if (record->used_count == RECORD_USED_MAX)
        return &record->used_others;
    struct used *used = calloc(1, sizeof *used);
    if (!used)
        abort();
    *used = (struct used){.host = str_dup(host), .port = port};
    return record->used[record->used_count++] = used;
}

void record_used(struct record *record, const struct net_host *host, uint16_t port,
                 uint64_t sent_bytes, uint64_t received_bytes)
{
    struct used *used = find_used(record, host->text, port);
    used->connections++;
    used->sent_bytes += sent_bytes;
    used->received_bytes += received_bytes;
}

static void append_used(struct buf *line, const struct used *used)
{
    json_text_cstring(line, used->host);
    buf_appendf(line,
                ",\"port\":%u,\"connections\":%" PRIu64 ",\"sent_bytes\":%" PRIu64
                ",\"received_bytes\":%" PRIu64 "}",
                used->port, used->connections, used->sent_bytes, used->received_bytes);
}

static void forget_used(struct record *record)
{
    for (size_t i = 0; i < record->used_count; i++) {
        free(record->used[i]->host);
        free(record->used[i]);
    }
    record->used_count = 0;
    record->used_others = (struct used){0};
}

static void flush_used(struct record *record)
{
    if (!record->used_count)
        return;
    struct buf *line = event_begin(record->events, "network.used", record->phase);
    buf_append_str(line, ",\"hosts\":[");
    for (size_t i = 0; i < record->used_count; i++) {
        buf_append_str(line, i ? ",{\"host\":" : "{\"host\":");
        append_used(line, record->used[i]);
    }
    if (record->used_others.connections) {
        buf_append_str(line, ",{\"host\":");
        append_used(line, &record->used_others); /* its host is null */
    }
    buf_append_char(line, ']');
    event_end(record->events);
    forget_used(record);
}

void record_flush(struct record *record, uint32_t phase)
{
    flush_denied(record);
    flush_used(record);
    record->full_told = false;
    record->phase = phase;
}

void record_free(struct record *record)
{
    if (!record)
        return;
    loop_remove(record->timer);
    forget_used(record);
    for (size_t i = 0; i < record->denied_count; i++) {
        free(record->denied[i]->host);
        free(record->denied[i]->message);
        free(record->denied[i]);
    }
    free(record);
}
