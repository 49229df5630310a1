#include "base/repo_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

bool repo_url_is_remote(const char *location)
{
    if (str_starts_with(location, "file://"))
        return false;
    size_t before = strcspn(location, ":/");
    return strstr(location, "://") || location[before] == ':';
}

static int refuse(struct err *err, const char *what)
{
    return err_set(err, ERR_USAGE,
                   "this address of a repository %s: write https://host/owner/name or "
                   "git@host:owner/name",
                   what);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Coded characters that a server would see as others than we do: controls, '/', '.', '%', '\'. */
static bool coded_harmless(const char *p)
{
    int high = hex_digit(p[1]), low = high < 0 ? -1 : hex_digit(p[2]);
    if (low < 0)
        return false;
    int c = high * 16 + low;
    return c > ' ' && c != 0x7f && !strchr("/.%\\", c);
}

static const char *path_problem(const char *path)
{
    if (!*path || *path == '-')
        return "has no path that names a repository";
    for (const char *p = path; *p; p++) {
        if (*p == '?' || *p == '#')
            return "has a '?' or '#' in it";
        if (*p == '%' ? !coded_harmless(p)
                      : !isalnum((unsigned char)*p) && !strchr("/._~-+@,=:", *p))
            return "has characters that addresses of repositories do not have";
    }
    for (const char *part = path; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t len = strcspn(part, "/");
        if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && !strncmp(part, "..", 2)))
            return "has '//', '.' or '..' in its path";
    }
    return NULL;
}

/* LEN bytes at FROM as a host; brackets are around an IPv6 address. */
static bool take_host(struct repo_url *url, const char *from, size_t len)
{
    bool bracketed = len > 2 && from[0] == '[' && from[len - 1] == ']';
    if (bracketed) {
        from++;
        len -= 2;
    }
    if (len == 0 || len > REPO_HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        url->host[i] = (char)tolower((unsigned char)from[i]);
    url->host[len] = '\0';
    if (bracketed) {
        struct in6_addr address;
        return inet_pton(AF_INET6, url->host, &address) == 1;
    }
    for (const char *p = url->host; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && (*p != '.' || p[1] == '.' || !p[1]))
            return false;
    return url->host[0] != '-' && url->host[0] != '.';
}

static bool take_user(struct repo_url *url, const char *from, size_t len)
{
    if (len == 0 || len > REPO_USER_MAX || from[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)from[i]) && !strchr("._-", from[i]))
            return false;
    memcpy(url->user, from, len);
    url->user[len] = '\0';
    return true;
}

/* What stands between "//" and the path: [user@]host[:port]. */
static const char *take_authority(struct repo_url *url, const char *from, size_t len)
{
    static const int standard[] = {[REPO_HTTPS] = 443, [REPO_HTTP] = 80, [REPO_SSH] = 22};
    const char *at = memrchr(from, '@', len);
    if (at && url->scheme != REPO_SSH)
        return "login";
    if (at) {
        if (memchr(from, ':', (size_t)(at - from)))
            return "login";
        if (!take_user(url, from, (size_t)(at - from)))
            return "names no user that ssh could log in as";
        len -= (size_t)(at + 1 - from);
        from = at + 1;
    }
    const char *colon = memrchr(from, ':', len);
    if (colon && !memchr(colon, ']', len - (size_t)(colon - from))) {
        int64_t port;
        char digits[8] = "";
        size_t count = len - (size_t)(colon + 1 - from);
        memcpy(digits, colon + 1, count < sizeof digits ? count : 0);
        if (str_parse_int(digits, 1, 65535, &port) < 0)
            return "has no port between 1 and 65535 behind its ':'";
        url->port = port == standard[url->scheme] ? 0 : (int)port;
        len = (size_t)(colon - from);
    }
    return take_host(url, from, len) ? NULL : "names no host";
}

static int refuse_login(const struct repo_url *url, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "the address holds a login, which everybody could read who sees the task: leave "
                   "it out, and set token_env or token_file in [forge \"HOST\"] of codex.conf");
}

/* ":PORT" or "". */
static void print_port(const struct repo_url *url, char out[8])
{
    out[0] = '\0';
    if (url->port)
        snprintf(out, 8, ":%d", url->port);
}

/* Write down the one form: PATH without slashes at its ends. SCP: as in "git@host:path". */
static void finish(struct repo_url *url, const char *path, bool scp)
{
    static const char *const names[] = {
        [REPO_HTTPS] = "https", [REPO_HTTP] = "http", [REPO_SSH] = "ssh"};
    bool v6 = strchr(url->host, ':');
    char port[8];
    print_port(url, port);
    snprintf(url->site, sizeof url->site, "%s%s%s%s", v6 && *port ? "[" : "", url->host,
             v6 && *port ? "]" : "", port);
    int len =
        snprintf(url->text, sizeof url->text, "%s%s%s%s%s%s%s%s%s%s", scp ? "" : names[url->scheme],
                 scp ? "" : "://", url->user, *url->user ? "@" : "", v6 ? "[" : "", url->host,
                 v6 ? "]" : "", port, scp ? ":" : "/", path);
    (void)len; /* never longer than what came in */
}

static int parse_with_scheme(struct repo_url *url, char *rest, struct err *err)
{
    size_t len = strcspn(rest, "/");
    const char *problem = take_authority(url, rest, len);
    if (problem && !strcmp(problem, "login"))
        return refuse_login(url, err);
    if (!problem && url->scheme == REPO_SSH && !*url->user)
        problem = "does not say who logs in";
    const char *path = rest[len] ? rest + len + 1 : "";
    if (!problem)
        problem = path_problem(path);
    if (problem)
        return refuse(err, problem);
    finish(url, path, false);
    return 0;
}

/* "user@host:path" */
static int parse_scp(struct repo_url *url, char *text, struct err *err)
{
    url->scheme = REPO_SSH;
    char *at = strchr(text, '@');
    if (!at)
        return refuse(err, "does not say who logs in");
    if (!take_user(url, text, (size_t)(at - text)))
        return strchr(text, ':') < at ? refuse_login(url, err)
                                      : refuse(err, "names no user that ssh could log in as");
    char *host = at + 1;
    char *end = *host == '[' ? strchr(host, ']') : host;
    char *colon = end ? strchr(end, ':') : NULL;
    if (!colon || !take_host(url, host, (size_t)(colon - host)))
        return refuse(err, "names no host");
    bool absolute = colon[1] == '/';
    const char *problem = path_problem(colon + 1 + absolute);
    if (problem)
        return refuse(err, problem);
    /* A path from the root is the same in both forms. */
    finish(url, colon + 1 + absolute, !absolute);
    return 0;
}

int repo_url_parse(struct repo_url *url, const char *text, struct err *err)
{
    static const struct {
        const char *name;
        enum repo_scheme scheme;
    } schemes[] = {{"https://", REPO_HTTPS}, {"http://", REPO_HTTP}, {"ssh://", REPO_SSH}};
    char copy[REPO_URL_MAX + 1];
    *url = (struct repo_url){0};
    size_t len = strlen(text);
    if (len == 0 || len > REPO_URL_MAX - 8)
        return refuse(err, len ? "is too long" : "is empty");
    for (const char *p = text; *p; p++)
        if (*p <= ' ' || *p > '~')
            return refuse(err, "has spaces, control or other characters that no address has");
    memcpy(copy, text, len + 1);
    while (len && copy[len - 1] == '/')
        copy[--len] = '\0';
    if (strstr(copy, "::") && !strchr(copy, '['))
        return refuse(err, "names a transport helper, which is never run");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t name_len = strlen(schemes[i].name);
        if (strncasecmp(copy, schemes[i].name, name_len))
            continue;
        url->scheme = schemes[i].scheme;
        return parse_with_scheme(url, copy + name_len, err);
    }
    if (strstr(copy, "://"))
        return refuse(err, "has a scheme that is not served");
    if (copy[0] == '-')
        return refuse(err, "begins with '-'");
    return parse_scp(url, copy, err);
}

bool repo_url_is_loopback(const struct repo_url *url)
{
    struct in_addr v4;
    if (!strcmp(url->host, "localhost") || !strcmp(url->host, "::1"))
        return true;
    return inet_pton(AF_INET, url->host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}
