/* Messages of task/gateway_control.h on the control socket, checked. */
#ifndef CODEX_GATEWAY_CONTROL_H
#define CODEX_GATEWAY_CONTROL_H

#include "base/err.h"
#include "task/gateway_control.h"

struct control_message {
    struct gateway_control head;
    char payload[GATEWAY_PAYLOAD_MAX + 1]; /* head.payload_size bytes and a NUL */
    int fd; /* of LISTEN and STREAM, the caller's from here on; else -1 */
};

/* Wait for the next message. Returns 1, 0 when the runner has closed the socket, or negative:
 * ERR_PROTOCOL for what is no message to a gateway. */
int control_receive(int sock, struct control_message *message, struct err *err);

/* Send an answer: its type, and what belongs to that. A runner that is gone is no error. */
int control_send(int sock, const struct gateway_control *answer, struct err *err);

#endif
