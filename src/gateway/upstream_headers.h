/* The headers of a request to the provider. */
#ifndef CODEX_GATEWAY_UPSTREAM_HEADERS_H
#define CODEX_GATEWAY_UPSTREAM_HEADERS_H

#include <curl/curl.h>

#include "gateway/config.h"
#include "gateway/provider.h"

/* For CALL: what a request has anyway, what the sandbox may say, the wire's own, the key, and the
 * configuration's, which take the place of any of their name. The caller frees the list. */
struct curl_slist *upstream_headers(const struct gateway_config *config, const struct call *call);

#endif
