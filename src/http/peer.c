#include "http/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/str.h"

int http_peer_unix(struct http_peer *peer, const char *path, struct err *err)
{
    *peer = (struct http_peer){.host = "localhost"};
    struct sockaddr_un *un = (struct sockaddr_un *)&peer->address;
    un->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof un->sun_path)
        return err_set(err, ERR_USAGE, "the socket's path '%s' is longer than %zu bytes", path,
                       sizeof un->sun_path - 1);
    strcpy(un->sun_path, path);
    peer->address_len = sizeof *un;
    return 0;
}

/* HOST, without brackets, to an address of either family. */
static int set_address(struct http_peer *peer, const char *host, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&peer->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer->address;
    if (!strcmp(host, "localhost"))
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        peer->address_len = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        peer->address_len = sizeof *v6;
        return 0;
    }
    return ERR_USAGE;
}

/* Split "host:port" or "[host]:port". */
static int parse_authority(struct http_peer *peer, char *authority)
{
    char *colon = strrchr(authority, ':');
    int64_t port = 80;
    if (colon && !strchr(colon, ']')) {
        *colon = '\0';
        if (str_parse_int(colon + 1, 1, 65535, &port) < 0)
            return ERR_USAGE;
    }
    size_t len = strlen(authority);
    if (len >= 2 && authority[0] == '[' && authority[len - 1] == ']') {
        authority[len - 1] = '\0';
        authority++;
    }
    return set_address(peer, authority, (uint16_t)port);
}

int http_peer_url(struct http_peer *peer, const char *url, char **prefix, struct err *err)
{
    *peer = (struct http_peer){0};
    static const char scheme[] = "http://";
    const char *rest = str_starts_with(url, scheme) ? url + sizeof scheme - 1 : "";
    size_t len = strcspn(rest, "/");
    if (len == 0 || len >= sizeof peer->host || strpbrk(rest, "?# \t\r\n"))
        return err_set(err, ERR_USAGE, "'%s' is not an http:// URL of a numeric address", url);
    char authority[sizeof peer->host];
    memcpy(peer->host, rest, len);
    memcpy(authority, peer->host, sizeof authority);
    if (parse_authority(peer, authority) < 0)
        return err_set(err, ERR_USAGE, "'%s' is not an http:// URL of a numeric address", url);
    size_t path_len = strlen(rest + len);
    while (path_len && rest[len + path_len - 1] == '/')
        path_len--;
    *prefix = str_format("%.*s", (int)path_len, rest + len);
    return 0;
}
