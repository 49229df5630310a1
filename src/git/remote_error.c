#include "git/remote_error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

/* What a phrase means. Git runs with LC_ALL=C; curl's and ssh's words do not depend on it. */
enum kind {
    KIND_NONE,
    KIND_LOGIN,      /* it wants to know who we are */
    KIND_FORBIDDEN,  /* it knows, and says no */
    KIND_REPOSITORY, /* there is no such one */
    KIND_REF,
    KIND_HOST_KEY,
    KIND_CERTIFICATE,
    KIND_UNREACHABLE,
    KIND_MOVED,
    KIND_GARBAGE,
};

static const struct {
    const char *phrase;
    enum kind kind;
} phrases[] = {
    {"could not read Username", KIND_LOGIN},
    {"could not read Password", KIND_LOGIN},
    {"Authentication failed", KIND_FORBIDDEN},
    {"returned error: 401", KIND_FORBIDDEN},
    {"returned error: 403", KIND_FORBIDDEN},
    {"Permission denied (", KIND_FORBIDDEN},
    {"Too many authentication failures", KIND_FORBIDDEN},
    {"ERROR: Permission to ", KIND_FORBIDDEN},
    {"marked as read only", KIND_FORBIDDEN},
    {"service not enabled", KIND_FORBIDDEN},
    {"Host key verification failed", KIND_HOST_KEY},
    {"host key is known for", KIND_HOST_KEY},
    {"HOST IDENTIFICATION HAS CHANGED", KIND_HOST_KEY},
    {"certificate verification failed", KIND_CERTIFICATE},
    {"SSL certificate problem", KIND_CERTIFICATE},
    {"certificate subject name", KIND_CERTIFICATE},
    {"couldn't find remote ref", KIND_REF},
    {"unadvertised object", KIND_REF},
    {"not our ref", KIND_REF},
    {"returned error: 404", KIND_REPOSITORY},
    {"returned error: 410", KIND_REPOSITORY},
    {"' not found", KIND_REPOSITORY},
    {"ERROR: Repository not found", KIND_REPOSITORY},
    {"does not appear to be a git repository", KIND_REPOSITORY},
    {"returned error: 30", KIND_MOVED},
    {"Could not resolve", KIND_UNREACHABLE},
    {"Failed to connect", KIND_UNREACHABLE},
    {"Couldn't connect", KIND_UNREACHABLE},
    {"Connection refused", KIND_UNREACHABLE},
    {"onnection timed out", KIND_UNREACHABLE},
    {"onnection reset", KIND_UNREACHABLE},
    {"Connection closed by", KIND_UNREACHABLE},
    {"No route to host", KIND_UNREACHABLE},
    {"Network is unreachable", KIND_UNREACHABLE},
    {"Operation too slow", KIND_UNREACHABLE},
    {"timed out", KIND_UNREACHABLE},
    {"Empty reply", KIND_UNREACHABLE},
    {"transfer closed", KIND_UNREACHABLE},
    {"Recv failure", KIND_UNREACHABLE},
    {"Send failure", KIND_UNREACHABLE},
    {"handshake", KIND_UNREACHABLE},
    {"TLS connection was non-properly terminated", KIND_UNREACHABLE},
    {"returned error: 5", KIND_UNREACHABLE},
    {"returned error: 429", KIND_UNREACHABLE},
    {"early EOF", KIND_UNREACHABLE},
    {"unexpected disconnect", KIND_UNREACHABLE},
    {"RPC failed", KIND_UNREACHABLE},
    {"hung up unexpectedly", KIND_UNREACHABLE},
    {"is this a git repository", KIND_GARBAGE},
    {"protocol error", KIND_GARBAGE},
    {"bad line length", KIND_GARBAGE},
    {"invalid server response", KIND_GARBAGE},
    {"invalid content-type", KIND_GARBAGE},
};

static enum kind find_kind(const char *said)
{
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (strstr(said, phrases[i].phrase))
            return phrases[i].kind;
    return KIND_NONE;
}

/* Whether the address at FROM, up to a quote or white space, is on URL's host, by URL's scheme. */
static bool is_same_site(const struct repo_url *url, const char *from)
{
    char text[REPO_URL_MAX + 1];
    struct repo_url other;
    size_t len = strcspn(from, "' \t\r\n");
    if (len >= sizeof text)
        return false;
    memcpy(text, from, len);
    text[len] = '\0';
    /* Where a login is asked for, git names only the host. */
    const char *authority = strstr(text, "://");
    if (authority && !strchr(authority + 3, '/') && len + 2 < sizeof text)
        strcat(text, "/x");
    return repo_url_parse(&other, text, NULL) == 0 && other.scheme == url->scheme &&
           !strcmp(other.site, url->site);
}

/* Where git was sent to another host, that host's address; else NULL. */
static const char *find_stranger(const struct repo_url *url, const char *said)
{
    static const char *const before[] = {"redirecting to ", "could not read Username for '",
                                         "could not read Password for '",
                                         "Authentication failed for '"};
    for (size_t i = 0; url->scheme != REPO_SSH && i < sizeof before / sizeof before[0]; i++) {
        const char *at = said;
        while ((at = strstr(at, before[i]))) {
            at += strlen(before[i]);
            if (!is_same_site(url, at))
                return at;
        }
    }
    return NULL;
}

static int tell_login(const struct repo_url *url, const struct git_access *access, struct err *err)
{
    if (access->token)
        return err_set(err, -EACCES, "%s does not accept the token of [forge \"%s\"]", url->site,
                       url->site);
    return err_set(err, -EACCES,
                   "%s asks for a login: set token_env = NAME in [forge \"%s\"] of codex.conf, "
                   "restart codexd, and give the token by 'codex secret set NAME'",
                   url->site, url->site);
}

static int tell_forbidden(const struct repo_url *url, const struct git_access *access,
                          struct err *err)
{
    if (url->scheme == REPO_SSH)
        return err_set(err, -EACCES, "%s refuses the ssh key of [forge \"%s\"]: %s", url->host,
                       url->site, "give it the right to this repository");
    if (!access->token)
        return tell_login(url, access, err);
    return err_set(err, -EACCES,
                   "%s refuses the token of [forge \"%s\"]: it is wrong, has expired, or lacks the "
                   "right",
                   url->site, url->site);
}

static int tell_unreachable(const struct repo_url *url, struct err *err)
{
    AUTO_FREE char *words = str_dup(err->message);
    return err_set(err, -EHOSTUNREACH, "%s cannot be reached, or broke off (%s)", url->site, words);
}

static int tell(enum kind kind, const struct repo_url *url, const struct git_access *access,
                struct err *err)
{
    switch (kind) {
    case KIND_LOGIN:
        return tell_login(url, access, err);
    case KIND_FORBIDDEN:
        return tell_forbidden(url, access, err);
    case KIND_REPOSITORY:
        return err_set(err, ERR_NOT_FOUND, "there is no repository '%s'%s", url->text,
                       access->token || url->scheme == REPO_SSH ? ", or it may not be seen"
                                                                : ", or it is private and there is "
                                                                  "no token for it");
    case KIND_REF:
        err_context(err, "'%s' does not have it", url->text);
        return err->code = ERR_NOT_FOUND;
    case KIND_HOST_KEY:
        return err_set(err, ERR_REFUSED,
                       "the host key of %s is not the one in known_hosts of [forge \"%s\"]: add it "
                       "if it is right (ssh-keyscan shows it)",
                       url->host, url->site);
    case KIND_CERTIFICATE:
        return err_set(err, ERR_REFUSED,
                       "the certificate of %s is not trusted: set ca_file in [forge \"%s\"] if it "
                       "is right",
                       url->site, url->site);
    case KIND_MOVED:
        return err_set(err, ERR_REFUSED, "'%s' has moved: give its new address", url->text);
    case KIND_UNREACHABLE:
        return tell_unreachable(url, err);
    case KIND_GARBAGE:
        err_context(err, "%s does not answer like a git server", url->site);
        break;
    default:
        break;
    }
    return err->code = ERR_REFUSED;
}

int remote_explain(const struct repo_url *url, const struct git_access *access, int status,
                   const char *said, struct err *err)
{
    const char *stranger = find_stranger(url, said);
    if (stranger)
        return err_set(err, ERR_REFUSED,
                       "%s sends us to another host ('%.*s'), where we do not follow: give that "
                       "address if it is right",
                       url->site, (int)strcspn(stranger, "' \t\r\n"), stranger);
    if (status == -ETIMEDOUT)
        return tell_unreachable(url, err);
    return status <= 0 ? status : tell(find_kind(said), url, access, err);
}
