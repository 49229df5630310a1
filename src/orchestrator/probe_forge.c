#include "orchestrator/probe_forge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "orchestrator/internal.h"
#include "orchestrator/repo.h"
#include "orchestrator/resolve.h"

/* One finding to be. */
struct question {
    struct forge_probe *probe;
    const struct config_forge *config; /* whose token; NULL: about the repository */
    json_t *finding;                   /* NULL: none, or not yet */
    bool asking;                       /* its forge will answer */
};

/* A forge's answer cannot be called off: who wanted it may be gone when it comes. */
struct forge_probe {
    struct orchestrator *o;
    char *repo; /* in its one form; NULL: none is asked about */
    struct question questions[CONFIG_FORGES_MAX + 1];
    size_t count;
    struct git_job *git;
    const struct forge *forge;
    bool started; /* everything is asked: answers that come at once wait for that */
    struct loop_source *timer;
    forge_probe_done_fn *done; /* NULL: nobody waits any more */
    void *arg;
    struct forge_probe *next;
};

static void probe_free(struct forge_probe *probe)
{
    struct forge_probe **at = &probe->o->forge_probes;
    while (*at != probe)
        at = &(*at)->next;
    *at = probe->next;
    loop_remove(probe->timer);
    git_drop(probe->git);
    for (size_t i = 0; i < probe->count; i++)
        json_decref(probe->questions[i].finding);
    free(probe->repo);
    free(probe);
}

struct forge_probe *forge_probe_next(const struct forge_probe *probe)
{
    return probe->next;
}

void forge_probes_free_all(struct orchestrator *o)
{
    while (o->forge_probes)
        probe_free(o->forge_probes);
}

static bool is_asking(const struct forge_probe *probe)
{
    for (size_t i = 0; i < probe->count; i++)
        if (probe->questions[i].asking)
            return true;
    return false;
}

/* Nobody waits; what was asked is still answered. */
static void let_go(struct forge_probe *probe)
{
    probe->done = NULL;
    loop_remove(probe->timer);
    probe->timer = NULL;
    git_drop(probe->git);
    probe->git = NULL;
    if (!is_asking(probe))
        probe_free(probe);
}

void forge_probe_drop(struct forge_probe *probe)
{
    if (probe)
        let_go(probe);
}

/* How a token is set anew. The caller frees. */
static char *token_remedy(const struct config_forge *config)
{
    if (config->token_env)
        return str_format("codex secret set %s", config->token_env);
    if (config->token_file)
        return str_format("put a valid token into '%s', and restart codexd", config->token_file);
    return str_format("set token_env in [forge \"%s\"] of codex.conf, or hand tasks in with "
                      "--forge plain",
                      config->name);
}

static json_t *token_finding(const struct config_forge *config, const char *status,
                             const char *remedy, const char *detail)
{
    AUTO_FREE char *check = str_format("forge %s", config->name);
    return finding_new(check, status, remedy, detail);
}

static json_t *token_answer(const struct config_forge *config, const struct err *err)
{
    if (!err->code)
        return token_finding(config, "ok", NULL, "the token is accepted");
    if (err->code == -EAGAIN)
        return token_finding(config, "warn", "wait, and ask again", err->message);
    AUTO_FREE char *remedy =
        err->code == ERR_REFUSED
            ? token_remedy(config)
            : str_format("see that base_url in [forge \"%s\"] of codex.conf is its API, and that "
                         "this machine reaches it",
                         config->name);
    return token_finding(config, "fail", remedy, err->message);
}

static json_t *repository_finding(const struct forge_probe *probe, const struct err *err)
{
    if (!err->code) {
        AUTO_FREE char *detail =
            str_format(probe->forge->check ? "'%s' can be pushed to, and pull requests opened"
                                           : "'%s' can be pushed to; pull requests are kept here",
                       probe->repo);
        return finding_new("repository", "ok", NULL, detail);
    }
    if (err->code == -EAGAIN)
        return finding_new("repository", "warn", "wait, and ask again", err->message);
    if (err->code == -ETIMEDOUT || err->code == -EHOSTUNREACH)
        return finding_new("repository", "fail", "see that this machine reaches it, then ask again",
                           err->message);
    return finding_new("repository", "fail",
                       "do what it says, then ask again; without the right to open pull requests, "
                       "--forge plain keeps them here",
                       err->message);
}

static json_t *collect(struct forge_probe *probe)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < probe->count; i++) {
        struct question *question = &probe->questions[i];
        struct err late;
        err_set(&late, -ETIMEDOUT, "no answer within %d s", FORGE_PROBE_MS / 1000);
        bool waits = question->asking || (!question->config && probe->git);
        if (!question->finding && waits)
            question->finding = question->config ? token_answer(question->config, &late)
                                                 : repository_finding(probe, &late);
        if (question->finding)
            json_array_append(findings, question->finding);
    }
    return findings;
}

/* All is known, or it has taken too long. */
static void on_timer(void *arg)
{
    struct forge_probe *probe = arg;
    probe->timer = NULL;
    json_t *findings = collect(probe);
    forge_probe_done_fn *done = probe->done;
    void *done_arg = probe->arg;
    let_go(probe);
    done(done_arg, findings);
}

/* Something is known: what remains? */
static void go_on(struct forge_probe *probe)
{
    if (!probe->started || is_asking(probe) || probe->git)
        return;
    if (!probe->done) {
        probe_free(probe);
        return;
    }
    loop_remove(probe->timer);
    probe->timer = loop_add_timer(probe->o->loop, 0, on_timer, probe);
}

static void on_checked(void *arg, const struct err *err)
{
    struct question *question = arg;
    struct forge_probe *probe = question->probe;
    question->asking = false;
    if (probe->done)
        question->finding =
            question->config ? token_answer(question->config, err) : repository_finding(probe, err);
    go_on(probe);
}

/* ---- tokens */

static struct question *add(struct forge_probe *probe, const struct config_forge *config)
{
    struct question *question = &probe->questions[probe->count++];
    *question = (struct question){.probe = probe, .config = config};
    return question;
}

static void ask_about_token(struct forge_probe *probe, const struct config_forge *config)
{
    struct orchestrator *o = probe->o;
    const struct forge *forge = forges_at(o->forges, config);
    if (!config->token_env && !config->token_file && !forge->try_token)
        return; /* it needs none */
    struct question *question = add(probe, config);
    struct err err = {0};
    char *token = NULL;
    AUTO_FREE char *remedy = token_remedy(config);
    if (repo_token(o, config, &token, &err) < 0) {
        question->finding = token_finding(config, "fail", remedy, err.message);
    } else if (!token) {
        question->finding = token_finding(config, "warn", remedy,
                                          "there is no token: no pull request can be opened there");
    } else if (!forge->try_token) {
        question->finding = token_finding(
            config, "ok", NULL,
            "there is a token; it shows in a checkout from there whether it is accepted");
    } else {
        question->asking = true;
        forge->try_token(forge, on_checked, question);
    }
    secret_free(token);
}

/* ---- the repository */

static void on_resolved(void *arg, const struct git_result *result)
{
    struct question *question = arg;
    struct forge_probe *probe = question->probe;
    struct resolved resolved;
    struct err err = {0};
    probe->git = NULL;
    int status = resolve_read(result, &resolved, &err);
    if (status == 0 && probe->forge->check) {
        question->asking = true;
        probe->forge->check(probe->forge, probe->repo, resolved.base, true, on_checked, question);
    } else {
        question->finding = repository_finding(probe, &err);
        go_on(probe);
    }
    resolved_release(&resolved);
}

/* As a submission does: src/orchestrator/submit.c. */
static void ask_about_repository(struct forge_probe *probe, const char *repo, uint32_t uid)
{
    struct orchestrator *o = probe->o;
    struct question *question = add(probe, NULL);
    struct repo_url url;
    struct err err = {0};
    if (repo_url_parse(&url, repo, &err) == 0 && !config_forge_find(o->config, url.site)) {
        AUTO_FREE char *detail = str_format("'%s' is at no forge of codex.conf", url.text);
        AUTO_FREE char *remedy =
            str_format("give its token or key in [forge \"%s\"]: man codex.conf", url.site);
        question->finding = finding_new("repository", "warn", remedy, detail);
        return;
    }
    if (!err.code && repo_check(o, repo, &probe->repo, &err) == 0 &&
        (probe->forge = forges_choose(o->forges, probe->repo, NULL, &err)))
        probe->git = resolve_start(o, probe->repo, uid, NULL, NULL, on_resolved, question, &err);
    if (!probe->git)
        question->finding = repository_finding(probe, &err);
}

struct forge_probe *forge_probe_start(struct orchestrator *o, const char *repo, uint32_t uid,
                                      forge_probe_done_fn *done, void *arg)
{
    struct forge_probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        abort();
    *probe = (struct forge_probe){.o = o, .done = done, .arg = arg, .next = o->forge_probes};
    o->forge_probes = probe;
    probe->timer = loop_add_timer(o->loop, FORGE_PROBE_MS, on_timer, probe);
    for (size_t i = 0; i < o->config->forges_count; i++)
        ask_about_token(probe, &o->config->forges[i]);
    if (repo)
        ask_about_repository(probe, repo, uid);
    probe->started = true;
    go_on(probe);
    return probe;
}
