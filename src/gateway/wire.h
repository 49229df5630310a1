/* The wires that a provider may speak: what of a request and its answer the gateway must know. */
#ifndef CODEX_GATEWAY_WIRE_H
#define CODEX_GATEWAY_WIRE_H

#include "http/message.h"

enum wire_kind { WIRE_RESPONSES, WIRE_CHAT, WIRE_MESSAGES };

enum { WIRE_PASSED_MAX = 4 };

struct wire {
    enum wire_kind kind;
    const char *name; /* its `wire_api` */
    const char *path; /* behind base_url, and behind /v1 in the sandbox */
    const char *root; /* what base_url gets at its end when it lacks it; NULL: nothing */
    const char *passed[WIRE_PASSED_MAX]; /* headers that the sandbox may tell the provider */
    struct http_header fixed; /* sent when neither the sandbox nor the configuration has it; a NULL
                                 name: none */
    const char *key_header, *key_prefix; /* how the provider wants its key */
};

/* NULL when there is none of that name. */
const struct wire *wire_find(const char *name);

#endif
