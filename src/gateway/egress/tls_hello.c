#include "gateway/egress/tls_hello.h"

#include <string.h>

const unsigned char tls_alert_denied[TLS_ALERT_SIZE] = {0x15, 3, 3, 0, 2, 2, 49};

enum {
    RECORD_HANDSHAKE = 22,
    RECORD_HEAD = 5,
    RECORD_MAX = 16384,
    CLIENT_HELLO = 1,
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_ECH = 0xfe0d,
};

/* What is left of a part of the message; `bad` once something was not there. */
struct reader {
    const unsigned char *at;
    size_t left;
    bool bad;
};

static size_t take_number(struct reader *in, int size)
{
    size_t number = 0;
    if (in->left < (size_t)size) {
        in->bad = true;
        return 0;
    }
    for (int i = 0; i < size; i++)
        number = number << 8 | in->at[i];
    in->at += size;
    in->left -= (size_t)size;
    return number;
}

static struct reader take_bytes(struct reader *in, size_t len)
{
    struct reader part = {in->at, len, false};
    if (in->left < len) {
        in->bad = true;
        part.left = 0;
        return part;
    }
    in->at += len;
    in->left -= len;
    return part;
}

/* A vector whose length is a number of SIZE bytes. */
static struct reader take_vector(struct reader *in, int size)
{
    return take_bytes(in, take_number(in, size));
}

/* The handshake message within its records: into OUT, of TLS_HELLO_MAX bytes. */
static enum tls_hello unwrap(struct reader in, unsigned char *out, size_t *out_len)
{
    size_t want = 4;
    *out_len = 0;
    while (*out_len < want) {
        if (in.left && in.at[0] != RECORD_HANDSHAKE)
            return TLS_HELLO_NONE;
        if (in.left >= 2 && in.at[1] != 3)
            return TLS_HELLO_NONE;
        if (in.left < RECORD_HEAD)
            return TLS_HELLO_UNFINISHED;
        take_number(&in, 3);
        size_t len = take_number(&in, 2);
        if (len == 0 || len > RECORD_MAX || *out_len + len > TLS_HELLO_MAX)
            return TLS_HELLO_NONE;
        bool whole = in.left >= len;
        size_t part = whole ? len : in.left;
        memcpy(out + *out_len, in.at, part);
        *out_len += part;
        take_bytes(&in, part);
        if (*out_len && out[0] != CLIENT_HELLO)
            return TLS_HELLO_NONE;
        if (*out_len >= 4)
            want = 4 + ((size_t)out[1] << 16 | (size_t)out[2] << 8 | out[3]);
        if (want > TLS_HELLO_MAX)
            return TLS_HELLO_NONE;
        if (!whole)
            return TLS_HELLO_UNFINISHED;
    }
    /* Something behind it in its record would be read by the host, and was not by us. */
    return *out_len == want ? TLS_HELLO_SAME : TLS_HELLO_NONE;
}

/* The one name of a server_name extension (RFC 6066, 3) is HOST. */
static bool names(struct reader extension, const struct net_host *host)
{
    struct reader list = take_vector(&extension, 2);
    size_t type = take_number(&list, 1);
    struct reader name = take_vector(&list, 2);
    struct net_host asked;
    if (extension.bad || extension.left || list.bad || list.left || type != 0)
        return false;
    return net_host_parse(&asked, (const char *)name.at, name.left, NULL) == 0 &&
           !strcmp(asked.text, host->text);
}

static enum tls_hello read_extensions(struct reader in, const struct net_host *host)
{
    bool seen = false, same = host->is_address;
    while (in.left && !in.bad) {
        size_t type = take_number(&in, 2);
        struct reader extension = take_vector(&in, 2);
        if (in.bad)
            break;
        if (type == EXTENSION_ECH)
            return TLS_HELLO_HIDDEN;
        if (type != EXTENSION_SERVER_NAME)
            continue;
        same = !seen && names(extension, host);
        if (seen) /* which one counts? */
            return TLS_HELLO_OTHER;
        seen = true;
    }
    return in.bad ? TLS_HELLO_NONE : same ? TLS_HELLO_SAME : TLS_HELLO_OTHER;
}

enum tls_hello tls_hello_read(const void *bytes, size_t len, const struct net_host *host)
{
    unsigned char message[TLS_HELLO_MAX];
    size_t message_len;
    enum tls_hello status = unwrap((struct reader){bytes, len, false}, message, &message_len);
    if (status != TLS_HELLO_SAME)
        return status;
    struct reader in = {message + 4, message_len - 4, false};
    take_bytes(&in, 2 + 32); /* version, random */
    take_vector(&in, 1);     /* session */
    take_vector(&in, 2);     /* cipher suites */
    take_vector(&in, 1);     /* compression */
    if (in.bad)
        return TLS_HELLO_NONE;
    struct reader extensions = {0};
    if (in.left)
        extensions = take_vector(&in, 2);
    if (in.bad || in.left)
        return TLS_HELLO_NONE;
    return read_extensions(extensions, host);
}
