#include "config/config.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "config/keys.h"

enum {
    LINE_LEN_MAX = 190, /* inih cuts a line of more than INI_MAX_LINE (200) in two */
    FIELDS_MAX = 512,
};

/* One file being read. inih takes the lines apart; what it does not tell (which line, how long a
 * section's name really is) is kept here, as the lines pass by. */
struct reader {
    struct config *config;
    const char *name;
    const char *at, *end;
    int line;
    struct section_target target;
    int provider_lines[CONFIG_PROVIDERS_MAX]; /* where each was named first */
    int forge_lines[CONFIG_FORGES_MAX];
    int model_line;
    void *seen[FIELDS_MAX];
    size_t seen_count;
    struct err err; /* the first mistake, */
    int err_line;   /* and its line */
};

const char *wire_api_name(enum wire_api wire)
{
    static const char *const names[] = {[WIRE_RESPONSES] = "responses",
                                        [WIRE_CHAT] = "chat",
                                        [WIRE_MESSAGES] = "messages",
                                        [WIRE_REPLAY] = "replay"};
    return names[wire];
}

bool config_effort_valid(const char *s)
{
    static const char *const efforts[] = {"low", "medium", "high", "xhigh"};
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++)
        if (!strcmp(s, efforts[i]))
            return true;
    return false;
}

bool config_variable_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t len = strlen(name);
    return len && len <= CONFIG_VARIABLE_MAX && strspn(name, letters) == len &&
           !(*name >= '0' && *name <= '9');
}

void config_init(struct config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *config = (struct config){
        .user = str_dup("codex"),
        .max_running = 4,
        .effort = str_dup("high"),
        .runtime = str_dup("crun"),
        .memory_bytes = 4LL << 30,
        .cpu_milli = (cores > 0 ? cores : 1) * 1000,
        .pids = 1024,
        .timeout_ms = 8LL * 3600 * 1000,
        .test_timeout_ms = 30LL * 60 * 1000,
        .verify_rounds = 3,
        .author_name = str_dup("Codex"),
        .author_email = str_dup("codex@localhost"),
        .fetch_timeout_ms = 30LL * 60 * 1000,
        .stall_timeout_ms = 60LL * 1000,
        .large_files_bytes = 2LL << 30,
        .internet = str_dup("public"),
    };
}

static void release_rules(struct config_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        free(rules->rules[i]);
    free(rules->rules);
}

static void release_extras(struct config_extras *extras)
{
    for (size_t i = 0; i < extras->count; i++) {
        free(extras->list[i].name);
        free(extras->list[i].value);
    }
}

void config_release(struct config *config)
{
    char *const strings[] = {config->user,     config->socket,      config->model,
                             config->provider, config->effort,      config->runtime,
                             config->images,   config->author_name, config->author_email,
                             config->internet, config->resolver};
    release_rules(&config->allow);
    release_rules(&config->allow_private);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        free(strings[i]);
    for (size_t i = 0; i < config->providers_count; i++) {
        struct config_provider *p = &config->providers[i];
        free(p->name);
        free(p->base_url);
        free(p->env_key);
        free(p->key_file);
        free(p->file);
        release_extras(&p->headers);
        release_extras(&p->query);
    }
    for (size_t i = 0; i < config->forges_count; i++) {
        struct config_forge *f = &config->forges[i];
        char *const all[] = {f->name, f->kind,         f->base_url,    f->token_env, f->token_file,
                             f->user, f->ssh_key_file, f->known_hosts, f->ca_file};
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            free(all[j]);
    }
    *config = (struct config){0};
}

const struct config_provider *config_provider_find(const struct config *config, const char *name)
{
    for (size_t i = 0; name && i < config->providers_count; i++)
        if (!strcmp(config->providers[i].name, name))
            return &config->providers[i];
    return NULL;
}

const struct config_forge *config_forge_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->forges_count; i++)
        if (!strcasecmp(config->forges[i].name, name))
            return &config->forges[i];
    return NULL;
}

bool config_forge_is_github(const char *name)
{
    return !strcasecmp(name, "github.com") || str_ends_with(name, ".ghe.com");
}

/* A token goes there with each request. */
static bool is_open_to_listeners(const struct config_forge *forge)
{
    if (!forge->base_url || forge->allow_http || !str_starts_with(forge->base_url, "http://"))
        return false;
    AUTO_FREE char *address = str_format("%s/x", forge->base_url);
    struct repo_url url;
    struct err ignored;
    return repo_url_parse(&url, address, &ignored) < 0 || !repo_url_is_loopback(&url);
}

/* Keep the first mistake, with its place. */
static void complain(struct reader *reader, int line, const struct err *err)
{
    if (reader->err.code)
        return;
    err_set(&reader->err, ERR_USAGE, "%s:%d: %s", reader->name, line, err->message);
    reader->err_line = line;
}

static void open_section(struct reader *reader, const char *line)
{
    struct err err;
    const char *close = strchr(line, ']');
    if (!close || close[1]) {
        err_set(&err, ERR_USAGE, "'%s' is not a section: write [name]", line);
        complain(reader, reader->line, &err);
        return;
    }
    char header[LINE_LEN_MAX + 1];
    size_t len = (size_t)(close - line - 1);
    memcpy(header, line + 1, len);
    header[len] = '\0';
    size_t providers = reader->config->providers_count;
    size_t forges = reader->config->forges_count;
    if (section_open(reader->config, header, &reader->target, &err) < 0)
        complain(reader, reader->line, &err);
    else if (reader->config->providers_count > providers)
        reader->provider_lines[providers] = reader->line;
    else if (reader->config->forges_count > forges)
        reader->forge_lines[forges] = reader->line;
}

/* Cut what stands behind " #" or " ;", and the white space around the rest. */
static char *strip(char *line)
{
    line += strspn(line, " \t\r");
    for (char *p = line; *p; p++)
        if ((*p == '#' || *p == ';') && (p == line || p[-1] == ' ' || p[-1] == '\t'))
            *p = '\0';
    for (size_t len = strlen(line); len && strchr(" \t\r", line[len - 1]); len--)
        line[len - 1] = '\0';
    return line;
}

/*
 * fgets for inih. Lines reach it without comments and indentation: inih takes an indented line for
 * the continuation of the value before it, which would turn an indented key into a wrong value.
 */
static char *next_line(char *out, int size, void *stream)
{
    struct reader *reader = stream;
    if (reader->at == reader->end)
        return NULL;
    const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
    size_t len = (size_t)((newline ? newline : reader->end) - reader->at);
    const char *from = reader->at;
    reader->at += len + (newline ? 1 : 0);
    reader->line++;

    char line[LINE_LEN_MAX + 1] = "";
    if (len > LINE_LEN_MAX || memchr(from, '\0', len)) {
        struct err err;
        if (len > LINE_LEN_MAX)
            err_set(&err, ERR_LIMIT, "line longer than %d bytes", LINE_LEN_MAX);
        else
            err_set(&err, ERR_USAGE, "NUL byte");
        complain(reader, reader->line, &err);
    } else {
        memcpy(line, from, len);
        line[len] = '\0';
    }
    char *text = strip(line);
    if (*text == '[')
        open_section(reader, text);
    if ((size_t)size < strlen(text) + 2)
        abort(); /* inih's line is larger than LINE_LEN_MAX */
    stpcpy(stpcpy(out, text), "\n");
    return out;
}

static bool seen_before(struct reader *reader, void *field)
{
    for (size_t i = 0; i < reader->seen_count; i++)
        if (reader->seen[i] == field)
            return true;
    if (reader->seen_count < FIELDS_MAX)
        reader->seen[reader->seen_count++] = field;
    return false;
}

static int take_key(void *arg, const char *section, const char *key, const char *value)
{
    struct reader *reader = arg;
    struct err err;
    void *field = NULL;
    if (reader->err.code)
        return 0;
    int status = section_set(&reader->target, key, value, &field, &err);
    if (status == 0 && field && seen_before(reader, field))
        status = err_set(&err, ERR_USAGE, "'%s' is given twice", key);
    if (status < 0)
        complain(reader, reader->line, &err);
    if (field == &reader->config->provider)
        reader->model_line = reader->line;
    return status == 0;
}

/* What no single line can tell. */
static void check_whole(struct reader *reader)
{
    const struct config *config = reader->config;
    struct err err;
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *p = &config->providers[i];
        err.code = 0;
        if (p->wire_api == WIRE_REPLAY && !p->file)
            err_set(&err, ERR_USAGE, "provider '%s' replays recorded turns but has no file",
                    p->name);
        else if (p->wire_api != WIRE_REPLAY && !p->base_url)
            err_set(&err, ERR_USAGE, "provider '%s' has no base_url", p->name);
        if (err.code)
            complain(reader, reader->provider_lines[i], &err);
    }
    for (size_t i = 0; i < config->forges_count; i++) {
        const struct config_forge *f = &config->forges[i];
        err.code = 0;
        if (f->token_env && f->token_file)
            err_set(&err, ERR_USAGE, "forge '%s' has both token_env and token_file", f->name);
        else if (f->ssh_key_file && !f->known_hosts)
            err_set(&err, ERR_USAGE, "forge '%s' has an ssh_key_file but no known_hosts", f->name);
        else if (is_open_to_listeners(f))
            err_set(&err, ERR_USAGE,
                    "forge '%s' has a base_url of http://, which hands the token to everybody on "
                    "the way: write https://, or set allow_http = yes",
                    f->name);
        if (err.code)
            complain(reader, reader->forge_lines[i], &err);
    }
    if (config->provider && !config_provider_find(config, config->provider)) {
        err_set(&err, ERR_USAGE, "there is no section [provider \"%s\"]", config->provider);
        complain(reader, reader->model_line, &err);
    }
}

int config_parse(struct config *config, const char *name, const char *bytes, size_t len,
                 struct err *err)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (len >= 3 && !memcmp(bytes, byte_order_mark, 3)) {
        bytes += 3;
        len -= 3;
    }
    struct reader reader = {.config = config, .name = name, .at = bytes, .end = bytes + len};
    int bad_line = ini_parse_stream(next_line, &reader, take_key, &reader);
    /* inih goes on after a line that is neither, and tells only the first bad one. */
    if (bad_line > 0 && (!reader.err.code || bad_line < reader.err_line))
        err_set(&reader.err, ERR_USAGE, "%s:%d: neither 'key = value' nor '[section]'", name,
                bad_line);
    else if (!reader.err.code && bad_line < 0)
        err_set(&reader.err, -ENOMEM, "%s: out of memory", name);
    if (!reader.err.code)
        check_whole(&reader);
    for (size_t i = 0; i < config->forges_count; i++)
        if (!config->forges[i].kind && config_forge_is_github(config->forges[i].name))
            config->forges[i].kind = str_dup("github");
    return reader.err.code ? err_set(err, reader.err.code, "%s", reader.err.message) : 0;
}

int config_load(struct config *config, const char *path, struct err *err)
{
    AUTO_BUF struct buf bytes;
    buf_init(&bytes, CONFIG_FILE_MAX);
    int status = io_read_file(path, &bytes, err);
    if (status < 0)
        return status;
    return config_parse(config, path, bytes.data, bytes.len, err);
}
