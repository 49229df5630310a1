#include "orchestrator/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

/* Reading a task asks git about its pull request; whoever reads in a loop must not keep git busy.
 * So looks come from a bucket that holds a few and gets a new one every now and then. */
enum {
    LOOKS_MAX = 20,
    LOOK_EVERY_MS = 200,
    MERGED_TIMEOUT_MS = 4000,
    REMOTE_EVERY_MS = 10000, /* for one task: a remote is asked over the network */
};

/* A look that somebody waits for. */
struct refresh {
    struct orchestrator *o;
    int64_t number;
    struct git_job *git;
    forge_contains_done_fn *contains_done;
    void *contains_arg;
    refreshed_fn *done; /* NULL: nobody waits any more */
    void *arg;
    struct refresh *next;
};

static void refresh_free(struct refresh *refresh)
{
    struct refresh **at = &refresh->o->refreshes;
    while (*at != refresh)
        at = &(*at)->next;
    *at = refresh->next;
    git_drop(refresh->git);
    free(refresh);
}

void refresh_free_all(struct orchestrator *o)
{
    while (o->refreshes)
        refresh_free(o->refreshes);
}

static int write_state(struct orchestrator *o, int64_t number, const char *state, struct err *err)
{
    int status = store_begin(o->store, STORE_LATER, err);
    if (status < 0)
        return status;
    status = store_pull_request_set_state(o->store, number, state, clock_real_ms(), err);
    return store_end(o->store, status, err);
}

/* The forge has answered. */
static void on_state(void *arg, const char *state, const struct err *why)
{
    struct refresh *refresh = arg;
    struct err err = {0};
    if (!state)
        log_warn("-", "cannot learn what became of a pull request: %s", why->message);
    if (write_state(refresh->o, refresh->number, state ? state : "open", &err) < 0)
        log_error("-", "%s", err.message);
    refreshed_fn *done = refresh->done;
    void *done_arg = refresh->arg;
    refresh_free(refresh);
    if (done)
        done(done_arg);
}

static void on_merged(void *arg, const struct git_result *result)
{
    struct refresh *refresh = arg;
    struct err err = {0};
    refresh->git = NULL;
    int contains = result->status == GIT_EXIT_DONE      ? 1
                   : result->status == GIT_EXIT_REFUSED ? 0
                                                        : -1;
    if (contains < 0)
        err_set(&err, ERR_REFUSED, "%s", result->message);
    refresh->contains_done(refresh->contains_arg, contains, &err);
}

/* What the plain forge asks: codex-git merged, as the submitter. HOST is the orchestrator; the
 * refresh that it asks for is the one just begun, which stands first. */
void refresh_ask_contains(void *host, const struct task *task, forge_contains_done_fn *done,
                          void *arg)
{
    struct orchestrator *o = host;
    struct refresh *refresh = o->refreshes;
    struct repo_request request;
    struct err err = {0};
    refresh->contains_done = done;
    refresh->contains_arg = arg;
    if (repo_request_open(&request, o, "merged", task->repo, task->uid, MERGED_TIMEOUT_MS, &err) ==
        0) {
        repo_request_add(&request, "--base", task->base);
        repo_request_add(&request, "--commit", task->commit);
        refresh->git = git_start(o->git, &request.git, on_merged, refresh, &err);
    }
    repo_request_close(&request);
    if (!refresh->git)
        done(arg, -1, &err);
}

static bool take_look(struct orchestrator *o)
{
    int64_t now = clock_mono_ms(), earned = (now - o->looks_since_ms) / LOOK_EVERY_MS;
    o->looks_since_ms += earned * LOOK_EVERY_MS;
    o->looks = o->looks + earned > LOOKS_MAX ? LOOKS_MAX : o->looks + earned;
    if (!o->looks)
        return false;
    o->looks--;
    return true;
}

struct refresh *orchestrator_refresh(struct orchestrator *o, const struct task *task,
                                     refreshed_fn *done, void *arg)
{
    const struct pull_request *request = &task->pull_request;
    bool due =
        request->exists && task->state == TASK_COMPLETED && request->state &&
        !strcmp(request->state, "open") &&
        (!repo_is_remote(task->repo) || clock_real_ms() - request->checked_ms >= REMOTE_EVERY_MS);
    for (struct refresh *r = o->refreshes; due && r; r = r->next)
        due = r->number != task->number;
    if (!due || !take_look(o)) {
        done(arg);
        return NULL;
    }
    struct refresh *refresh = calloc(1, sizeof *refresh);
    if (!refresh)
        abort();
    *refresh = (struct refresh){
        .o = o, .number = task->number, .done = done, .arg = arg, .next = o->refreshes};
    o->refreshes = refresh;
    const struct forge *forge = forges_of_request(o->forges, task);
    forge->state(forge, task, on_state, refresh);
    /* It may have been answered at once. */
    return o->refreshes == refresh ? refresh : NULL;
}

void orchestrator_refresh_drop(struct refresh *refresh)
{
    if (refresh)
        refresh->done = NULL; /* the answer is still worth keeping */
}
