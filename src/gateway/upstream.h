/*
 * The real provider: calls are passed on to base_url by libcurl, with the real key, and answers are
 * passed back as they come. Nothing of a request but its body and the headers that call.h lets
 * through goes out; only what a client of the API needs comes back. Redirects are not followed,
 * proxies of the environment are not used, certificates are checked, and the connection goes to an
 * address that c-ares found.
 *
 * Certificates: /etc/ssl/certs, or what SSL_CERT_FILE and SSL_CERT_DIR name, as in OpenSSL.
 */
#ifndef CODEX_GATEWAY_UPSTREAM_H
#define CODEX_GATEWAY_UPSTREAM_H

#include "gateway/config.h"
#include "gateway/provider.h"
#include "loop/loop.h"

/* CONFIG stays. ERR_USAGE for a base_url that cannot be used. */
int upstream_open(struct loop *loop, const struct gateway_config *config, struct provider *out,
                  struct err *err);

#endif
