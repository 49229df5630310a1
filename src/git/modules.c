#include "git/modules.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/object_id.h"
#include "base/str.h"
#include "git/command.h"

enum {
    SETTINGS_MAX = 1 << 20, /* bytes of what .gitmodules says */
    NAMES_MAX = 256,        /* submodules that are looked at */
    PATH_MAX_BYTES = 1024,
    SHOWN_MAX = 120,
};

/* What .gitmodules says of one submodule; pointers into the settings. */
struct module {
    const char *name;
    size_t name_len;
    const char *path, *url, *update;
};

struct listing {
    struct module modules[NAMES_MAX];
    size_t count;
};

/* TEXT, that somebody else wrote, so that it fits into a line. */
static void append_shown(struct buf *out, const char *text)
{
    AUTO_BUF struct buf valid;
    buf_init(&valid, SHOWN_MAX);
    str_append_utf8(&valid, text, strlen(text));
    for (const char *p = valid.data; *p; p++)
        buf_append_char(out, (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
}

static void note(struct buf *line, const struct module *module, const char *why)
{
    buf_append_str(line, "note submodule '");
    append_shown(line, module->path);
    buf_appendf(line, "' was left out: %s\n", why);
}

/* The settings of COMMIT's .gitmodules, as "key\nvalue\0" each; none when there is no such file.
 * False when it cannot be read. */
static bool read_settings(const char *git_dir, const char *commit, struct buf *out)
{
    struct err ignored;
    AUTO_BUF struct buf said;
    buf_init(&said, 65536);
    AUTO_FREE char *blob = str_format("%s:.gitmodules", commit);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "cat-file", "-e", blob, NULL);
    if (git_run(&git, &ignored) != 0)
        return true;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--null", "--no-includes", "--blob", blob, "--get-regexp",
             "^submodule\\..*\\.(path|url|update)$", NULL);
    git.out = out;
    git.memory_max = 1ULL << 30;
    git.errors = &said;
    /* 1 without a word: nothing in it is of that kind */
    int code = git_run(&git, &ignored);
    return code == 0 || (code == 1 && !said.len);
}

static struct module *find(struct listing *listing, const char *name, size_t len)
{
    for (size_t i = 0; i < listing->count; i++)
        if (listing->modules[i].name_len == len && !memcmp(listing->modules[i].name, name, len))
            return &listing->modules[i];
    if (listing->count == NAMES_MAX)
        return NULL;
    struct module *module = &listing->modules[listing->count++];
    *module = (struct module){.name = name, .name_len = len};
    return module;
}

/* One entry, "submodule.<name>.<key>\n<value>". Of a setting that is there twice the last counts,
 * as for git. */
static void take_setting(struct listing *listing, const char *entry)
{
    static const char before[] = "submodule.";
    const char *value = strchr(entry, '\n');
    if (!value)
        return;
    const char *dot = memrchr(entry, '.', (size_t)(value - entry));
    if (!dot || !str_starts_with(entry, before) || dot < entry + sizeof before)
        return;
    const char *name = entry + sizeof before - 1;
    struct module *module = find(listing, name, (size_t)(dot - name));
    if (!module)
        return;
    const char **place = !strncmp(dot, ".path\n", 6)  ? &module->path
                         : !strncmp(dot, ".url\n", 5) ? &module->url
                                                      : &module->update;
    *place = value + 1;
}

/* The commit that PATH is a submodule at; false when it is none, whatever the reason. */
static bool find_gitlink(const char *git_dir, const char *commit, const char *path,
                         char sha[OBJECT_ID_SIZE])
{
    static const char before[] = "160000 commit ";
    struct err ignored;
    AUTO_BUF struct buf answer;
    buf_init(&answer, 65536);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "ls-tree", "-z", "--full-tree", commit, "--", path, NULL);
    git_env(&git, "GIT_LITERAL_PATHSPECS=1");
    git.out = &answer;
    const size_t tab = sizeof before - 1 + OBJECT_ID_LEN;
    if (git_run(&git, &ignored) != 0 || !str_starts_with(answer.data, before) ||
        answer.len <= tab || answer.data[tab] != '\t' || strcmp(answer.data + tab + 1, path) != 0)
        return false;
    memcpy(sha, answer.data + sizeof before - 1, OBJECT_ID_LEN);
    sha[OBJECT_ID_LEN] = '\0';
    return object_id_valid(sha);
}

/* Where in the address' text its path begins. */
static size_t path_start(const struct repo_url *url)
{
    const char *authority = strstr(url->text, "://");
    if (authority)
        return (size_t)(strchr(authority + 3, '/') + 1 - url->text);
    const char *host = strchr(url->text, '@') + 1;
    const char *end = *host == '[' ? strchr(host, ']') : host;
    return (size_t)(strchr(end, ':') + 1 - url->text);
}

int modules_resolve_relative(const struct repo_url *url, const char *relative, struct repo_url *out,
                             struct err *err)
{
    char text[REPO_URL_MAX + 1];
    size_t start = path_start(url), len = strlen(url->text);
    memcpy(text, url->text, len + 1);
    for (;;) {
        if (str_starts_with(relative, "./")) {
            relative += 2;
            continue;
        }
        if (!str_starts_with(relative, "../"))
            break;
        relative += 3;
        if (len <= start)
            return err_set(err, ERR_USAGE, "its address leads out of the host");
        while (len > start && text[len - 1] != '/')
            len--;
        len -= len > start; /* the slash, unless it is the one behind the host */
    }
    AUTO_FREE char *whole =
        str_format("%.*s%s%s", (int)len, text, len > start ? "/" : "", relative);
    int status = repo_url_parse(out, whole, err);
    if (status == 0 && (strcmp(out->site, url->site) != 0 || out->scheme != url->scheme))
        return err_set(err, ERR_USAGE, "its address leads out of the host");
    return status;
}

/* Why the submodule cannot be fetched, whatever the policy; NULL, and its address in OUT, when it
 * can. */
static const char *find_address(const struct module *module, const struct repo_url *url,
                                struct repo_url *out)
{
    struct err why;
    if (!module->url)
        return "it has no address";
    if (module->update && module->update[0] == '!')
        return "its 'update' is a command, which is never run";
    if (str_starts_with(module->url, "./") || str_starts_with(module->url, "../"))
        return modules_resolve_relative(url, module->url, out, &why) < 0
                   ? "its relative address leads nowhere"
                   : NULL;
    return repo_url_parse(out, module->url, &why) < 0
               ? "only https://, http:// and ssh addresses without a login are fetched from"
               : NULL;
}

/* Its line into LINE; true when it is one of a submodule to fetch. */
static bool describe(const char *git_dir, const char *commit, const struct repo_url *url,
                     const struct module *module, bool full, struct buf *line)
{
    char sha[OBJECT_ID_SIZE];
    struct repo_url address;
    if (!module->path || !*module->path || strlen(module->path) > PATH_MAX_BYTES ||
        !find_gitlink(git_dir, commit, module->path, sha))
        return false;
    const char *why = find_address(module, url, &address);
    if (!why && full)
        why = "there are too many";
    if (why) {
        note(line, module, why);
        return false;
    }
    buf_appendf(line, "module %s %s ", sha, address.text);
    append_shown(line, module->path);
    buf_append_char(line, '\n');
    return true;
}

void modules_list(const char *git_dir, const char *commit, const struct repo_url *url,
                  struct buf *out)
{
    AUTO_BUF struct buf settings, line;
    AUTO_FREE struct listing *listing = calloc(1, sizeof *listing);
    if (!listing)
        abort();
    buf_init(&settings, SETTINGS_MAX);
    buf_init(&line, REPO_URL_MAX + 1024);
    if (!read_settings(git_dir, commit, &settings))
        buf_append_str(out, "note submodules were left out: .gitmodules cannot be read\n");
    const char *end = settings.data + settings.len;
    for (const char *p = settings.data; p < end; p += strlen(p) + 1)
        take_setting(listing, p);
    size_t listed = 0;
    for (size_t i = 0; i < listing->count; i++) {
        buf_clear(&line);
        listed +=
            describe(git_dir, commit, url, &listing->modules[i], listed == MODULES_MAX, &line);
        buf_append(out, line.data, line.len); /* notes that no longer fit are not missed */
    }
}
