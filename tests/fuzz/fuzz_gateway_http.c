/*
 * The model listener as a whole: server, key, request check and calls, with a provider that notes
 * what reaches it. Input: a byte with the size of the client's writes, and what the client sends.
 *
 * What must hold: a body that reaches the provider whole is one that another parser (jansson) reads
 * as an object whose only `model`, in any spelling, is the configured one; and when the client has
 * gone, no call is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "gateway/model.h"

enum { INPUT_MAX = 1 << 16 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* ---- the provider */

struct transfer {
    struct call *call;
    struct loop_source *timer;
    struct buf body;
};

static struct loop *loop;
static unsigned open_transfers;

static void check_body(const struct buf *body)
{
    json_error_t why;
    json_t *root = json_loadb(body->data, body->len, JSON_ALLOW_NUL, &why);
    if (!root) /* a lone surrogate and a number too large are JSON, but not jansson's */
        return;
    require(json_is_object(root));
    const char *name;
    json_t *value;
    unsigned models = 0;
    json_object_foreach(root, name, value)
        if (!strcasecmp(name, "model")) {
            require(!strcmp(name, "model"));
            require(json_is_string(value) && !strcmp(json_string_value(value), "m"));
            models++;
        }
    require(models == 1);
    json_decref(root);
}

static void transfer_free(struct transfer *transfer)
{
    loop_remove(transfer->timer);
    buf_release(&transfer->body);
    free(transfer);
    open_transfers--;
}

static void answer(struct transfer *transfer)
{
    struct call *call = transfer->call;
    struct http_header type = {"Content-Type", "text/event-stream"};
    check_body(&transfer->body);
    call_head(call, 200, &type, 1);
    call_data(call, "data: {}\n\n", 10);
    transfer_free(transfer);
    call_end(call);
}

static void read_on(struct transfer *transfer)
{
    char piece[100];
    ssize_t n;
    while ((n = call_read(transfer->call, piece, sizeof piece)) > 0)
        buf_append(&transfer->body, piece, (size_t)n);
    if (n == -EAGAIN)
        return;
    if (n == 0) {
        answer(transfer);
        return;
    }
    struct call *call = transfer->call;
    transfer_free(transfer);
    call_fail(call, API_PROVIDER_UNREACHABLE, "refused");
}

static void on_timer(void *arg)
{
    struct transfer *transfer = arg;
    transfer->timer = NULL;
    read_on(transfer);
}

static void *provider_start(void *state, struct call *call)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    require(transfer);
    transfer->call = call;
    buf_init(&transfer->body, INPUT_MAX);
    transfer->timer = loop_add_timer(loop, 0, on_timer, transfer);
    open_transfers++;
    return transfer;
}

static void provider_body(void *arg)
{
    struct transfer *transfer = arg;
    if (!transfer->timer)
        read_on(transfer);
}

static void provider_writable(void *arg)
{
}

static void provider_cancel(void *arg)
{
    transfer_free(arg);
}

static void provider_free(void *state)
{
}

static void on_trouble(void *arg, const char *message)
{
}

/* ---- the client */

static struct {
    struct sockaddr_storage address;
    socklen_t len;
} place;

static void on_events_failed(void *arg, const struct err *err)
{
    abort();
}

static void open_model(void)
{
    static struct gateway_config config = {
        .task = "task-fuzz01", .key = "real", .model = "m", .sandbox_key = "kkkkkkkkkkkkkkkk"};
    config.wire = wire_find("responses");
    static struct budget budget;
    static const struct provider provider = {
        NULL, provider_start, provider_body, provider_writable, provider_cancel, provider_free};
    struct err err;
    loop = loop_new(&err);
    struct event_file *events =
        event_file_new(open("/dev/null", O_WRONLY | O_CLOEXEC), on_events_failed, NULL, &err);
    require(loop && events);
    budget_init(&budget, &config, events);
    struct model *model = model_new(loop, &config, &budget, &provider, on_trouble, NULL);
    /* A Unix socket at an address of the kernel's choice: TCP would run out of ports. */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    place.address.ss_family = AF_UNIX;
    require(bind(listener, (struct sockaddr *)&place.address, sizeof(sa_family_t)) == 0);
    place.len = sizeof place.address;
    require(getsockname(listener, (struct sockaddr *)&place.address, &place.len) == 0);
    require(listen(listener, 16) == 0 && model_listen(model, listener, &err) == 0);
}

/* Take what the server says, so that it is never held up. */
static void drain(int fd)
{
    char answer_bytes[4096];
    while (recv(fd, answer_bytes, sizeof answer_bytes, MSG_DONTWAIT) > 0)
        ;
}

static void rounds(int fd, int count)
{
    for (int i = 0; i < count; i++) {
        require(loop_run_once(loop, 0, NULL) == 0);
        if (fd >= 0)
            drain(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop)
        open_model();
    if (size < 2 || size > INPUT_MAX)
        return 0;
    size_t step = data[0] ? data[0] * (size_t)4 : 65536;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(connect(fd, (struct sockaddr *)&place.address, place.len) == 0);
    for (size_t at = 1; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        if (send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        rounds(fd, 2);
    }
    rounds(fd, 4);
    close(fd);
    rounds(-1, 4);
    require(open_transfers == 0);
    return 0;
}
