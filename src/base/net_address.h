/*
 * Addresses of the internet, and which of them are nobody else's business: private, local and
 * special ones.
 */
#ifndef CODEX_BASE_NET_ADDRESS_H
#define CODEX_BASE_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv6 address; an IPv4 one as ::ffff:a.b.c.d, so that the two spellings are one address. */
struct net_address {
    uint8_t bytes[16];
};

/* A network: the addresses whose first `bits` bits (of 128) are those of `address`. */
struct net_prefix {
    struct net_address address;
    unsigned bits;
};

bool net_address_is_v4(const struct net_address *address);

/*
 * IPv4 in every notation that inet_aton() and browsers read (127.1, 0x7f.1, 017700000001,
 * 2130706433), IPv6 without brackets or zone. NET_ADDRESS_BAD: it cannot be a name, because its
 * last label is a number, but is no address either.
 */
enum net_address_parsed { NET_ADDRESS_NONE, NET_ADDRESS_OK, NET_ADDRESS_BAD };
enum net_address_parsed net_address_parse(struct net_address *address, const char *text);

/* "192.0.2.0/24", "fd00::/8", or one address. In a network of IPv4 the bits are IPv4's. False when
 * it is none, or has bits behind its length. */
bool net_prefix_parse(struct net_prefix *prefix, const char *text);
bool net_prefix_holds(const struct net_prefix *prefix, const struct net_address *address);

/* False for another family than AF_INET and AF_INET6. */
bool net_address_from_socket(struct net_address *address, const struct sockaddr *from);

/* Returns the length of what is in TO. */
socklen_t net_address_to_socket(const struct net_address *address, uint16_t port,
                                struct sockaddr_storage *to);

enum { NET_ADDRESS_SIZE = INET6_ADDRSTRLEN };
void net_address_text(const struct net_address *address, char out[NET_ADDRESS_SIZE]);

/*
 * What kind of special address it is ("loopback", "private network", …), or NULL when it is an
 * ordinary public one. IPv4 addresses within others (mapped, NAT64, 6to4) are judged by themselves.
 * From IANA's special-purpose registries (RFC 6890, kept at iana.org), without the documentation
 * ranges, which are nobody's.
 */
const char *net_address_special(const struct net_address *address);

#endif
