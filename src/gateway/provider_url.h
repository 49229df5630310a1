/* A provider's base_url, taken apart. */
#ifndef CODEX_GATEWAY_PROVIDER_URL_H
#define CODEX_GATEWAY_PROVIDER_URL_H

#include <stdbool.h>

#include "base/err.h"

struct provider_url {
    char *responses;   /* what is asked: base_url and "/responses" */
    char *host, *port; /* the host is without brackets only when it is a name or IPv4 */
    bool is_literal;   /* the host is an address: nothing to resolve */
};

/* ERR_USAGE for anything but http(s)://HOST[:PORT][/PATH]. BASE_URL has no slash at its end. */
int provider_url_parse(struct provider_url *url, const char *base_url, struct err *err);
void provider_url_release(struct provider_url *url);

#endif
