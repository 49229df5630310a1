#include "orchestrator/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/object_id.h"
#include "base/str.h"
#include "orchestrator/files.h"
#include "orchestrator/repo.h"
#include "orchestrator/resolve.h"
#include "orchestrator/upload.h"

enum {
    UNDER_WAY_MAX = 64,
    QUEUED_MAX = 1000, /* of one user */
    PRIORITY_MAX = 100,
    TEST_MAX = 8192,
};
static const int64_t timeout_max_ms = 30LL * 24 * 3600 * 1000;

/* A submission whose repository git is looking at. */
struct submit {
    struct orchestrator *o;
    struct task task; /* as it will be queued */
    char *bundle;     /* commits that come along; NULL: none do */
    char *bundle_commit;
    struct git_job *git;
    const struct forge *forge;
    bool checking;      /* the forge is asked, which lasts until it answers */
    submitted_fn *done; /* NULL: nobody waits any more */
    void *arg;
    struct submit *next;
};

static void submit_free(struct submit *submit)
{
    struct submit **at = &submit->o->submits;
    while (*at != submit)
        at = &(*at)->next;
    *at = submit->next;
    git_drop(submit->git);
    task_release(&submit->task);
    free(submit->bundle);
    free(submit->bundle_commit);
    free(submit);
}

void submit_free_all(struct orchestrator *o)
{
    while (o->submits)
        submit_free(o->submits);
}

void orchestrator_submit_drop(struct submit *submit)
{
    if (!submit)
        return;
    if (submit->checking)
        submit->done = NULL;
    else
        submit_free(submit);
}

int orchestrator_ready(struct orchestrator *o, struct err *err)
{
    int status = o->placer.ready(o->placer.self, err);
    if (status == 0)
        status = machine_ready(o->machine, err);
    return status < 0 ? status : files_check_room(o, err);
}

static bool is_blank(const char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    return !*s;
}

static int check_words(const struct submission *s, struct err *err)
{
    if (!s->prompt || is_blank(s->prompt))
        return err_set(err, ERR_USAGE, "the prompt is empty: say what is to be done");
    if (strlen(s->prompt) > TASK_PROMPT_MAX)
        return err_set(err, ERR_USAGE, "the prompt is longer than %d KiB", TASK_PROMPT_MAX / 1024);
    if (s->effort && !config_effort_valid(s->effort))
        return err_set(err, ERR_USAGE, "'%s' is not an effort: low, medium, high or xhigh",
                       s->effort);
    if (s->test && (is_blank(s->test) || strlen(s->test) > TEST_MAX))
        return err_set(err, ERR_USAGE, "the test command is empty or longer than %d bytes",
                       TEST_MAX);
    if (s->model && (!*s->model || strlen(s->model) > TASK_MODEL_MAX || !str_is_plain(s->model)))
        return err_set(
            err, ERR_USAGE,
            "'%s' is no name of a model: up to %d letters of ASCII, without spaces and quotes",
            s->model, TASK_MODEL_MAX);
    if (s->branch && str_starts_with(s->branch, "refs/"))
        return err_set(err, ERR_USAGE, "branch name '%s' begins with 'refs/': leave that out",
                       s->branch);
    if (s->budget_tokens < 0)
        return err_set(err, ERR_USAGE, "budget_tokens is negative");
    if (s->timeout_ms < 0 || s->timeout_ms > timeout_max_ms)
        return err_set(err, ERR_USAGE, "the timeout is not between 1 ms and 30 days");
    if (s->priority < -PRIORITY_MAX || s->priority > PRIORITY_MAX)
        return err_set(err, ERR_USAGE, "the priority is not between -%d and %d", PRIORITY_MAX,
                       PRIORITY_MAX);
    return 0;
}

/* The server's limits; 0: none. */
static struct task_limits server_limits(const struct config *config)
{
    return (struct task_limits){.of = {[TASK_LIMIT_MEMORY] = config->memory_bytes,
                                       [TASK_LIMIT_CPUS] = config->cpu_milli,
                                       [TASK_LIMIT_PIDS] = config->pids,
                                       [TASK_LIMIT_DISK] = config->disk_bytes}};
}

static int check_limits(const struct config *config, const struct submission *s, struct err *err)
{
    const struct task_limits server = server_limits(config);
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++) {
        int64_t wanted = s->limits.of[i];
        const char *name = task_limit_name(i);
        AUTO_BUF struct buf most;
        buf_init(&most, 64);
        if (wanted && !task_limit_valid(i, wanted))
            return err_set(err, ERR_USAGE, "the limit '%s' is out of its range", name);
        if (!wanted || !server.of[i] || wanted <= server.of[i])
            continue;
        task_limit_append(&most, i, server.of[i]);
        return err_set(err, ERR_USAGE,
                       "the limit '%s' is above the server's, which is %s ([sandbox] %s)", name,
                       most.data, name);
    }
    return 0;
}

/* *TEXT: the form of a remote address to go on with; left alone for a path. */
static int check_repo(const struct orchestrator *o, const char *repo, char **text, struct err *err)
{
    if (!repo || !*repo)
        return err_set(err, ERR_USAGE, "no repository is named");
    if (repo_is_remote(repo))
        return repo_check(o, repo, text, err);
    if (*repo != '/')
        return err_set(err, ERR_USAGE, "'%s' is not an absolute path", repo);
    if (strlen(repo) >= sizeof((struct spawn_git *)0)->repository)
        return err_set(err, ERR_USAGE, "the path of the repository is too long");
    return 0;
}

/* The model, and whether there is what its provider needs. */
static int check_model(const struct orchestrator *o, const struct submission *s, struct err *err)
{
    const struct config *config = o->config;
    if (!s->model && !config->model)
        return err_set(err, ERR_USAGE,
                       "no model is named: set name in [model] of codex.conf, or use --model");
    const struct config_provider *provider = config_provider_find(config, config->provider);
    if (!provider)
        return err_set(err, ERR_USAGE,
                       "no provider is configured: set provider in [model] of codex.conf");
    struct err why;
    if (secrets_check_provider(o->secrets, config, provider, &why) == 0)
        return 0;
    return err_set(err, ERR_KEY_MISSING, "provider '%s' cannot be used: %s", provider->name,
                   why.message);
}

static int check_bundle(struct orchestrator *o, const struct submission *s, struct err *err)
{
    if (!s->bundle && !s->base_commit && !s->bundle_base)
        return 0;
    if (!s->bundle || !s->base_commit || !s->bundle_base || !object_id_valid(s->base_commit) ||
        !object_id_valid(s->bundle_base) || !strcmp(s->base_commit, s->bundle_base))
        return err_set(err, ERR_USAGE,
                       "bundle, base_commit and bundle_base belong together: an id and two "
                       "different commits");
    if (!repo_is_remote(s->repo))
        return err_set(err, ERR_USAGE, "commits come along for remote repositories alone");
    return upload_check(o, s->uid, s->bundle, err);
}

static int check_queue(const struct orchestrator *o, uint32_t uid, struct err *err)
{
    int64_t queued = store_count_queued(o->store, uid, err);
    if (queued < 0)
        return (int)queued;
    return queued < QUEUED_MAX
               ? 0
               : err_set(err, ERR_REFUSED, "%d tasks of yours are waiting already: that is enough",
                         QUEUED_MAX);
}

static void fill_task(struct task *task, const struct config *config, const struct submission *s)
{
    task_id_new(task->id);
    task->uid = s->uid;
    task->priority = s->priority;
    task->prompt = str_dup(s->prompt);
    task->repo = str_dup(s->repo);
    task->branch_wanted = str_dup(s->branch);
    task->test_command = str_dup(s->test);
    task->setup_command = str_dup(s->setup);
    task->model = str_dup(s->model ? s->model : config->model);
    task->provider = str_dup(config->provider);
    task->effort = str_dup(s->effort ? s->effort : config->effort);
    task->budget_tokens = s->budget_tokens ? s->budget_tokens : config->budget_tokens;
    task->timeout_ms = s->timeout_ms ? s->timeout_ms : config->timeout_ms;
    task->limits = s->limits;
}

/* What git found out becomes the task's. */
static int take_resolved(struct task *task, struct resolved *resolved, struct err *err)
{
    if (!repo_is_remote(task->repo) && resolved->path && resolved->path[0] == '/') {
        free(task->repo);
        task->repo = steal_pointer(&resolved->path);
    }
    task->base = steal_pointer(&resolved->base);
    task->base_commit = steal_pointer(&resolved->commit);
    if (!repo_is_remote(task->repo) && task->repo[0] != '/')
        return err_set(err, ERR_PROTOCOL, "codex-git did not tell the repository's path");
    return 0;
}

/* Root's git is run as the owner of the repository, which is told by its path: the owner, whose
 * process has resolved it, must not turn that into a path of somebody else's. */
static int check_place(uint32_t uid, const char *asked, const char *resolved, struct err *err)
{
    size_t len = strlen(resolved);
    if (uid != 0 || !strcmp(resolved, "/") ||
        (!strncmp(asked, resolved, len) && (asked[len] == '\0' || asked[len] == '/')))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "'%s' leads to the repository '%s': as root, name that one itself", asked,
                   resolved);
}

static int check_branch(struct orchestrator *o, const struct task *task, bool exists,
                        struct err *err)
{
    if (!task->branch_wanted)
        return 0;
    if (exists)
        return err_set(err, ERR_REFUSED, "branch '%s' exists already: choose another name",
                       task->branch_wanted);
    int wanted = store_branch_wanted(o->store, task->repo, task->branch_wanted, err);
    if (wanted > 0)
        return err_set(err, ERR_REFUSED,
                       "another task is at work for branch '%s': choose another name",
                       task->branch_wanted);
    return wanted;
}

/* The bundle that came before becomes the task's, which starts from what it holds. */
static int claim_bundle(struct submit *submit, struct err *err)
{
    struct task *task = &submit->task;
    if (!submit->bundle)
        return 0;
    AUTO_FREE char *path = orchestrator_task_file(submit->o, task->id, "head.bundle");
    int status = files_make_dir(submit->o, task->id, err);
    if (status == 0)
        status = upload_claim(submit->o, task->uid, submit->bundle, path, err);
    free(task->base_commit);
    task->base_commit = str_dup(submit->bundle_commit);
    return status;
}

static int queue_task(struct orchestrator *o, struct task *task, struct err *err)
{
    int status = store_begin(o->store, STORE_NOW, err);
    return status < 0 ? status : store_end(o->store, store_task_add(o->store, task, err), err);
}

static int take(struct submit *submit, const struct git_result *result, struct err *err)
{
    struct task *task = &submit->task;
    struct resolved resolved;
    AUTO_FREE char *asked = str_dup(task->repo);
    int status = resolve_read(result, &resolved, err);
    if (status == 0)
        status = take_resolved(task, &resolved, err);
    if (status == 0)
        status = check_place(task->uid, asked, task->repo, err);
    if (status == 0)
        status = check_branch(submit->o, task, resolved.branch_exists, err);
    resolved_release(&resolved);
    return status;
}

/* STATUS and ERR: what came of the checks. Queue the task when all is well, and tell. */
static void finish(struct submit *submit, int status, struct err *err)
{
    struct orchestrator *o = submit->o;
    struct task queued = {0};
    if (status == 0)
        status = claim_bundle(submit, err);
    if (status == 0)
        status = queue_task(o, &submit->task, err);
    if (status == 0)
        status = store_task_load(o->store, submit->task.number, &queued, err);
    if (status == 0 && queue_starts_now(o, queued.number)) {
        free(queued.waiting_for);
        queued.waiting_for = NULL;
    }
    if (status == 0)
        log_info(queued.id, "queued: %s at %s, uid %u", queued.repo, queued.base_commit,
                 queued.uid);
    submit->done(submit->arg, status == 0 ? &queued : NULL, err);
    task_release(&queued);
    submit_free(submit);
    queue_changed(o);
}

static void on_checked(void *arg, const struct err *why)
{
    struct submit *submit = arg;
    struct err err = *why;
    submit->checking = false;
    if (submit->done)
        finish(submit, err.code, &err);
    else
        submit_free(submit);
}

static void on_resolved(void *arg, const struct git_result *result)
{
    struct submit *submit = arg;
    const struct task *task = &submit->task;
    struct err err = {0};
    submit->git = NULL;
    int status = take(submit, result, &err);
    const struct forge *forge = submit->forge;
    if (status < 0 || !forge->check) {
        finish(submit, status, &err);
        return;
    }
    submit->checking = true;
    forge->check(forge, task->repo, task->base, false, on_checked, submit);
}

struct submit *orchestrator_submit(struct orchestrator *o, const struct submission *s,
                                   submitted_fn *done, void *arg, struct err *err)
{
    size_t under_way = 0;
    for (const struct submit *other = o->submits; other; other = other->next)
        under_way++;
    if (under_way >= UNDER_WAY_MAX) {
        err_set(err, ERR_LIMIT, "too many submissions at once: try again in a moment");
        return NULL;
    }
    AUTO_FREE char *repo = NULL;
    const struct forge *forge = NULL;
    if (check_words(s, err) < 0 || check_limits(o->config, s, err) < 0 ||
        check_repo(o, s->repo, &repo, err) < 0 ||
        !(forge = forges_choose(o->forges, s->repo, s->forge, err)) || check_model(o, s, err) < 0 ||
        check_bundle(o, s, err) < 0 || check_queue(o, s->uid, err) < 0 ||
        orchestrator_ready(o, err) < 0)
        return NULL;
    struct submit *submit = calloc(1, sizeof *submit);
    if (!submit)
        abort();
    *submit = (struct submit){.o = o, .forge = forge, .done = done, .arg = arg, .next = o->submits};
    o->submits = submit;
    fill_task(&submit->task, o->config, s);
    submit->task.forge = str_dup(forge->name);
    submit->bundle = str_dup(s->bundle);
    submit->bundle_commit = str_dup(s->base_commit);
    submit->task.base_known = str_dup(s->bundle_base);
    if (repo) {
        free(submit->task.repo);
        submit->task.repo = steal_pointer(&repo);
    }
    submit->git =
        resolve_start(o, submit->task.repo, s->uid, s->base, s->branch, on_resolved, submit, err);
    if (!submit->git) {
        submit_free(submit);
        return NULL;
    }
    return submit;
}
