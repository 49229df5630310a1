#include "config/keys.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/net_rule.h"
#include "base/str.h"
#include "config/reference.h"

static const char *const section_names[SECTION_COUNT] = {
    [SECTION_SERVER] = "server",     [SECTION_MODEL] = "model", [SECTION_SANDBOX] = "sandbox",
    [SECTION_TASK] = "task",         [SECTION_GIT] = "git",     [SECTION_INTERNET] = "internet",
    [SECTION_PROVIDER] = "provider", [SECTION_FORGE] = "forge",
};

typedef int value_fn(const char *value, int64_t min, int64_t max, void *field, struct err *err);

static void set_string(void *field, const char *value)
{
    char **string = field;
    free(*string);
    *string = str_dup(value);
}

static int parse_text(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    for (const char *p = value; *p; p++)
        if (iscntrl((unsigned char)*p))
            return err_set(err, ERR_USAGE, "control characters are not allowed");
    set_string(field, value);
    return 0;
}

/* The value may be a key that somebody put in the place of its name, so it is not repeated. */
static int parse_variable(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (!config_variable_valid(value))
        return err_set(
            err, ERR_USAGE,
            "not the name of a key: letters, digits and '_', at most %d of them (the key "
            "itself does not belong here: 'codex secret set NAME')",
            CONFIG_VARIABLE_MAX);
    set_string(field, value);
    return 0;
}

/* What goes into requests as it is. */
static int parse_plain(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (!str_is_plain(value))
        return err_set(err, ERR_USAGE, "'%s' has a space, a quote or a letter that is not ASCII",
                       value);
    set_string(field, value);
    return 0;
}

static int parse_path(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (value[0] != '/')
        return err_set(err, ERR_USAGE, "'%s' is not an absolute path", value);
    return parse_text(value, min, max, field, err);
}

static int parse_url(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    size_t scheme = str_starts_with(value, "https://")  ? strlen("https://")
                    : str_starts_with(value, "http://") ? strlen("http://")
                                                        : 0;
    if (!scheme || !value[scheme] || value[scheme] == '/')
        return err_set(err, ERR_USAGE, "'%s' is not an http:// or https:// address", value);
    int status = parse_plain(value, min, max, field, err);
    if (status < 0)
        return status;
    char *url = *(char **)field;
    for (size_t len = strlen(url); len && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
    return 0;
}

static int parse_number(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (str_parse_int(value, min, max, field) < 0)
        return err_set(err, ERR_USAGE, "'%s' is not a number from %lld to %lld", value,
                       (long long)min, (long long)max);
    return 0;
}

static int parse_duration(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    int64_t ms = clock_parse_duration_ms(value);
    if (ms < 0)
        return err_set(err, ERR_USAGE,
                       "'%s' is not a duration like 90s, 15m, 8h or 2d (at most 30d)", value);
    *(int64_t *)field = ms;
    return 0;
}

/* "512M", "4G": bytes. */
static int parse_size(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    uint64_t bytes;
    if (str_parse_size(value, &bytes) < 0 || bytes < (uint64_t)min || bytes > (uint64_t)max)
        return err_set(err, ERR_USAGE, "'%s' is not a size like 512M or 4G (from %lldM to %lldG)",
                       value, (long long)(min >> 20), (long long)(max >> 30));
    *(int64_t *)field = (int64_t)bytes;
    return 0;
}

/* The same, and "0". */
static int parse_size_or_zero(const char *value, int64_t min, int64_t max, void *field,
                              struct err *err)
{
    if (strcmp(value, "0") != 0)
        return parse_size(value, min, max, field, err);
    *(int64_t *)field = 0;
    return 0;
}

/* "2", "1.5": thousandths of a core; "0" for no limit. */
static int parse_cpus(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    uint32_t milli = 0;
    if (strcmp(value, "0") != 0 &&
        (str_parse_milli(value, (uint32_t)max, &milli) < 0 || milli < (uint32_t)min))
        return err_set(err, ERR_USAGE, "'%s' is not a number of cores like 2 or 1.5 (0: no limit)",
                       value);
    *(int64_t *)field = milli;
    return 0;
}

static int parse_effort(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (!config_effort_valid(value))
        return err_set(err, ERR_USAGE, "'%s' is not an effort: low, medium, high or xhigh", value);
    set_string(field, value);
    return 0;
}

static int parse_wire_api(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    for (enum wire_api wire = WIRE_RESPONSES; wire <= WIRE_REPLAY; wire++)
        if (!strcmp(value, wire_api_name(wire))) {
            *(enum wire_api *)field = wire;
            return 0;
        }
    return err_set(err, ERR_USAGE, "'%s' is not a wire_api: responses, chat, messages or replay",
                   value);
}

static int parse_forge_kind(const char *value, int64_t min, int64_t max, void *field,
                            struct err *err)
{
    static const char *const kinds[] = {"plain", "github", "gitlab", "gitea"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(value, kinds[i])) {
            set_string(field, value);
            return 0;
        }
    return err_set(err, ERR_USAGE, "'%s' is not a kind of forge: plain, github, gitlab or gitea",
                   value);
}

static int parse_yes_no(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    if (strcmp(value, "yes") && strcmp(value, "no"))
        return err_set(err, ERR_USAGE, "'%s' is neither yes nor no", value);
    *(bool *)field = !strcmp(value, "yes");
    return 0;
}

static int parse_access(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    static const char *const names[] = {"off", "common", "list", "public"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(value, names[i])) {
            set_string(field, value);
            return 0;
        }
    return err_set(err, ERR_USAGE, "'%s' is not an access: off, common, list or public", value);
}

/* "example.com, *.example.org:8443": added to the list. */
static int parse_rules(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    struct config_rules *list = field;
    AUTO_FREE char *copy = str_dup(value);
    char *rest = copy;
    for (char *text; (text = strsep(&rest, ", \t"));) {
        struct net_rule rule;
        if (!*text)
            continue;
        if (net_rule_parse(&rule, text, err) < 0)
            return err->code;
        net_rule_release(&rule);
        if (list->count == (size_t)max)
            return err_set(err, ERR_LIMIT, "more than %lld rules", (long long)max);
        list->rules = reallocarray(list->rules, list->count + 1, sizeof *list->rules);
        if (!list->rules)
            abort();
        list->rules[list->count++] = str_dup(text);
    }
    return 0;
}

static int parse_resolver(const char *value, int64_t min, int64_t max, void *field, struct err *err)
{
    struct net_host host;
    uint16_t port;
    if (net_host_parse_authority(&host, &port, value, strlen(value), err) < 0 || !host.is_address)
        return err_set(err, ERR_USAGE,
                       "'%s' is not the address of a name server, like 192.0.2.53 or "
                       "127.0.0.1:5353",
                       value);
    set_string(field, value);
    return 0;
}

static const struct key {
    enum section section;
    const char *name;
    value_fn *parse;
    int64_t min, max;
    size_t offset;
} keys[] = {
#define CONFIG(field)   offsetof(struct config, field)
#define PROVIDER(field) offsetof(struct config_provider, field)
#define FORGE(field)    offsetof(struct config_forge, field)
    {SECTION_SERVER, "user", parse_text, 0, 0, CONFIG(user)},
    {SECTION_SERVER, "socket", parse_path, 0, 0, CONFIG(socket)},
    {SECTION_SERVER, "max_running", parse_number, 1, 1000, CONFIG(max_running)},
    {SECTION_MODEL, "name", parse_plain, 0, 0, CONFIG(model)},
    {SECTION_MODEL, "provider", parse_text, 0, 0, CONFIG(provider)},
    {SECTION_MODEL, "effort", parse_effort, 0, 0, CONFIG(effort)},
    {SECTION_SANDBOX, "runtime", parse_text, 0, 0, CONFIG(runtime)},
    {SECTION_SANDBOX, "images", parse_path, 0, 0, CONFIG(images)},
    {SECTION_SANDBOX, "memory", parse_size, 64 << 20, 1LL << 40, CONFIG(memory_bytes)},
    {SECTION_SANDBOX, "cpus", parse_cpus, 100, 1024000, CONFIG(cpu_milli)},
    {SECTION_SANDBOX, "pids", parse_number, 32, 1 << 20, CONFIG(pids)},
    {SECTION_SANDBOX, "disk", parse_size_or_zero, 64 << 20, 8LL << 40, CONFIG(disk_bytes)},
    {SECTION_SANDBOX, "inodes", parse_number, 4096, 1 << 30, CONFIG(inodes)},
    {SECTION_SANDBOX, "allow_root", parse_yes_no, 0, 0, CONFIG(allow_root)},
    {SECTION_TASK, "timeout", parse_duration, 0, 0, CONFIG(timeout_ms)},
    {SECTION_TASK, "test_timeout", parse_duration, 0, 0, CONFIG(test_timeout_ms)},
    {SECTION_TASK, "verify_rounds", parse_number, 0, 20, CONFIG(verify_rounds)},
    {SECTION_TASK, "budget_tokens", parse_number, 1, INT64_MAX / 2, CONFIG(budget_tokens)},
    {SECTION_GIT, "author_name", parse_text, 0, 0, CONFIG(author_name)},
    {SECTION_GIT, "author_email", parse_text, 0, 0, CONFIG(author_email)},
    {SECTION_GIT, "fetch_timeout", parse_duration, 0, 0, CONFIG(fetch_timeout_ms)},
    {SECTION_GIT, "stall_timeout", parse_duration, 0, 0, CONFIG(stall_timeout_ms)},
    {SECTION_GIT, "large_files", parse_size_or_zero, 1 << 20, 1LL << 40, CONFIG(large_files_bytes)},
    {SECTION_INTERNET, "access", parse_access, 0, 0, CONFIG(internet)},
    {SECTION_INTERNET, "allow", parse_rules, 0, CONFIG_RULES_MAX, CONFIG(allow)},
    {SECTION_INTERNET, "allow_private", parse_rules, 0, CONFIG_RULES_MAX, CONFIG(allow_private)},
    {SECTION_INTERNET, "resolver", parse_resolver, 0, 0, CONFIG(resolver)},
    {SECTION_PROVIDER, "base_url", parse_url, 0, 0, PROVIDER(base_url)},
    {SECTION_PROVIDER, "wire_api", parse_wire_api, 0, 0, PROVIDER(wire_api)},
    {SECTION_PROVIDER, "env_key", parse_variable, 0, 0, PROVIDER(env_key)},
    {SECTION_PROVIDER, "key_file", parse_path, 0, 0, PROVIDER(key_file)},
    {SECTION_PROVIDER, "file", parse_path, 0, 0, PROVIDER(file)},
    {SECTION_PROVIDER, "first_byte_timeout", parse_duration, 0, 0, PROVIDER(first_byte_timeout_ms)},
    {SECTION_PROVIDER, "idle_timeout", parse_duration, 0, 0, PROVIDER(idle_timeout_ms)},
    {SECTION_FORGE, "kind", parse_forge_kind, 0, 0, FORGE(kind)},
    {SECTION_FORGE, "token_env", parse_variable, 0, 0, FORGE(token_env)},
    {SECTION_FORGE, "token_file", parse_path, 0, 0, FORGE(token_file)},
    {SECTION_FORGE, "base_url", parse_url, 0, 0, FORGE(base_url)},
    {SECTION_FORGE, "user", parse_text, 0, 0, FORGE(user)},
    {SECTION_FORGE, "ssh_key_file", parse_path, 0, 0, FORGE(ssh_key_file)},
    {SECTION_FORGE, "known_hosts", parse_path, 0, 0, FORGE(known_hosts)},
    {SECTION_FORGE, "ca_file", parse_path, 0, 0, FORGE(ca_file)},
    {SECTION_FORGE, "allow_http", parse_yes_no, 0, 0, FORGE(allow_http)},
};

static struct config_provider *provider_open(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->providers_count; i++)
        if (!strcmp(config->providers[i].name, name))
            return &config->providers[i];
    if (config->providers_count == CONFIG_PROVIDERS_MAX)
        return NULL;
    struct config_provider *provider = &config->providers[config->providers_count++];
    *provider = (struct config_provider){
        .name = str_dup(name), .first_byte_timeout_ms = 300000, .idle_timeout_ms = 300000};
    return provider;
}

static struct config_forge *forge_open(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->forges_count; i++)
        if (!strcmp(config->forges[i].name, name))
            return &config->forges[i];
    if (config->forges_count == CONFIG_FORGES_MAX)
        return NULL;
    struct config_forge *forge = &config->forges[config->forges_count++];
    *forge = (struct config_forge){.name = str_dup(name)};
    return forge;
}

/* The name in [kind "name"]; 0 when HEADER has none, negative when it is malformed. */
static int section_name(const char *rest, char *name, size_t size)
{
    if (!*rest)
        return 0;
    size_t len = strlen(rest);
    if (len < 4 || rest[0] != ' ' || rest[1] != '"' || rest[len - 1] != '"' || len - 3 >= size)
        return -1;
    memcpy(name, rest + 2, len - 3);
    name[len - 3] = '\0';
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:[]", *p))
            return -1;
    return 1;
}

int section_open(struct config *config, const char *header, struct section_target *out,
                 struct err *err)
{
    char name[128];
    for (enum section s = SECTION_NONE + 1; s < SECTION_COUNT; s++) {
        size_t len = strlen(section_names[s]);
        if (strncmp(header, section_names[s], len) || (header[len] && header[len] != ' '))
            continue;
        bool named = s == SECTION_PROVIDER || s == SECTION_FORGE;
        if (section_name(header + len, name, sizeof name) != (named ? 1 : 0))
            return err_set(err, ERR_USAGE, "bad section [%s]: write [%s%s]", header,
                           section_names[s], named ? " \"name\"" : "");
        *out = (struct section_target){.section = s, .base = config};
        if (s == SECTION_PROVIDER)
            out->base = provider_open(config, name);
        else if (s == SECTION_FORGE)
            out->base = forge_open(config, name);
        return out->base ? 0 : err_set(err, ERR_LIMIT, "too many sections like [%s]", header);
    }
    return err_set(err, ERR_USAGE, "unknown section [%s]", header);
}

/* Headers that say how a request is framed or where it goes are not anybody's to set. */
static bool is_reserved(const char *header)
{
    static const char *const reserved[] = {
        "Host",    "Content-Length",   "Transfer-Encoding", "Connection",      "Expect",
        "Trailer", "Content-Encoding", "Content-Type",      "Accept-Encoding", "Keep-Alive",
        "TE",      "Upgrade"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (!strcasecmp(header, reserved[i]))
            return true;
    return !strncasecmp(header, "Proxy-", strlen("Proxy-"));
}

static int check_extra(const char *name, const char *value, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    if (!*name || name[strspn(name, allowed)])
        return err_set(err, ERR_USAGE, "'%s' is not a name", name);
    for (const char *p = value; *p; p++)
        if (*p < ' ' || *p > '~')
            return err_set(err, ERR_USAGE, "only printable ASCII characters are allowed");
    struct reference_part part;
    int status;
    while ((status = reference_next(&value, &part, err)) > 0)
        ;
    return status;
}

/* A name is given once; of a header, in any spelling. */
static int set_extra(struct config_extras *extras, const char *name, const char *value,
                     void **field, struct err *err)
{
    size_t i = 0;
    int status = check_extra(name, value, err);
    if (status < 0)
        return status;
    while (i < extras->count && strcasecmp(extras->list[i].name, name) != 0)
        i++;
    if (i == CONFIG_EXTRAS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d of them", CONFIG_EXTRAS_MAX);
    if (i == extras->count)
        extras->list[extras->count++] = (struct config_extra){.name = str_dup(name)};
    set_string(&extras->list[i].value, value);
    *field = &extras->list[i].value;
    return 0;
}

/* header.NAME and query.NAME. Returns 1 when KEY is neither. */
static int set_provider_extra(struct config_provider *provider, const char *key, const char *value,
                              void **field, struct err *err)
{
    static const char header[] = "header.", query[] = "query.";
    int status;
    if (!str_starts_with(key, header) && !str_starts_with(key, query))
        return 1;
    if (!*value)
        return err_set(err, ERR_USAGE, "'%s' has no value", key);
    if (str_starts_with(key, header) && is_reserved(key + strlen(header)))
        status = err_set(err, ERR_USAGE, "this header cannot be set");
    else if (str_starts_with(key, header))
        status = set_extra(&provider->headers, key + strlen(header), value, field, err);
    else
        status = set_extra(&provider->query, key + strlen(query), value, field, err);
    return status < 0 ? err_context(err, "%s", key) : status;
}

int section_set(const struct section_target *target, const char *key, const char *value,
                void **field, struct err *err)
{
    if (target->section == SECTION_NONE)
        return err_set(err, ERR_USAGE, "'%s' stands before the first [section]", key);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (keys[i].section != target->section || strcmp(keys[i].name, key))
            continue;
        if (!*value)
            return err_set(err, ERR_USAGE, "'%s' has no value", key);
        *field = (char *)target->base + keys[i].offset;
        if (keys[i].parse(value, keys[i].min, keys[i].max, *field, err) < 0)
            return err_context(err, "%s", key);
        if (keys[i].parse == parse_rules)
            *field = NULL;
        return 0;
    }
    int status = 1;
    if (target->section == SECTION_PROVIDER)
        status = set_provider_extra(target->base, key, value, field, err);
    if (status <= 0)
        return status;
    return err_set(err, ERR_USAGE, "unknown key '%s' in [%s]", key, section_names[target->section]);
}
