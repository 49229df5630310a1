#include "gateway/egress/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "gateway/egress/own_address.h"
#include "task/gateway_control.h"

/* The file common.txt. */
extern const char egress_common_list[];

static const char *const access_names[] = {
    [EGRESS_OFF] = "off",
    [EGRESS_COMMON] = "common",
    [EGRESS_LIST] = "list",
    [EGRESS_PUBLIC] = "public",
};

static const char *const verdict_names[EGRESS_VERDICT_COUNT] = {
    [EGRESS_ALLOWED] = "allowed",
    [EGRESS_DENIED_ACCESS] = "internet_off",
    [EGRESS_DENIED_HOST] = "host_not_allowed",
    [EGRESS_DENIED_PORT] = "port_not_allowed",
    [EGRESS_DENIED_PRIVATE] = "private_address",
    [EGRESS_DENIED_OWN] = "own_address",
    [EGRESS_DENIED_TLS] = "tls_name",
    [EGRESS_DENIED_REPOSITORY] = "narrowed_by_repository",
};

const char *egress_verdict_name(enum egress_verdict verdict)
{
    return verdict_names[verdict];
}

const char *egress_access_name(enum egress_access access)
{
    return access_names[access];
}

/* ---- reading it */

static int add_rule(struct egress_rules *rules, const char *text, struct err *err)
{
    if (rules->count == EGRESS_RULES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d rules", EGRESS_RULES_MAX);
    /* Grown in powers of two: whenever the count is one. */
    if ((rules->count & (rules->count - 1)) == 0) {
        size_t room = rules->count ? rules->count * 2 : 1;
        rules->rules = reallocarray(rules->rules, room, sizeof *rules->rules);
        if (!rules->rules)
            abort();
    }
    int status = net_rule_parse(&rules->rules[rules->count], text, err);
    if (status == 0)
        rules->count++;
    return status;
}

static int take_rules(struct egress_rules *rules, const json_t *internet, const char *name,
                      struct err *err)
{
    const json_t *list = json_object_get(internet, name);
    if (!list)
        return 0;
    if (!json_is_array(list))
        return err_set(err, ERR_USAGE, "'%s' must be an array", name);
    int status = 0;
    for (size_t i = 0; status == 0 && i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        status =
            text ? add_rule(rules, text, err) : err_set(err, ERR_USAGE, "a rule must be a string");
    }
    return status < 0 ? err_context(err, "'%s'", name) : 0;
}

/* A line of common.txt: a rule, a comment behind '#', or nothing. */
static void add_common(struct egress_rules *rules)
{
    AUTO_FREE char *text = str_dup(egress_common_list);
    char *next = text;
    for (char *line; (line = strsep(&next, "\n"));) {
        line[strcspn(line, "# \t")] = '\0';
        struct err err;
        if (*line && add_rule(rules, line, &err) < 0)
            abort(); /* a file of ours */
    }
}

/* With the rules that it stands for into ALLOW. */
static int take_access(enum egress_access *access, struct egress_rules *allow,
                       const json_t *internet, struct err *err)
{
    const char *name = json_string_value(json_object_get(internet, "access"));
    for (size_t i = 0; name && i < sizeof access_names / sizeof access_names[0]; i++) {
        if (strcmp(name, access_names[i]))
            continue;
        *access = (enum egress_access)i;
        if (*access == EGRESS_COMMON)
            add_common(allow);
        return 0;
    }
    return err_set(err, ERR_USAGE, "'access' must be off, common, list or public");
}

static int take_resolver(struct egress_policy *policy, const json_t *internet, struct err *err)
{
    const json_t *value = json_object_get(internet, "resolver");
    const char *text = json_string_value(value);
    struct net_host host;
    uint16_t port;
    if (!value || json_is_null(value))
        return 0;
    if (!text || net_host_parse_authority(&host, &port, text, strlen(text), err) < 0 ||
        !host.is_address)
        return err_set(err, ERR_USAGE, "'resolver' must be an address, with or without a port");
    bool v6 = !net_address_is_v4(&host.address);
    snprintf(policy->resolver, sizeof policy->resolver, v6 ? "[%s]:%u" : "%s:%u", host.text,
             port ? port : 53);
    return 0;
}

static int take_limits(struct egress_limits *limits, const json_t *internet, struct err *err)
{
    const struct {
        const char *name;
        int64_t *value;
    } members[] = {{"head_ms", &limits->head_ms},
                   {"connect_ms", &limits->connect_ms},
                   {"hello_ms", &limits->hello_ms},
                   {"idle_ms", &limits->idle_ms},
                   {"total_ms", &limits->total_ms}};
    static const int64_t max_ms = INT64_C(30) * 24 * 3600 * 1000;
    const json_t *given = json_object_get(internet, "limits");
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const json_t *value = json_object_get(given, members[i].name);
        if (!value)
            continue;
        *members[i].value = json_integer_value(value);
        if (*members[i].value < 1 || *members[i].value > max_ms)
            return err_set(err, ERR_USAGE, "'limits.%s' must be milliseconds, at most 30 days",
                           members[i].name);
    }
    return 0;
}

int egress_policy_read(struct egress_policy *policy, const json_t *internet, struct err *err)
{
    *policy = (struct egress_policy){.limits = {.head_ms = 10000,
                                                .connect_ms = 30000,
                                                .hello_ms = 10000,
                                                .idle_ms = 600000,
                                                .total_ms = 24LL * 3600 * 1000},
                                     .narrowing = {.access = EGRESS_PUBLIC}};
    if (!internet || json_is_null(internet))
        return 0;
    int status = take_access(&policy->access, &policy->allow, internet, err);
    if (status == 0)
        status = take_rules(&policy->allow, internet, "allow", err);
    if (status == 0)
        status = take_rules(&policy->allow_private, internet, "allow_private", err);
    if (status == 0)
        status = take_resolver(policy, internet, err);
    if (status == 0)
        status = take_limits(&policy->limits, internet, err);
    return status < 0 ? err_context(err, "'internet'") : 0;
}

static void release_rules(struct egress_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        net_rule_release(&rules->rules[i]);
    free(rules->rules);
    *rules = (struct egress_rules){0};
}

void egress_policy_release(struct egress_policy *policy)
{
    release_rules(&policy->allow);
    release_rules(&policy->allow_private);
    release_rules(&policy->narrowing.allow);
}

int egress_policy_narrow(struct egress_policy *policy, const json_t *internet, struct err *err)
{
    struct egress_narrowing *narrowing = &policy->narrowing;
    release_rules(&narrowing->allow);
    narrowing->access = EGRESS_PUBLIC;
    if (json_is_null(internet))
        return 0;
    int status = take_access(&narrowing->access, &narrowing->allow, internet, err);
    if (status == 0)
        status = take_rules(&narrowing->allow, internet, "allow", err);
    if (status < 0)
        narrowing->access = EGRESS_OFF;
    return status;
}

/* ---- asking it */

/* The gateway's own ports in a sandbox. They are of another network than what we could connect to,
 * and still nobody has any business there. */
static bool is_own_port(uint16_t port)
{
    return port == GATEWAY_MODEL_PORT || port == GATEWAY_PROXY_PORT;
}

/* RFC 6761, 6.3: never to be asked for in the DNS. */
static bool is_localhost(const struct net_host *host)
{
    return !strcmp(host->text, "localhost") || str_ends_with(host->text, ".localhost");
}

static bool names_this_machine(const struct net_host *host)
{
    static const char *const networks[] = {"0.0.0.0/8", "127.0.0.0/8", "::/127"};
    for (size_t i = 0; host->is_address && i < sizeof networks / sizeof networks[0]; i++) {
        struct net_prefix prefix;
        if (!net_prefix_parse(&prefix, networks[i]))
            abort();
        if (net_prefix_holds(&prefix, &host->address))
            return true;
    }
    return is_localhost(host);
}

/* Whether RULES name the host, and whether with the port. */
static bool finds(const struct egress_rules *rules, const struct net_host *host, uint16_t port,
                  bool *knows_host)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (!net_rule_has_host(&rules->rules[i], host))
            continue;
        *knows_host = true;
        if (net_rule_has_port(&rules->rules[i], port))
            return true;
    }
    return false;
}

static enum egress_verdict ask_server(const struct egress_policy *policy,
                                      const struct net_host *host, uint16_t port)
{
    bool knows_host = policy->access == EGRESS_PUBLIC;
    if (policy->access == EGRESS_OFF)
        return EGRESS_DENIED_ACCESS;
    if (is_own_port(port) && names_this_machine(host))
        return EGRESS_DENIED_OWN;
    if (finds(&policy->allow_private, host, port, &knows_host))
        return EGRESS_ALLOWED;
    if (is_localhost(host))
        return EGRESS_DENIED_PRIVATE;
    if (finds(&policy->allow, host, port, &knows_host))
        return EGRESS_ALLOWED;
    if (!knows_host)
        return EGRESS_DENIED_HOST;
    /* Of what could not be reached at any port, that is the reason to tell. */
    if (host->is_address && net_address_special(&host->address))
        return EGRESS_DENIED_PRIVATE;
    bool usual = policy->access == EGRESS_PUBLIC && (port == 80 || port == 443);
    return usual ? EGRESS_ALLOWED : EGRESS_DENIED_PORT;
}

enum egress_verdict egress_policy_host(const struct egress_policy *policy,
                                       const struct net_host *host, uint16_t port)
{
    const struct egress_narrowing *narrowing = &policy->narrowing;
    enum egress_verdict verdict = ask_server(policy, host, port);
    bool knows_host;
    if (verdict != EGRESS_ALLOWED || narrowing->access == EGRESS_PUBLIC)
        return verdict;
    bool allowed =
        narrowing->access != EGRESS_OFF && finds(&narrowing->allow, host, port, &knows_host);
    return allowed ? EGRESS_ALLOWED : EGRESS_DENIED_REPOSITORY;
}

/* Named by an operator: as a host, or by where it was found. */
static bool is_private_allowed(const struct egress_policy *policy, const struct net_host *host,
                               uint16_t port, const struct net_address *address)
{
    for (size_t i = 0; i < policy->allow_private.count; i++) {
        const struct net_rule *rule = &policy->allow_private.rules[i];
        if (!net_rule_has_port(rule, port))
            continue;
        if (rule->name ? net_rule_has_host(rule, host) : net_rule_has_address(rule, address))
            return true;
    }
    return false;
}

enum egress_verdict egress_policy_address(const struct egress_policy *policy,
                                          const struct net_host *host, uint16_t port,
                                          const struct net_address *address)
{
    if (is_private_allowed(policy, host, port, address))
        return EGRESS_ALLOWED;
    if (net_address_special(address))
        return EGRESS_DENIED_PRIVATE;
    return own_address(address) ? EGRESS_DENIED_OWN : EGRESS_ALLOWED;
}

bool egress_policy_checks_tls(const struct egress_policy *policy, uint16_t port)
{
    return port == 443 &&
           (policy->access != EGRESS_PUBLIC || policy->narrowing.access != EGRESS_PUBLIC);
}
