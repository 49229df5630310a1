#include "programs/reach.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "gateway/egress/policy.h"

static uint16_t port_of(const struct repo_url *url)
{
    static const uint16_t standard[] = {[REPO_HTTPS] = 443, [REPO_HTTP] = 80, [REPO_SSH] = 22};
    return url->port ? (uint16_t)url->port : standard[url->scheme];
}

static int refuse(enum egress_verdict verdict, const struct repo_url *url, struct err *err)
{
    switch (verdict) {
    case EGRESS_DENIED_ACCESS:
        return err_set(err, ERR_REFUSED,
                       "it is on another host, and [internet] access is off in codex.conf");
    case EGRESS_DENIED_PRIVATE:
    case EGRESS_DENIED_OWN:
        return err_set(err, ERR_REFUSED,
                       "%s is no public address, and [internet] allow_private in codex.conf does "
                       "not name it",
                       url->site);
    default:
        return err_set(err, ERR_REFUSED, "[internet] in codex.conf does not allow %s", url->site);
    }
}

/* Check one address that the host was found at, and append it to the pin. */
static int take_address(const struct egress_policy *policy, const struct repo_url *url,
                        const struct net_host *host, const struct sockaddr *from, struct buf *pin,
                        struct err *err)
{
    struct net_address address;
    char text[NET_ADDRESS_SIZE];
    if (!net_address_from_socket(&address, from))
        return 0;
    enum egress_verdict verdict = egress_policy_address(policy, host, port_of(url), &address);
    if (verdict != EGRESS_ALLOWED)
        return refuse(verdict, url, err);
    net_address_text(&address, text);
    bool v6 = strchr(text, ':');
    return buf_appendf(pin, "%s%s%s%s", pin->len ? "," : "", v6 ? "[" : "", text, v6 ? "]" : "");
}

static int look_up(const struct egress_policy *policy, const struct repo_url *url,
                   const struct net_host *host, struct buf *pin, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host->text, NULL, &hints, &found);
    if (code)
        return err_set(err, -EHOSTUNREACH, "%s cannot be found: %s", host->text,
                       gai_strerror(code));
    int status = 0;
    for (struct addrinfo *at = found; at && status == 0; at = at->ai_next)
        status = take_address(policy, url, host, at->ai_addr, pin, err);
    freeaddrinfo(found);
    if (status == -ERANGE || (status == 0 && !pin->len))
        return err_set(err, ERR_REFUSED, "%s has no address, or too many", host->text);
    return status;
}

static int check(const struct egress_policy *policy, const struct repo_url *url, char **pin,
                 struct err *err)
{
    struct net_host host;
    AUTO_BUF struct buf found;
    buf_init(&found, 2048);
    int status = net_host_parse(&host, url->host, strlen(url->host), err);
    if (status < 0)
        return status;
    enum egress_verdict verdict = egress_policy_host(policy, &host, port_of(url));
    if (verdict != EGRESS_ALLOWED)
        return refuse(verdict, url, err);
    status = look_up(policy, url, &host, &found, err);
    if (status == 0 && !host.is_address)
        *pin = str_format("%s:%u:%s", host.text, port_of(url), found.data);
    return status;
}

int reach_by_policy(const char *internet, const struct repo_url *url, char **pin, struct err *err)
{
    struct egress_policy policy = {0};
    json_error_t where;
    json_t *json = json_loads(internet, 0, &where);
    *pin = NULL;
    int status = json ? egress_policy_read(&policy, json, err)
                      : err_set(err, ERR_PROTOCOL, "malformed policy: %s", where.text);
    if (status == 0)
        status = check(&policy, url, pin, err);
    egress_policy_release(&policy);
    json_decref(json);
    return status;
}
