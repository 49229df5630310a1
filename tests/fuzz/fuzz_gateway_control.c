/*
 * Messages on a gateway's control socket: what is taken has the shape that its type demands, and
 * no descriptor is left behind. Input: a byte with the number of descriptors that come along, and
 * the message.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "gateway/control.h"
#include "task/phase.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static int ends[2] = {-1, -1};
static int given[IO_MAX_FDS];

static int next_free(void)
{
    int fd = dup(0);
    require(fd >= 0);
    close(fd);
    return fd;
}

static void open_all(void)
{
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    for (size_t i = 0; i < IO_MAX_FDS; i++)
        require((given[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
}

static void check(const struct control_message *message, size_t size, size_t fds)
{
    const struct gateway_control *head = &message->head;
    bool wants_fd = head->type == GATEWAY_LISTEN || head->type == GATEWAY_STREAM;
    require(head->type >= GATEWAY_LISTEN && head->type <= GATEWAY_NARROW);
    require(size == sizeof *head + head->payload_size);
    require(message->payload[head->payload_size] == '\0');
    require(head->phase < PHASE_COUNT && head->outcome < RUN_OUTCOME_COUNT &&
            head->fault < FAULT_COUNT);
    bool listens = head->type == GATEWAY_LISTEN || head->type == GATEWAY_UNLISTEN;
    require(listens ? head->kind < GATEWAY_LISTENER_COUNT : head->kind <= GATEWAY_STREAM_EVENTS);
    require(wants_fd == (message->fd >= 0) && wants_fd == fds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct control_message message;
    if (ends[0] < 0)
        open_all();
    if (size < 2 || size > sizeof message.head + GATEWAY_PAYLOAD_MAX + 100)
        return 0;
    size_t fds = data[0] % (IO_MAX_FDS + 1);
    int first_free = next_free();
    struct err err = {0};
    require(io_send_fds(ends[0], data + 1, size - 1, given, fds, &err) == 0);
    memset(&message, 0xff, sizeof message);
    int n = control_receive(ends[1], &message, &err);
    if (n > 0) {
        check(&message, size - 1, fds);
        if (message.fd >= 0)
            close(message.fd);
    }
    require(n != 0 && next_free() == first_free);
    return 0;
}
