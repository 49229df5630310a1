/*
 * Which hosts, addresses and ports of the internet somebody may reach, as codex.conf says it:
 *
 *     example.com        this host              *.example.com     the hosts below it
 *     *                  every host             192.0.2.0/24      these addresses
 *     192.0.2.7          this address           [2001:db8::7]     this one
 *
 * each with ":port" behind it, or without one for the ports 80 and 443.
 */
#ifndef CODEX_BASE_NET_RULE_H
#define CODEX_BASE_NET_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/net_host.h"

struct net_rule {
    char *name;    /* owned; NULL: it is about `prefix` */
    bool below;    /* the hosts below `name`, not itself; of "*", `name` is "" */
    uint16_t port; /* 0: 80 and 443 */
    struct net_prefix prefix;
};

/* ERR_USAGE for what is none. */
int net_rule_parse(struct net_rule *rule, const char *text, struct err *err);
void net_rule_release(struct net_rule *rule);

bool net_rule_has_host(const struct net_rule *rule, const struct net_host *host);
bool net_rule_has_address(const struct net_rule *rule, const struct net_address *address);
bool net_rule_has_port(const struct net_rule *rule, uint16_t port);

#endif
