#include "gateway/egress/own_address.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket can be bound to addresses of the machine only: 1, 0 (it is none), or -1. */
static int can_bind(const struct net_address *address)
{
    struct sockaddr_storage place;
    socklen_t len = net_address_to_socket(address, 0, &place);
    int fd = socket(place.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -1;
    int status = bind(fd, (struct sockaddr *)&place, len);
    int error = errno;
    close(fd);
    return status == 0 ? 1 : error == EADDRNOTAVAIL ? 0 : -1;
}

/* Nobody's: it can be bound to only with net.ipv4.ip_nonlocal_bind (or IPv6's), as load balancers
 * have it. */
static bool binds_anything(const struct net_address *address)
{
    static const struct net_address v4 = {{[10] = 0xff, 0xff, 198, 51, 100, 251}},
                                    v6 = {{0x20, 0x01, 0x0d, 0xb8, [14] = 0xfb, 0xfb}};
    return can_bind(net_address_is_v4(address) ? &v4 : &v6) == 1;
}

/* The kernel sends from the address itself to one of its own. */
static bool is_sent_from_itself(const struct net_address *address)
{
    struct sockaddr_storage place, from;
    socklen_t len = net_address_to_socket(address, 9, &place), from_len = sizeof from;
    struct net_address source;
    int fd = socket(place.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool same = connect(fd, (struct sockaddr *)&place, len) == 0 &&
                (getsockname(fd, (struct sockaddr *)&from, &from_len) < 0 ||
                 !net_address_from_socket(&source, (struct sockaddr *)&from) ||
                 !memcmp(&source, address, sizeof source));
    close(fd);
    return same;
}

bool own_address(const struct net_address *address)
{
    int bound = can_bind(address);
    if (bound != 1)
        return bound < 0;
    return !binds_anything(address) || is_sent_from_itself(address);
}
