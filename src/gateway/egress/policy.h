/*
 * What of the internet a run may reach: `internet` of gateway.json (docs/protocols.md), which codexd
 * makes from its configuration; and what the repository makes of it, which can only be less: each
 * host and port has to pass both.
 */
#ifndef CODEX_GATEWAY_EGRESS_POLICY_H
#define CODEX_GATEWAY_EGRESS_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/net_host.h"
#include "base/net_rule.h"

enum egress_access {
    EGRESS_OFF,    /* nothing */
    EGRESS_COMMON, /* the hosts of common.txt, and `allow` */
    EGRESS_LIST,   /* `allow` */
    EGRESS_PUBLIC, /* every host with a public address; `allow` adds ports */
};

/* Why a program is refused. */
enum egress_verdict {
    EGRESS_ALLOWED,
    EGRESS_DENIED_ACCESS,     /* the internet is off */
    EGRESS_DENIED_HOST,       /* not on the list */
    EGRESS_DENIED_PORT,       /* of an allowed host */
    EGRESS_DENIED_PRIVATE,    /* where it leads is no public address */
    EGRESS_DENIED_OWN,        /* where it leads is this machine */
    EGRESS_DENIED_TLS,        /* the tunnel's TLS asks for another host, or is none */
    EGRESS_DENIED_REPOSITORY, /* allowed here, and not by the repository */
    EGRESS_VERDICT_COUNT,
};

enum { EGRESS_RULES_MAX = 512, EGRESS_RESOLVER_SIZE = 64 };

struct egress_rules {
    struct net_rule *rules;
    size_t count;
};

struct egress_limits {
    int64_t head_ms;    /* from the connection to the end of its request */
    int64_t connect_ms; /* finding the address and connecting to it */
    int64_t hello_ms;   /* the TLS greeting of a tunnel that is checked for it */
    int64_t idle_ms;    /* without a byte in either direction */
    int64_t total_ms;   /* of a connection */
};

/* What the repository says. Of where a name leads it says nothing. */
struct egress_narrowing {
    enum egress_access access; /* EGRESS_PUBLIC: everything that the server allows */
    struct egress_rules allow;
};

struct egress_policy {
    enum egress_access access;
    struct egress_rules allow, allow_private;
    char resolver[EGRESS_RESOLVER_SIZE]; /* "192.0.2.1:53"; "": the machine's own */
    struct egress_limits limits;
    struct egress_narrowing narrowing;
};

/* The value of `internet`; NULL and null are EGRESS_OFF. ERR_USAGE for what cannot be used. */
int egress_policy_read(struct egress_policy *policy, const json_t *internet, struct err *err);
void egress_policy_release(struct egress_policy *policy);

/* Narrow POLICY by the `internet` of a checkout's result: an object with `access` and `allow`, or null,
 * which changes nothing. Of anything else, NULL included, nothing may be reached, and ERR_USAGE says
 * why. In the place of an earlier narrowing. */
int egress_policy_narrow(struct egress_policy *policy, const json_t *internet, struct err *err);

/* May HOST:PORT be asked for at all? Before any name is resolved, so that nothing can leave as a
 * question to a name server. */
enum egress_verdict egress_policy_host(const struct egress_policy *policy,
                                       const struct net_host *host, uint16_t port);

/* HOST was found at ADDRESS: may it be connected to? */
enum egress_verdict egress_policy_address(const struct egress_policy *policy,
                                          const struct net_host *host, uint16_t port,
                                          const struct net_address *address);

/* Whether a tunnel to HOST:PORT must begin with TLS for that host. Only where not every host may be
 * reached anyway. */
bool egress_policy_checks_tls(const struct egress_policy *policy, uint16_t port);

/* "off", "common", … */
const char *egress_access_name(enum egress_access access);

/* "host_not_allowed", …: what stands in the header X-Codex-Denied and in events. */
const char *egress_verdict_name(enum egress_verdict verdict);

#endif
