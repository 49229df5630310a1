/*
 * A host as a client names it: a DNS name or an address, in one canonical form that is both matched
 * and dialled, so that a rule cannot be passed by another spelling.
 */
#ifndef CODEX_BASE_NET_HOST_H
#define CODEX_BASE_NET_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/net_address.h"

enum { NET_HOST_SIZE = 254 }; /* a name of 253 bytes, RFC 1035 */

struct net_host {
    char text[NET_HOST_SIZE]; /* lower case; an address as inet_ntop() writes it, no brackets */
    bool is_address;
    struct net_address address;
};

/* LEN bytes: labels of [a-z0-9_-] without a dot at the end, or an address (IPv6 without brackets).
 * ERR_USAGE, with ERR saying why. Nothing else passes: no NUL, %, user, non-ASCII. */
int net_host_parse(struct net_host *host, const char *bytes, size_t len, struct err *err);

/* "host", "host:port", "[v6]:port". *PORT is 0 when there is none. */
int net_host_parse_authority(struct net_host *host, uint16_t *port, const char *bytes, size_t len,
                             struct err *err);

#endif
