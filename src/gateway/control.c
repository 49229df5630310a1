#include "gateway/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "task/phase.h"

/* What a message of each type must have. */
static const struct {
    bool known, has_fd;
} shapes[] = {
    [GATEWAY_LISTEN] = {true, true},
    [GATEWAY_PHASE_STARTED] = {true, false},
    [GATEWAY_PHASE_COMPLETED] = {true, false},
    [GATEWAY_STREAM] = {true, true},
    [GATEWAY_STREAM_STOP] = {true, false},
    [GATEWAY_LIMIT_HIT] = {true, false},
    [GATEWAY_NOTE] = {true, false},
    [GATEWAY_RUN_ENDED] = {true, false},
    [GATEWAY_UNLISTEN] = {true, false},
    [GATEWAY_NARROW] = {true, false},
};

/* What a message's kind can be depends on what it is about. */
static bool is_kind(uint32_t type, uint32_t kind)
{
    bool listens = type == GATEWAY_LISTEN || type == GATEWAY_UNLISTEN;
    return listens ? kind < GATEWAY_LISTENER_COUNT : kind <= GATEWAY_STREAM_EVENTS;
}

static bool is_valid(const struct control_message *message, size_t size, size_t fds_count)
{
    const struct gateway_control *head = &message->head;
    if (size < sizeof *head || size - sizeof *head != head->payload_size ||
        head->payload_size > GATEWAY_PAYLOAD_MAX)
        return false;
    if (head->type >= sizeof shapes / sizeof shapes[0] || !shapes[head->type].known ||
        fds_count != shapes[head->type].has_fd)
        return false;
    return head->phase < PHASE_COUNT && head->outcome < RUN_OUTCOME_COUNT &&
           head->fault < FAULT_COUNT && is_kind(head->type, head->kind);
}

int control_receive(int sock, struct control_message *message, struct err *err)
{
    /* The head and the payload lie one behind the other, as they are sent. */
    _Static_assert(offsetof(struct control_message, payload) == sizeof(struct gateway_control),
                   "no gap between head and payload");
    int fds[IO_MAX_FDS];
    size_t count;
    message->fd = -1;
    ssize_t n =
        io_recv_fds(sock, message, sizeof message->head + GATEWAY_PAYLOAD_MAX, fds, &count, err);
    if (n == 0 || n == -ECONNRESET)
        return 0;
    if (n < 0)
        return (int)n;
    if (!is_valid(message, (size_t)n, count)) {
        while (count)
            close(fds[--count]);
        return err_set(err, ERR_PROTOCOL, "a malformed message from the runner");
    }
    message->payload[message->head.payload_size] = '\0';
    if (count)
        message->fd = fds[0];
    return 1;
}

int control_send(int sock, const struct gateway_control *answer, struct err *err)
{
    int status = io_send_fds(sock, answer, sizeof *answer, NULL, 0, err);
    return status == -EPIPE || status == -ECONNRESET ? 0 : status;
}
