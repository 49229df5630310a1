#include "gateway/egress/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "gateway/egress/proxy.h"

void flow_init(struct flow *flow, int from, int to, size_t max)
{
    *flow = (struct flow){.from = from, .to = to, .shuts = true};
    buf_init(&flow->out, max);
}

void flow_release(struct flow *flow)
{
    buf_release(&flow->out);
}

bool flow_reads(const struct flow *flow)
{
    return !flow->ended && !flow_writes(flow);
}

bool flow_writes(const struct flow *flow)
{
    return flow->out_sent < flow->out.len;
}

/* Returns how many of the bytes TO took, or -1. */
static ssize_t send_some(const struct flow *flow, const char *bytes, size_t len)
{
    ssize_t n = send(flow->to, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int write_out(struct flow *flow)
{
    ssize_t n = send_some(flow, flow->out.data + flow->out_sent, flow->out.len - flow->out_sent);
    if (n < 0)
        return FLOW_BROKEN_WRITE;
    flow->out_sent += (size_t)n;
    if (flow->out_sent == flow->out.len) { /* most connections wait most of the time */
        buf_release(&flow->out);
        flow->out_sent = 0;
    }
    return n > 0;
}

/* Straight on, as far as it goes; the rest is kept. */
static int pass_on(struct flow *flow, const char *bytes, size_t len)
{
    if (flow->filter) {
        int status = flow->filter(flow->arg, bytes, len, &flow->out);
        flow->ended |= status != 0;
        if (status < 0)
            return FLOW_BROKEN_READ;
        return flow_writes(flow) && write_out(flow) < 0 ? FLOW_BROKEN_WRITE : 1;
    }
    ssize_t n = send_some(flow, bytes, len);
    if (n < 0)
        return FLOW_BROKEN_WRITE;
    if (buf_append(&flow->out, bytes + n, len - (size_t)n) < 0)
        abort(); /* it holds a piece */
    return 1;
}

static int read_piece(struct flow *flow)
{
    static char piece[PROXY_PIECE_MAX]; /* there is one thread */
    ssize_t n = recv(flow->from, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : FLOW_BROKEN_READ;
    flow->bytes += (uint64_t)n;
    if (n == 0)
        flow->ended = true;
    if (n == 0 && !flow->filter)
        return 1;
    return pass_on(flow, piece, (size_t)n);
}

int flow_move(struct flow *flow)
{
    int moved = 0;
    if (flow_writes(flow))
        moved = write_out(flow);
    if (moved >= 0 && flow_reads(flow)) {
        int status = read_piece(flow);
        moved = status < 0 ? status : moved | status;
    }
    if (moved >= 0 && flow->ended && !flow_writes(flow) && !flow->finished) {
        if (flow->shuts)
            shutdown(flow->to, SHUT_WR);
        flow->finished = true;
    }
    return moved;
}
