#include "gateway/upstream_headers.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static void add(struct curl_slist **list, const char *name, const char *prefix, const char *value)
{
    char *line = str_format("%s: %s%s", name, prefix, value);
    *list = curl_slist_append(*list, line);
    if (!*list)
        abort();
    explicit_bzero(line, strlen(line)); /* it may hold the key */
    free(line);
}

/* Unless the configuration has one of that name: it goes first. */
static void add_default(struct curl_slist **list, const struct gateway_config *config,
                        const char *name, const char *prefix, const char *value)
{
    if (!gateway_config_has_header(config, name))
        add(list, name, prefix, value);
}

struct curl_slist *upstream_headers(const struct gateway_config *config, const struct call *call)
{
    const struct wire *wire = config->wire;
    const struct http_header *headers;
    size_t count = call_headers(call, &headers);
    bool has_fixed = !wire->fixed.name;
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    add(&list, "Content-Type", "", "application/json");
    if (call_body_length(call) < 0)
        add(&list, "Transfer-Encoding", "", "chunked");
    for (size_t i = 0; i < count; i++) {
        add_default(&list, config, headers[i].name, "", headers[i].value);
        has_fixed |= wire->fixed.name && !strcmp(wire->fixed.name, headers[i].name);
    }
    if (!has_fixed)
        add_default(&list, config, wire->fixed.name, "", wire->fixed.value);
    if (config->key)
        add_default(&list, config, wire->key_header, wire->key_prefix, config->key);
    for (size_t i = 0; i < config->headers_count; i++)
        add(&list, config->headers[i].name, "", config->headers[i].value);
    return list;
}
