#include "base/net_host.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

enum { LABEL_MAX = 63, SHOWN_MAX = 80 };

/* What of the bytes can be shown in a message. */
static int bad_host(struct err *err, const char *bytes, size_t len, const char *why)
{
    char shown[SHOWN_MAX + 1];
    size_t n = len < SHOWN_MAX ? len : SHOWN_MAX;
    for (size_t i = 0; i < n; i++)
        shown[i] = bytes[i] > ' ' && bytes[i] < 0x7f ? bytes[i] : '?';
    shown[n] = '\0';
    return err_set(err, ERR_USAGE, "'%s' is not a host: %s", shown, why);
}

/* Returns what is wrong with the name, or NULL. */
static const char *check_name(const char *name)
{
    size_t label = 0;
    for (const char *p = name;; p++) {
        if (*p == '.' || !*p) {
            if (label == 0)
                return "an empty part";
            if (label > LABEL_MAX)
                return "a part of more than 63 characters";
            if (p[-1] == '-' || p[-(ptrdiff_t)label] == '-')
                return "a part that begins or ends with '-'";
            if (!*p)
                return NULL;
            label = 0;
            continue;
        }
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-' && *p != '_')
            return "only letters, digits, '-', '_' and '.' can be in a name";
        label++;
    }
}

int net_host_parse(struct net_host *host, const char *bytes, size_t len, struct err *err)
{
    *host = (struct net_host){0};
    if (len == 0 || len >= NET_HOST_SIZE)
        return bad_host(err, bytes, len, len ? "too long" : "empty");
    for (size_t i = 0; i < len; i++) {
        if (!isascii((unsigned char)bytes[i]) || !isgraph((unsigned char)bytes[i]))
            return bad_host(err, bytes, len, "a character that cannot be in a name");
        host->text[i] = (char)tolower((unsigned char)bytes[i]);
    }
    switch (net_address_parse(&host->address, host->text)) {
    case NET_ADDRESS_OK:
        host->is_address = true;
        net_address_text(&host->address, host->text);
        return 0;
    case NET_ADDRESS_BAD:
        return bad_host(err, bytes, len, "neither a name nor an address");
    case NET_ADDRESS_NONE:
        break;
    }
    const char *why = check_name(host->text);
    return why ? bad_host(err, bytes, len, why) : 0;
}

static int parse_port(const char *bytes, size_t len, uint16_t *port, struct err *err)
{
    char text[6] = "";
    int64_t number = 0;
    if (len < sizeof text)
        memcpy(text, bytes, len);
    if (!isdigit((unsigned char)text[0]) || str_parse_int(text, 1, 65535, &number) < 0)
        return err_set(err, ERR_USAGE, "a port is a number from 1 to 65535");
    *port = (uint16_t)number;
    return 0;
}

int net_host_parse_authority(struct net_host *host, uint16_t *port, const char *bytes, size_t len,
                             struct err *err)
{
    *port = 0;
    size_t host_len = len, skip = 0;
    if (len && bytes[0] == '[') {
        const char *end = memchr(bytes, ']', len);
        size_t inner = end ? (size_t)(end - bytes) - 1 : 0;
        if (!end || !memchr(bytes + 1, ':', inner))
            return bad_host(err, bytes, len, "between brackets belongs an IPv6 address");
        int status = net_host_parse(host, bytes + 1, inner, err);
        if (status < 0)
            return status;
        host_len = inner + 2;
    } else {
        const char *colon = memchr(bytes, ':', len);
        host_len = colon ? (size_t)(colon - bytes) : len;
        if (colon && memchr(colon + 1, ':', len - host_len - 1))
            return bad_host(err, bytes, len, "an IPv6 address belongs between brackets");
        int status = net_host_parse(host, bytes, host_len, err);
        if (status < 0)
            return status;
    }
    if (host_len == len)
        return 0;
    skip = host_len + 1;
    if (bytes[host_len] != ':')
        return bad_host(err, bytes, len, "something between the address and the port");
    return parse_port(bytes + skip, len - skip, port, err);
}
