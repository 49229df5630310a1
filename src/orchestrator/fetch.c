#include "orchestrator/fetch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/bundle_index.h"
#include "orchestrator/files.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

enum {
    LOCAL_TIMEOUT_MS = 10 * 60 * 1000,
    REMOTES_MAX = 4, /* remote repositories that are fetched from at once */
};

struct fetch {
    struct orchestrator *o;
    char *key, *repo, *commit;
    char *temporary; /* where the bundle is written */
    uint32_t uid;    /* whose rights a local one is read with */
    bool remote;
    int tries;
    struct git_job *git;       /* at work, */
    struct loop_source *timer; /* or before the next try, or else waiting for its turn */
    struct fetch *next;
};

static void start_next(struct orchestrator *o);

static void fetch_free(struct fetch *fetch)
{
    struct fetch **at = &fetch->o->fetches;
    while (*at && *at != fetch)
        at = &(*at)->next;
    if (*at)
        *at = fetch->next;
    git_drop(fetch->git);
    loop_remove(fetch->timer);
    free(fetch->key);
    free(fetch->repo);
    free(fetch->commit);
    free(fetch->temporary);
    free(fetch);
}

void fetch_free_all(struct orchestrator *o)
{
    while (o->fetches)
        fetch_free(o->fetches);
}

bool fetch_is_remote(const struct job *job)
{
    return job->fetch && job->fetch->remote;
}

/* The oldest job that waits for FETCH; NULL: nobody does. */
static struct job *first_waiting(const struct fetch *fetch)
{
    struct job *first = NULL;
    for (struct job *job = fetch->o->jobs; job; job = job->next)
        if (job->fetch == fetch && (!first || job->number < first->number))
            first = job;
    return first;
}

/* It is over: everybody who waits goes on. FAULT: why there is no bundle; NULL: there is. */
static void finish(struct fetch *fetch, const struct fault *fault)
{
    struct orchestrator *o = fetch->o;
    struct fetch **at = &o->fetches;
    while (*at != fetch)
        at = &(*at)->next;
    *at = fetch->next; /* a job that wants the bundle again begins another one */
    struct job *job;
    while ((job = first_waiting(fetch))) {
        job->fetch = NULL;
        job->wants_slot = fetch->remote && !fault;
        if (fault)
            job->fetch_fault = (struct fault){fault->kind, NULL, str_dup(fault->message)};
        if (job->wants_slot)
            queue_changed(o);
        else
            job_continue(job);
    }
    fetch_free(fetch);
    start_next(o);
}

/* Takes MESSAGE over. */
static void fail(struct fetch *fetch, enum fault_kind kind, char *message)
{
    AUTO_FREE char *owned = message;
    struct fault fault = {kind, NULL, owned};
    finish(fetch, &fault);
}

static void on_pause_over(void *arg)
{
    struct fetch *fetch = arg;
    fetch->timer = NULL;
    start_next(fetch->o);
}

/* Again after a pause, which grows; or no more. */
static void try_again(struct fetch *fetch, enum fault_kind kind, const char *why)
{
    if (++fetch->tries >= TRIES_MAX) {
        fail(fetch, kind,
             fetch->remote
                 ? str_format("the base commit could not be fetched, in %d tries: %s", TRIES_MAX,
                              why)
                 : str_format("the base commit could not be read (%s): see codexd's log", why));
        return;
    }
    int64_t pause_ms = (int64_t)RETRY_MS * fetch->tries * (fetch->remote ? fetch->tries : 1);
    log_warn("-", "cannot fetch %s of %s: %s; it is tried again", fetch->commit, fetch->repo, why);
    fetch->timer = loop_add_timer(fetch->o->loop, pause_ms, on_pause_over, fetch);
    start_next(fetch->o);
}

static void on_fetched(void *arg, const struct git_result *result)
{
    struct fetch *fetch = arg;
    struct err err = {0};
    fetch->git = NULL;
    if (result->status == GIT_EXIT_DONE) {
        AUTO_FREE char *to = files_bundle(fetch->o, fetch->key);
        if (files_publish(fetch->temporary, to, &err) < 0) {
            try_again(fetch, FAULT_PLATFORM, err.message);
            return;
        }
        files_trim_bundles(fetch->o);
        bundle_index_make(fetch->o, fetch->key);
        finish(fetch, NULL);
        return;
    }
    unlink(fetch->temporary);
    if (result->status == GIT_EXIT_UNREACHABLE)
        try_again(fetch, FAULT_ENVIRONMENT, result->message);
    else if (result->status < 0)
        try_again(fetch, FAULT_PLATFORM, result->message);
    else
        fail(fetch, FAULT_USER,
             str_format("the base commit cannot be read any more (%s): submit the task again",
                        result->message));
}

static int start(struct fetch *fetch, struct err *err)
{
    struct orchestrator *o = fetch->o;
    AUTO_FD int fd = files_create(fetch->temporary, O_WRONLY, err);
    if (fd < 0)
        return fd;
    struct repo_request request;
    int status =
        repo_request_open(&request, o, "fetch", fetch->repo, fetch->uid,
                          fetch->remote ? o->config->fetch_timeout_ms : LOCAL_TIMEOUT_MS, err);
    if (status == 0) {
        repo_request_add(&request, "--commit", fetch->commit);
        repo_request_fd(&request, fd, STDOUT_FILENO);
        request.git.no_output = true;
        fetch->git = git_start(o->git, &request.git, on_fetched, fetch, err);
        status = fetch->git ? 0 : err->code;
    }
    repo_request_close(&request);
    if (status == 0)
        log_info("-", "fetching %s of %s", fetch->commit, fetch->repo);
    return status;
}

/* Whether it is FETCH's turn: nobody fetches from the same remote, nor too many from others. */
static bool may_start(const struct fetch *fetch)
{
    int remotes = 0;
    if (fetch->git || fetch->timer)
        return false;
    for (const struct fetch *other = fetch->o->fetches; fetch->remote && other;
         other = other->next) {
        if (!other->git || !other->remote)
            continue;
        if (!strcmp(other->repo, fetch->repo) || ++remotes == REMOTES_MAX)
            return false;
    }
    return true;
}

/* Start whatever may. The list is oldest first. */
static void start_next(struct orchestrator *o)
{
    struct err err = {0};
    for (struct fetch *fetch = o->fetches; fetch; fetch = fetch->next) {
        if (!may_start(fetch) || start(fetch, &err) == 0)
            continue;
        try_again(fetch, FAULT_PLATFORM, err.message);
        return; /* it has gone through the list, which may be another now */
    }
}

static void on_join(void *arg)
{
    on_pause_over(arg);
}

void fetch_join(struct job *job, const struct task *task, const char *commit, const char *key)
{
    struct orchestrator *o = job->o;
    bool remote = repo_is_remote(task->repo);
    struct fetch **at = &o->fetches;
    for (; *at; at = &(*at)->next)
        if (!strcmp((*at)->key, key))
            break;
    if (!*at) {
        struct fetch *fetch = calloc(1, sizeof *fetch);
        if (!fetch)
            abort();
        *fetch = (struct fetch){
            .o = o,
            .key = str_dup(key),
            .repo = str_dup(task->repo),
            .commit = str_dup(commit),
            .temporary = str_format("%s/server/bundles/%s.tmp-%s", o->state_dir, key, task->id),
            .uid = task->uid,
            .remote = remote,
        };
        *at = fetch;
        /* From the loop: a job that cannot even begin must not end within its own call. */
        fetch->timer = loop_add_timer(o->loop, 0, on_join, fetch);
    }
    job->fetch = *at;
    if (remote)
        queue_changed(o);
}

void fetch_leave(struct job *job)
{
    struct fetch *fetch = job->fetch;
    struct orchestrator *o = job->o;
    job->fetch = NULL;
    if (!fetch)
        return;
    if (first_waiting(fetch))
        return;
    fetch_free(fetch);
    start_next(o);
}
