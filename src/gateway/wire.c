#include "gateway/wire.h"

#include <string.h>

static const struct wire wires[] = {
    {.kind = WIRE_RESPONSES,
     .name = "responses",
     .path = "/responses",
     .passed = {"Accept", "OpenAI-Beta"},
     .key_header = "Authorization",
     .key_prefix = "Bearer "},
    {.kind = WIRE_CHAT,
     .name = "chat",
     .path = "/chat/completions",
     .passed = {"Accept", "OpenAI-Beta"},
     .key_header = "Authorization",
     .key_prefix = "Bearer "},
    /* Clients of this API are told its address with or without /v1; all servers have it there. */
    {.kind = WIRE_MESSAGES,
     .name = "messages",
     .path = "/messages",
     .root = "/v1",
     .passed = {"Accept", "anthropic-version", "anthropic-beta"},
     .fixed = {"anthropic-version", "2023-06-01"},
     .key_header = "x-api-key",
     .key_prefix = ""},
};

const struct wire *wire_find(const char *name)
{
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++)
        if (!strcmp(name, wires[i].name))
            return &wires[i];
    return NULL;
}
