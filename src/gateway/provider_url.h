/* A provider's base_url, taken apart. */
#ifndef CODEX_GATEWAY_PROVIDER_URL_H
#define CODEX_GATEWAY_PROVIDER_URL_H

#include <stdbool.h>

#include "base/err.h"
#include "gateway/config.h"

struct provider_url {
    char *target;      /* what is asked: base_url, the wire's path, the parameters */
    char *host, *port; /* the host is without brackets only when it is a name or IPv4 */
    bool is_literal;   /* the host is an address: nothing to resolve */
};

/* CONFIG's. ERR_USAGE when its base_url is anything but http(s)://HOST[:PORT][/PATH]. */
int provider_url_parse(struct provider_url *url, const struct gateway_config *config,
                       struct err *err);
void provider_url_release(struct provider_url *url);

#endif
