/* Whether an address is one of this machine's own, as of now. */
#ifndef CODEX_GATEWAY_EGRESS_OWN_ADDRESS_H
#define CODEX_GATEWAY_EGRESS_OWN_ADDRESS_H

#include <stdbool.h>

#include "base/net_address.h"

/* Asks the kernel, without netlink, which the gateway may not use. What cannot be found out counts
 * as yes. */
bool own_address(const struct net_address *address);

#endif
