/* The beginning of a TLS connection (RFC 8446, 4.1.2): whom the client asks for. */
#ifndef CODEX_GATEWAY_EGRESS_TLS_HELLO_H
#define CODEX_GATEWAY_EGRESS_TLS_HELLO_H

#include <stddef.h>

#include "base/net_host.h"

enum tls_hello {
    TLS_HELLO_UNFINISHED, /* more is to come */
    TLS_HELLO_SAME,       /* it asks for the host, or, of a host that is an address, for none */
    TLS_HELLO_OTHER,      /* for another, or none */
    TLS_HELLO_HIDDEN,     /* for one that is encrypted (ECH) */
    TLS_HELLO_NONE,       /* this is no TLS */
};

/* Longer greetings count as none. */
enum { TLS_HELLO_MAX = 16384 };

enum tls_hello tls_hello_read(const void *bytes, size_t len, const struct net_host *host);

/* What a client is told: alert 49, access_denied. */
enum { TLS_ALERT_SIZE = 7 };
extern const unsigned char tls_alert_denied[TLS_ALERT_SIZE];

#endif
