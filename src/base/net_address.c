#include "base/net_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v4(struct net_address *address, uint32_t host_order)
{
    uint32_t bytes = htonl(host_order);
    memcpy(address->bytes, mapped, sizeof mapped);
    memcpy(address->bytes + sizeof mapped, &bytes, sizeof bytes);
}

bool net_address_is_v4(const struct net_address *address)
{
    return !memcmp(address->bytes, mapped, sizeof mapped);
}

/* One part of an IPv4 address: decimal, octal (0…) or hexadecimal (0x…, also alone: 0). */
static bool parse_part(const char *text, size_t len, uint64_t *value)
{
    int base = 10;
    if (len >= 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
        base = 16;
        text += 2;
        len -= 2;
    } else if (len >= 2 && text[0] == '0') {
        base = 8;
    } else if (!len) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < len; i++) {
        char c = (char)tolower((unsigned char)text[i]);
        int digit = isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
        if (digit >= base)
            return false;
        *value = *value * (unsigned)base + (unsigned)digit;
        if (*value > UINT32_MAX)
            return false;
    }
    return true;
}

/* Whether the last label is a number: then the whole can only be an address (URL standard, "ends in
 * a number checker"). */
static bool ends_in_number(const char *text)
{
    const char *dot = strrchr(text, '.');
    const char *last = dot ? dot + 1 : text;
    uint64_t ignored;
    return *last &&
           (strspn(last, "0123456789") == strlen(last) || parse_part(last, strlen(last), &ignored));
}

/* Up to four parts, of which the last fills what is left of the address. */
static bool parse_v4(const char *text, uint32_t *address)
{
    uint64_t parts[4];
    int count = 0;
    for (;;) {
        size_t len = strcspn(text, ".");
        if (count == 4 || !parse_part(text, len, &parts[count++]))
            return false;
        if (!text[len])
            break;
        text += len + 1;
    }
    uint64_t value = 0;
    for (int i = 0; i < count - 1; i++) {
        if (parts[i] > 255)
            return false;
        value |= parts[i] << (24 - 8 * i);
    }
    if (parts[count - 1] >> (8 * (5 - count)))
        return false;
    *address = (uint32_t)(value | parts[count - 1]);
    return true;
}

enum net_address_parsed net_address_parse(struct net_address *address, const char *text)
{
    if (strchr(text, ':'))
        return inet_pton(AF_INET6, text, address->bytes) == 1 ? NET_ADDRESS_OK : NET_ADDRESS_BAD;
    uint32_t v4;
    if (!ends_in_number(text))
        return NET_ADDRESS_NONE;
    if (!parse_v4(text, &v4))
        return NET_ADDRESS_BAD;
    set_v4(address, v4);
    return NET_ADDRESS_OK;
}

static unsigned bit(const struct net_address *address, unsigned n)
{
    return address->bytes[n / 8] >> (7 - n % 8) & 1;
}

bool net_prefix_parse(struct net_prefix *prefix, const char *text)
{
    char address[NET_ADDRESS_SIZE];
    size_t len = strcspn(text, "/");
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    if (net_address_parse(&prefix->address, address) != NET_ADDRESS_OK)
        return false;
    unsigned offset = strchr(address, ':') ? 0 : 96;
    int64_t bits = 128 - offset;
    if (text[len] && str_parse_int(text + len + 1, 0, 128 - offset, &bits) < 0)
        return false;
    prefix->bits = (unsigned)bits + offset;
    for (unsigned n = prefix->bits; n < 128; n++)
        if (bit(&prefix->address, n))
            return false;
    return true;
}

bool net_prefix_holds(const struct net_prefix *prefix, const struct net_address *address)
{
    for (unsigned n = 0; n < prefix->bits; n++)
        if (bit(&prefix->address, n) != bit(address, n))
            return false;
    return true;
}

bool net_address_from_socket(struct net_address *address, const struct sockaddr *from)
{
    if (from->sa_family == AF_INET6) {
        memcpy(address->bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
        return true;
    }
    if (from->sa_family != AF_INET)
        return false;
    set_v4(address, ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr));
    return true;
}

socklen_t net_address_to_socket(const struct net_address *address, uint16_t port,
                                struct sockaddr_storage *to)
{
    *to = (struct sockaddr_storage){0};
    if (net_address_is_v4(address)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)to;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        memcpy(&v4->sin_addr, address->bytes + sizeof mapped, 4);
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    memcpy(&v6->sin6_addr, address->bytes, 16);
    return sizeof *v6;
}

void net_address_text(const struct net_address *address, char out[NET_ADDRESS_SIZE])
{
    bool v4 = net_address_is_v4(address);
    const uint8_t *bytes = address->bytes + (v4 ? sizeof mapped : 0);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, bytes, out, NET_ADDRESS_SIZE))
        abort();
}

struct range {
    const char *prefix, *kind;
};

/* iana-ipv4-special-registry, and multicast. */
static const struct range v4_ranges[] = {
    {"0.0.0.0/8", "this host"},
    {"10.0.0.0/8", "private network"},
    {"100.64.0.0/10", "carrier's shared network"},
    {"127.0.0.0/8", "loopback"},
    {"169.254.0.0/16", "link-local, where machines' metadata is"},
    {"172.16.0.0/12", "private network"},
    {"192.0.0.0/24", "reserved"},
    {"192.88.99.0/24", "reserved"},
    {"192.168.0.0/16", "private network"},
    {"198.18.0.0/15", "benchmarking network"},
    {"224.0.0.0/4", "multicast"},
    {"240.0.0.0/4", "reserved"},
};

/* iana-ipv6-special-registry; what is in 2000::/3 and not here is public. */
static const struct range v6_ranges[] = {
    {"::1/128", "loopback"},       {"fc00::/7", "private network"}, {"fe80::/10", "link-local"},
    {"fec0::/10", "site-local"},   {"ff00::/8", "multicast"},       {"2001::/23", "reserved"},
    {"64:ff9b:1::/48", "reserved"}};

static const char *find_range(const struct range *ranges, size_t count,
                              const struct net_address *address)
{
    for (size_t i = 0; i < count; i++) {
        struct net_prefix prefix;
        if (!net_prefix_parse(&prefix, ranges[i].prefix))
            abort();
        if (net_prefix_holds(&prefix, address))
            return ranges[i].kind;
    }
    return NULL;
}

static bool is_in(const char *network, const struct net_address *address)
{
    return find_range(&(struct range){network, ""}, 1, address);
}

static const char *v4_special(const struct net_address *address)
{
    return find_range(v4_ranges, sizeof v4_ranges / sizeof v4_ranges[0], address);
}

/* The IPv4 address at byte AT. */
static const char *embedded_special(const struct net_address *address, size_t at)
{
    const uint8_t *b = address->bytes + at;
    struct net_address v4;
    set_v4(&v4, (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
    return v4_special(&v4);
}

const char *net_address_special(const struct net_address *address)
{
    if (net_address_is_v4(address))
        return v4_special(address);
    if (is_in("64:ff9b::/96", address)) /* NAT64, RFC 6052 */
        return embedded_special(address, 12);
    if (is_in("2002::/16", address)) /* 6to4, RFC 3056 */
        return embedded_special(address, 2);
    const char *kind = find_range(v6_ranges, sizeof v6_ranges / sizeof v6_ranges[0], address);
    return kind ? kind : is_in("2000::/3", address) ? NULL : "reserved";
}
