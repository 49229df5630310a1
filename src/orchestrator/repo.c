#include "orchestrator/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "config/internet.h"
#include "git/access.h"
#include "orchestrator/internal.h"

enum {
    SPAWNER_EXTRA_MS = 15 * 60 * 1000, /* for what codex-git does besides with the remote */
};

bool repo_is_remote(const char *repo)
{
    return repo_url_is_remote(repo);
}

/* The [forge] of URL, and what was read for it; NULL when there is none. */
static const struct config_forge *find_forge(const struct orchestrator *o,
                                             const struct repo_url *url,
                                             const struct secret_forge **secret)
{
    const struct config_forge *forge = config_forge_find(o->config, url->site);
    *secret = forge ? &o->secrets->forges[forge - o->config->forges] : NULL;
    return forge;
}

static int check_ssh(const struct repo_url *url, const struct secret_forge *secret, struct err *err)
{
    if (secret && secret->ssh_key && secret->known_hosts)
        return 0;
    return err_set(err, -EACCES,
                   "there is no ssh key for %s: set ssh_key_file and known_hosts in [forge \"%s\"] "
                   "of codex.conf, and restart codexd; or give its https:// address",
                   url->host, url->site);
}

int repo_token(const struct orchestrator *o, const struct config_forge *forge, char **token,
               struct err *err)
{
    return secrets_get(o->secrets, forge->token_env, forge->token_file, token, err);
}

static int check_token(const struct orchestrator *o, const struct config_forge *forge,
                       struct err *err)
{
    char *token;
    struct err why;
    if (repo_token(o, forge, &token, &why) < 0)
        return err_set(err, -EACCES, "[forge \"%s\"] cannot be used: %s", forge->name, why.message);
    secret_free(token);
    return 0;
}

int repo_check(const struct orchestrator *o, const char *repo, char **text, struct err *err)
{
    struct repo_url url;
    const struct secret_forge *secret;
    int status = repo_url_parse(&url, repo, err);
    if (status < 0)
        return status;
    const struct config_forge *forge = find_forge(o, &url, &secret);
    if (url.scheme == REPO_HTTP && !repo_url_is_loopback(&url) && !(forge && forge->allow_http))
        return err_set(err, ERR_REFUSED,
                       "http:// hands the login to everybody on the way: write https://, or set "
                       "allow_http = yes in [forge \"%s\"] of codex.conf",
                       url.site);
    if (secret && secret->missing)
        return err_set(err, -EACCES,
                       "[forge \"%s\"] cannot be used: %s; put that right and restart "
                       "codexd",
                       url.site, secret->missing);
    if (forge && url.scheme != REPO_SSH && (status = check_token(o, forge, err)) < 0)
        return status;
    if (url.scheme == REPO_SSH && (status = check_ssh(&url, secret, err)) < 0)
        return status;
    *text = str_dup(url.text);
    return 0;
}

/* "ssh://git@host/path" and "git@host:path" as "https://host/path": repositories name their
 * submodules by either, and forges serve both. NULL when there is no such form. */
static char *as_https(const struct repo_url *url)
{
    const char *path = strstr(url->text, "://");
    path = path ? strchr(path + 3, '/') : strchr(url->text, ':');
    return url->scheme == REPO_SSH && !url->port && !strchr(url->host, ':') && path
               ? str_format("https://%s/%s", url->host, path + 1)
               : NULL;
}

static int check_stranger(const struct orchestrator *o, const struct repo_url *url, struct err *err)
{
    const struct secret_forge *secret;
    const struct config_forge *forge = find_forge(o, url, &secret);
    if (!strcmp(o->config->internet, "off"))
        return err_set(err, ERR_REFUSED,
                       "it is on another host, and [internet] access is off in codex.conf");
    if (url->scheme == REPO_SSH)
        return err_set(
            err, ERR_REFUSED,
            "it is on another host, where no ssh key is used: give its https:// address");
    if (url->scheme == REPO_HTTP && !repo_url_is_loopback(url) && !(forge && forge->allow_http))
        return err_set(err, ERR_REFUSED, "http:// is not used without allow_http in codex.conf");
    return 0;
}

/* Whom the key logs in as is not for the repository to choose. */
static int check_login(const struct repo_url *main, const struct repo_url *module, struct err *err)
{
    const char *user = main->scheme == REPO_SSH ? main->user : "git";
    if (module->scheme == REPO_SSH && strcmp(module->user, user) != 0)
        return err_set(err, ERR_REFUSED, "its login name is another than '%s'", user);
    return 0;
}

int repo_check_module(const struct orchestrator *o, const char *repo, const char *url, char **text,
                      bool *stranger, struct err *err)
{
    struct repo_url main, module;
    const struct secret_forge *secret;
    *text = NULL;
    int status = repo_url_parse(&main, repo, err);
    if (status == 0)
        status = repo_url_parse(&module, url, err);
    if (status < 0)
        return status;
    const struct config_forge *forge = find_forge(o, &module, &secret);
    *stranger = *stranger || strcmp(main.site, module.site) != 0;
    status = *stranger ? check_stranger(o, &module, err) : check_login(&main, &module, err);
    if (status < 0)
        return status;
    AUTO_FREE char *https = *stranger || main.scheme != REPO_HTTPS ? NULL : as_https(&module);
    bool has_key = forge && secret->ssh_key && secret->known_hosts;
    const char *chosen = https && !has_key ? https : module.text;
    if (!*stranger)
        return repo_check(o, chosen, text, err);
    *text = str_dup(chosen);
    return 0;
}

/* Whom a token logs in as, unless the configuration says: the forges' own words for it. */
static const char *login_name(const struct config_forge *forge)
{
    if (forge->user)
        return forge->user;
    if (forge->kind && !strcmp(forge->kind, "github"))
        return "x-access-token";
    return forge->kind && !strcmp(forge->kind, "gitlab") ? "oauth2" : "git";
}

/* Of a host that only a repository names: no login, and what may be reached. */
static int open_stranger_access(const struct orchestrator *o, const struct repo_url *url,
                                struct err *err)
{
    const struct secret_forge *secret;
    AUTO_BUF struct buf internet;
    buf_init(&internet, CONFIG_INTERNET_JSON_MAX);
    if (config_internet_json(o->config, &internet) < 0)
        return err_set(err, ERR_LIMIT, "[internet] has too many rules");
    const struct git_access access = {
        .ca = find_forge(o, url, &secret) ? secret->ca : NULL,
        .internet = internet.data,
    };
    return git_access_write(&access, err);
}

static int open_access(const struct orchestrator *o, const char *repo, bool stranger,
                       struct err *err)
{
    struct repo_url url;
    const struct secret_forge *secret;
    struct git_access access = {0};
    int status = repo_url_parse(&url, repo, err);
    if (status < 0 || stranger)
        return status < 0 ? status : open_stranger_access(o, &url, err);
    const struct config_forge *forge = find_forge(o, &url, &secret);
    char *token = NULL;
    if (forge && url.scheme != REPO_SSH && (status = repo_token(o, forge, &token, err)) < 0)
        return status;
    if (forge) {
        access.ca = secret->ca;
        access.ssh_key = url.scheme == REPO_SSH ? secret->ssh_key : NULL;
        access.known_hosts = url.scheme == REPO_SSH ? secret->known_hosts : NULL;
        access.token = token;
        access.user = token ? (char *)login_name(forge) : NULL;
    }
    status = git_access_write(&access, err);
    secret_free(token);
    return status;
}

/* The directory for the mirror of REPO, made when it is not there. */
static int open_mirror(const struct orchestrator *o, const char *repo, bool stranger,
                       struct err *err)
{
    char hex[SHA256_DIGEST_STRING_LENGTH];
    AUTO_FREE char *name = str_format("%s%s", stranger ? "without login " : "", repo);
    SHA256Data((const uint8_t *)name, strlen(name), hex);
    AUTO_FREE char *path = str_format("%s/server/mirrors/%.32s.git", o->state_dir, hex);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create directory '%s'", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open directory '%s'", path) : fd;
}

static int open_remote(struct repo_request *request, const struct orchestrator *o, const char *repo,
                       bool stranger, int64_t timeout_ms, struct err *err)
{
    int64_t stall_ms = o->config->stall_timeout_ms;
    request->access_fd = open_access(o, repo, stranger, err);
    request->mirror_fd = request->access_fd < 0 ? -1 : open_mirror(o, repo, stranger, err);
    if (request->mirror_fd < 0)
        return err->code;
    snprintf(request->timeout, sizeof request->timeout, "%lld", (long long)timeout_ms);
    snprintf(request->stall, sizeof request->stall, "%lld",
             (long long)(stall_ms < timeout_ms ? stall_ms : timeout_ms));
    repo_request_add(request, "--mirror", SPAWN_GIT_MIRROR);
    repo_request_add(request, "--timeout", request->timeout);
    repo_request_add(request, "--stall", request->stall);
    repo_request_fd(request, request->access_fd, REMOTE_FD_ACCESS);
    repo_request_fd(request, request->mirror_fd, SPAWN_GIT_MIRROR_FD);
    request->git.remote = true;
    request->git.timeout_ms = timeout_ms + SPAWNER_EXTRA_MS;
    return 0;
}

static void begin(struct repo_request *request, const char *verb, const char *repo)
{
    *request = (struct repo_request){.access_fd = -1, .mirror_fd = -1};
    request->git.args[request->args_count++] = verb;
    repo_request_add(request, "--repo", repo);
}

int repo_request_open_module(struct repo_request *request, const struct orchestrator *o,
                             const char *verb, const char *url, bool stranger, int64_t timeout_ms,
                             struct err *err)
{
    begin(request, verb, url);
    return open_remote(request, o, url, stranger, timeout_ms, err);
}

int repo_request_open(struct repo_request *request, const struct orchestrator *o, const char *verb,
                      const char *repo, uint32_t uid, int64_t timeout_ms, struct err *err)
{
    begin(request, verb, repo);
    if (repo_is_remote(repo))
        return open_remote(request, o, repo, false, timeout_ms, err);
    request->git.repository = repo;
    request->git.uid = uid;
    request->git.timeout_ms = timeout_ms;
    return 0;
}

void repo_request_add(struct repo_request *request, const char *option, const char *value)
{
    if (request->args_count + 2 > GIT_ARGS_MAX)
        abort();
    request->git.args[request->args_count++] = option;
    request->git.args[request->args_count++] = value;
}

void repo_request_fd(struct repo_request *request, int fd, uint8_t number)
{
    if (request->git.fds_count == GIT_FDS_MAX)
        abort();
    request->git.fds[request->git.fds_count++] = (struct git_fd){fd, number};
}

void repo_request_close(struct repo_request *request)
{
    if (request->access_fd >= 0)
        close(request->access_fd);
    if (request->mirror_fd >= 0)
        close(request->mirror_fd);
}
