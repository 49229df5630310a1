#include "base/net_rule.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Cut ":port" off the end of TEXT, when there is one. */
static int take_port(char *text, uint16_t *port, struct err *err)
{
    char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    *port = 0;
    if (!colon || (bracket && bracket > colon))
        return 0;
    if (!bracket && strchr(text, ':') != colon) /* IPv6 without brackets has no port */
        return 0;
    int64_t number;
    if (str_parse_int(colon + 1, 1, 65535, &number) < 0)
        return err_set(err, ERR_USAGE, "'%s' is not a port from 1 to 65535", colon + 1);
    *port = (uint16_t)number;
    *colon = '\0';
    return 0;
}

/* "[2001:db8::7]" and "[2001:db8::]/32" without the brackets. */
static void drop_brackets(char *text)
{
    char *end = strchr(text, ']');
    if (text[0] != '[' || !end || !memchr(text, ':', (size_t)(end - text)))
        return;
    memmove(end, end + 1, strlen(end));
    memmove(text, text + 1, strlen(text));
}

static int take_name(struct net_rule *rule, const char *text, struct err *err)
{
    struct net_host host;
    if (!strcmp(text, "*")) {
        rule->below = true;
        rule->name = str_dup("");
        return 0;
    }
    rule->below = str_starts_with(text, "*.");
    text += rule->below ? 2 : 0;
    int status = net_host_parse(&host, text, strlen(text), err);
    if (status < 0)
        return status;
    if (host.is_address)
        return err_set(err, ERR_USAGE, "'*.%s' is not a pattern of host names", text);
    rule->name = str_dup(host.text);
    return 0;
}

int net_rule_parse(struct net_rule *rule, const char *text, struct err *err)
{
    *rule = (struct net_rule){0};
    AUTO_FREE char *copy = str_dup(text);
    if (strstr(text, "://"))
        return err_set(err, ERR_USAGE, "'%s': write the host alone, without http:// and path",
                       text);
    int status = take_port(copy, &rule->port, err);
    if (status < 0)
        return status;
    drop_brackets(copy);
    if (net_prefix_parse(&rule->prefix, copy))
        return 0;
    if (strchr(copy, '/'))
        return err_set(err, ERR_USAGE,
                       "'%s' is not a network like 10.1.0.0/16 (with zeros behind its length)",
                       text);
    return take_name(rule, copy, err);
}

void net_rule_release(struct net_rule *rule)
{
    free(rule->name);
    *rule = (struct net_rule){0};
}

bool net_rule_has_host(const struct net_rule *rule, const struct net_host *host)
{
    if (!rule->name)
        return host->is_address && net_prefix_holds(&rule->prefix, &host->address);
    if (!*rule->name)
        return true;
    if (host->is_address)
        return false;
    if (!rule->below)
        return !strcmp(host->text, rule->name);
    size_t len = strlen(host->text), end = strlen(rule->name);
    return len > end + 1 && host->text[len - end - 1] == '.' &&
           !strcmp(host->text + len - end, rule->name);
}

bool net_rule_has_address(const struct net_rule *rule, const struct net_address *address)
{
    return !rule->name && net_prefix_holds(&rule->prefix, address);
}

bool net_rule_has_port(const struct net_rule *rule, uint16_t port)
{
    return rule->port ? rule->port == port : port == 80 || port == 443;
}
