#include "orchestrator/forges.h"

#include <stdlib.h>
#include <string.h>

#include "base/repo_url.h"
#include "base/str.h"
#include "orchestrator/internal.h"
#include "orchestrator/repo.h"

/* One of [forge "host"] with a kind of its own. */
struct site {
    bool used;
    struct forge forge;
    struct forge_github github;
    const struct orchestrator *o;
    const struct config_forge *config;
    char *api;
};

struct forges {
    const struct config *config;
    struct forge plain;
    struct forge_plain plain_data;
    struct rest *rest; /* NULL while no forge needs it */
    struct site sites[CONFIG_FORGES_MAX];
};

/* GitHub's own API has a host of its own, as that of GitHub Enterprise Cloud (NAME.ghe.com) has; an
 * Enterprise server's is a path. */
static char *github_api(const struct config_forge *forge)
{
    if (forge->base_url)
        return str_dup(forge->base_url);
    if (config_forge_is_github(forge->name))
        return str_format("https://api.%s", forge->name);
    return str_format("https://%s/api/v3", forge->name);
}

static int get_token(void *host, char **token, struct err *err)
{
    const struct site *site = host;
    int status = repo_token(site->o, site->config, token, err);
    if (status == 0 && !*token)
        status = err_set(err, ERR_REFUSED,
                         "[forge \"%s\"] has no token: set token_env in codex.conf, and the token "
                         "with 'codex secret set'",
                         site->config->name);
    if (status < 0)
        err->code = ERR_REFUSED;
    return status < 0 ? ERR_REFUSED : 0;
}

static int open_site(struct forges *forges, struct orchestrator *o, size_t i, struct err *err)
{
    const struct config_forge *forge = &o->config->forges[i];
    struct site *site = &forges->sites[i];
    if (!forge->kind || strcmp(forge->kind, "github") != 0)
        return 0;
    if (!forges->rest)
        forges->rest = rest_new(o->loop, err);
    if (!forges->rest)
        return err->code;
    site->api = github_api(forge);
    site->o = o;
    site->config = forge;
    site->github = (struct forge_github){.rest = forges->rest,
                                         .api = site->api,
                                         .token = get_token,
                                         .token_free = secret_free,
                                         .host = site,
                                         .ca = o->secrets->forges[i].ca};
    forge_github_init(&site->forge, &site->github);
    site->used = true;
    return 0;
}

struct forges *forges_new(struct orchestrator *o, struct err *err)
{
    struct forges *forges = calloc(1, sizeof *forges);
    if (!forges)
        abort();
    forges->config = o->config;
    forge_plain_init(&forges->plain, &forges->plain_data, refresh_ask_contains, o);
    for (size_t i = 0; i < o->config->forges_count; i++)
        if (open_site(forges, o, i, err) < 0) {
            forges_free(forges);
            return NULL;
        }
    return forges;
}

void forges_free(struct forges *forges)
{
    if (!forges)
        return;
    for (size_t i = 0; i < CONFIG_FORGES_MAX; i++) {
        if (forges->sites[i].used)
            forge_github_release(&forges->sites[i].github);
        free(forges->sites[i].api);
    }
    rest_free(forges->rest);
    free(forges);
}

const struct forge *forges_at(const struct forges *forges, const struct config_forge *config)
{
    const struct site *site = &forges->sites[config - forges->config->forges];
    return site->used ? &site->forge : &forges->plain;
}

/* By the configuration alone. */
static const struct forge *forges_of(const struct forges *forges, const char *repo)
{
    struct repo_url url;
    struct err ignored;
    if (!repo_is_remote(repo) || repo_url_parse(&url, repo, &ignored) < 0)
        return &forges->plain;
    const struct config_forge *found = config_forge_find(forges->config, url.site);
    return found ? forges_at(forges, found) : &forges->plain;
}

/* A forge that is known, and has no token to be asked with, does not quietly become the plain one. */
static int check_token(const struct forge *forge, struct err *err)
{
    const struct forge_github *github = forge->self;
    char *token = NULL;
    struct err why;
    if (github->token(github->host, &token, &why) < 0)
        return err_set(err, ERR_REFUSED, "%s; or keep the pull request here: --forge plain",
                       why.message);
    github->token_free(token);
    return 0;
}

const struct forge *forges_choose(const struct forges *forges, const char *repo, const char *wanted,
                                  struct err *err)
{
    const struct forge *found = forges_of(forges, repo);
    if (wanted && !strcmp(wanted, forges->plain.name))
        return &forges->plain;
    if (wanted && strcmp(wanted, "github") != 0) {
        err_set(err, ERR_USAGE, "'%s' is no forge that can be asked for: plain or github", wanted);
        return NULL;
    }
    if (wanted && strcmp(wanted, found->name) != 0) {
        err_set(err, ERR_USAGE,
                "'%s' is not at a forge with kind = %s in codex.conf: set that, or leave --forge "
                "out",
                repo, wanted);
        return NULL;
    }
    return found == &forges->plain || check_token(found, err) == 0 ? found : NULL;
}

const struct forge *forges_of_task(const struct forges *forges, const struct task *task,
                                   struct err *err)
{
    const struct forge *found = forges_of(forges, task->repo);
    if (!task->forge || !strcmp(task->forge, found->name))
        return found;
    if (!strcmp(task->forge, forges->plain.name))
        return &forges->plain;
    err_set(err, ERR_REFUSED,
            "no pull request can be opened for '%s': it was handed in while its forge had kind = "
            "%s in codex.conf",
            task->repo, task->forge);
    return NULL;
}

const struct forge *forges_of_request(const struct forges *forges, const struct task *task)
{
    const struct forge *forge = forges_of(forges, task->repo);
    /* One that is no longer configured cannot be asked; git still can. */
    return !strcmp(task->pull_request.forge, forge->name) ? forge : &forges->plain;
}
