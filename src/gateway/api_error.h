/*
 * The gateway's own answers to a request that it does not pass on, or could not: in a shape
 * that clients of every wire understand, {"type":"error","error":{"message","type","param",
 * "code"}}. docs/protocols.md lists the codes.
 */
#ifndef CODEX_GATEWAY_API_ERROR_H
#define CODEX_GATEWAY_API_ERROR_H

#include "base/buf.h"

enum api_error {
    API_BAD_REQUEST,
    API_WRONG_KEY,
    API_WRONG_MODEL,
    API_NOT_FOUND,
    API_TOO_LARGE,
    API_TOO_MANY,
    API_BUDGET_EXCEEDED,
    API_PROVIDER_UNREACHABLE,
    API_PROVIDER_TIMEOUT,
    API_REPLAY_ENDED,
    API_BAD_REPLAY,
    API_ERROR_COUNT,
};

/* The HTTP status of ERROR. */
int api_error_status(enum api_error error);

/* The body of the answer, appended to OUT. MESSAGE is one sentence for a person. */
void api_error_body(enum api_error error, const char *message, struct buf *out);

#endif
