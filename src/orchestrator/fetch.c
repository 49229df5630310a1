#include "orchestrator/fetch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "git/access.h"
#include "orchestrator/bundle_index.h"
#include "orchestrator/files.h"
#include "orchestrator/modules.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

enum {
    LOCAL_TIMEOUT_MS = 10 * 60 * 1000,
    REMOTES_MAX = 4,   /* remote repositories that are fetched from at once */
    STRANGERS_MAX = 2, /* of them hosts that no person has named: slow ones keep nobody waiting */
};

struct fetch {
    struct orchestrator *o;
    char *key, *repo, *commit;
    char *temporary; /* where the bundle is written */
    off_t written;   /* what of it is whole */
    struct modules modules;
    size_t fetched;              /* submodules that are there, or left out */
    int module_tries;            /* of the one that it is about */
    int64_t modules_deadline_ms; /* of all of them, on the monotonic clock */
    bool base_done;              /* the base commit is there: it is about submodules now */
    uint32_t uid;                /* whose rights a local one is read with */
    bool remote;
    char large_files[24]; /* bytes of files in Git LFS that may come along */
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
    unlink(fetch->temporary); /* there only when it came to nothing */
    free(fetch->key);
    free(fetch->repo);
    free(fetch->commit);
    free(fetch->temporary);
    modules_release(&fetch->modules);
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

/* The submodule that it is about; NULL: it is about the base commit. */
static struct module *current_module(const struct fetch *fetch)
{
    return fetch->base_done && fetch->fetched < fetch->modules.count
               ? (struct module *)&fetch->modules.list[fetch->fetched]
               : NULL;
}

/* The address that it fetches from. */
static const char *current_repo(const struct fetch *fetch)
{
    const struct module *module = current_module(fetch);
    return module ? module->url : fetch->repo;
}

/* What lacks something that may be there another time is for those who wait, and no others. */
static void hand_out(const struct fetch *fetch)
{
    struct err err;
    for (struct job *job = fetch->o->jobs; job; job = job->next)
        if (job->fetch == fetch &&
            files_link_bundle(fetch->o, fetch->key, job->id, job->fetch_name, &err) < 0)
            log_warn(job->id, "%s", err.message);
    AUTO_FREE char *shared = files_bundle(fetch->o, fetch->key);
    unlink(shared);
}

/* It is over: everybody who waits goes on. FAULT: why there is no bundle; NULL: there is. */
static void finish(struct fetch *fetch, const struct fault *fault)
{
    struct orchestrator *o = fetch->o;
    struct fetch **at = &o->fetches;
    while (*at != fetch)
        at = &(*at)->next;
    *at = fetch->next; /* a job that wants the bundle again begins another one */
    if (!fault && fetch->modules.incomplete)
        hand_out(fetch);
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

/* The try after the TRIES that failed, after a pause, which grows. */
static void pause_before(struct fetch *fetch, int tries, const char *commit, const char *repo,
                         const char *why)
{
    int64_t pause_ms = (int64_t)RETRY_MS * tries * (fetch->remote ? tries : 1);
    log_warn("-", "cannot fetch %s of %s: %s; it is tried again", commit, repo, why);
    fetch->timer = loop_add_timer(fetch->o->loop, pause_ms, on_pause_over, fetch);
    start_next(fetch->o);
}

/* Again, or no more. */
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
    pause_before(fetch, fetch->tries, fetch->commit, fetch->repo, why);
}

static void start_over(struct fetch *fetch)
{
    modules_release(&fetch->modules);
    modules_init(&fetch->modules);
    fetch->fetched = 0;
    fetch->base_done = false;
}

/* All is there that is to be had. */
static void publish(struct fetch *fetch)
{
    struct err err = {0};
    AUTO_FREE char *to = files_bundle(fetch->o, fetch->key);
    if (modules_write_notes(&fetch->modules, fetch->temporary, fetch->written, &err) < 0 ||
        files_publish(fetch->temporary, to, &err) < 0) {
        start_over(fetch);
        try_again(fetch, FAULT_PLATFORM, err.message);
        return;
    }
    files_trim_bundles(fetch->o);
    if (!fetch->modules.incomplete)
        bundle_index_make(fetch->o, fetch->key);
    finish(fetch, NULL);
}

/* What is left for submodules: so many may hang that they would keep everybody waiting. */
static int64_t modules_left_ms(const struct fetch *fetch)
{
    return fetch->modules_deadline_ms - clock_mono_ms();
}

/* The next submodule, when it is its turn; or there is none. */
static void go_on(struct fetch *fetch)
{
    while (modules_left_ms(fetch) <= 0 && current_module(fetch)) {
        modules_leave_out(&fetch->modules, current_module(fetch), true, "there was no time left");
        fetch->fetched++;
    }
    fetch->module_tries = 0;
    fetch->fetched = modules_next_missing(&fetch->modules, fetch->fetched);
    if (fetch->fetched == fetch->modules.count)
        publish(fetch);
    else
        start_next(fetch->o);
}

/* A submodule that cannot be had is left out: the task may well do without. */
static void on_module_failed(struct fetch *fetch, const struct git_result *result)
{
    bool passing = result->status < 0 || result->status == GIT_EXIT_UNREACHABLE;
    const struct module *module = current_module(fetch);
    if (passing && ++fetch->module_tries < TRIES_MAX && modules_left_ms(fetch) > 0) {
        pause_before(fetch, fetch->module_tries, module->commit, module->url, result->message);
        return;
    }
    modules_leave_out(&fetch->modules, module, passing, result->message);
    fetch->fetched++;
    go_on(fetch);
}

static void on_fetched(void *arg, const struct git_result *result)
{
    struct fetch *fetch = arg;
    struct stat st;
    fetch->git = NULL;
    if (result->status == GIT_EXIT_DONE) {
        struct module *module = current_module(fetch);
        if (stat(fetch->temporary, &st) == 0)
            fetch->written = st.st_size;
        if (fetch->remote)
            modules_take(&fetch->modules, fetch->o, fetch->repo, module, result->output);
        if (module) {
            module->there = true;
            fetch->fetched++;
        }
        if (!fetch->base_done)
            fetch->modules_deadline_ms = clock_mono_ms() + fetch->o->config->fetch_timeout_ms;
        fetch->base_done = true;
        go_on(fetch);
        return;
    }
    if (fetch->base_done) {
        on_module_failed(fetch, result);
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

/* The file that the bundle goes to: a new one, or for a submodule as it was before an earlier try. */
static int open_temporary(const struct fetch *fetch, struct err *err)
{
    if (!fetch->base_done)
        return files_create(fetch->temporary, O_WRONLY, err);
    AUTO_FD int fd = open(fetch->temporary, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, fetch->written) < 0)
        return err_errno(err, "cannot open '%s'", fetch->temporary);
    return steal_fd(&fd);
}

static int open_request(const struct fetch *fetch, struct repo_request *request, struct err *err)
{
    const struct orchestrator *o = fetch->o;
    const struct module *module = current_module(fetch);
    int64_t timeout_ms = fetch->remote ? o->config->fetch_timeout_ms : LOCAL_TIMEOUT_MS;
    if (module && modules_left_ms(fetch) < timeout_ms)
        timeout_ms = modules_left_ms(fetch) > 0 ? modules_left_ms(fetch) : 1;
    int status =
        module ? repo_request_open_module(request, o, "fetch", module->url, module->stranger,
                                          timeout_ms, err)
               : repo_request_open(request, o, "fetch", fetch->repo, fetch->uid, timeout_ms, err);
    if (status < 0)
        return status;
    repo_request_add(request, "--commit", module ? module->commit : fetch->commit);
    if (!module)
        repo_request_add(request, "--large-files", fetch->large_files);
    if (fetch->remote) {
        repo_request_add(request, "--part", module ? "module" : "base");
        request->git.output_number = REMOTE_FD_MODULES;
    }
    request->git.no_output = !fetch->remote;
    return 0;
}

static int start(struct fetch *fetch, struct err *err)
{
    struct orchestrator *o = fetch->o;
    AUTO_FD int fd = open_temporary(fetch, err);
    if (fd < 0)
        return fd;
    struct repo_request request;
    int status = open_request(fetch, &request, err);
    if (status == 0) {
        repo_request_fd(&request, fd, STDOUT_FILENO);
        fetch->git = git_start(o->git, &request.git, on_fetched, fetch, err);
        status = fetch->git ? 0 : err->code;
    }
    repo_request_close(&request);
    if (status == 0)
        log_info("-", "fetching %s of %s",
                 fetch->base_done ? current_module(fetch)->commit : fetch->commit,
                 current_repo(fetch));
    return status;
}

static bool is_of_stranger(const struct fetch *fetch)
{
    const struct module *module = current_module(fetch);
    return module && module->stranger;
}

/* Whether it is FETCH's turn: nobody fetches from the same remote, nor too many from others. */
static bool may_start(const struct fetch *fetch)
{
    int remotes = 0, strangers = 0;
    if (fetch->git || fetch->timer)
        return false;
    for (const struct fetch *other = fetch->o->fetches; fetch->remote && other;
         other = other->next) {
        if (!other->git || !other->remote)
            continue;
        strangers += is_of_stranger(other);
        if (!strcmp(current_repo(other), current_repo(fetch)) || ++remotes == REMOTES_MAX ||
            (is_of_stranger(fetch) && strangers == STRANGERS_MAX))
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
        const struct git_result result = {.status = -1, .message = err.message};
        if (fetch->base_done)
            on_module_failed(fetch, &result);
        else
            try_again(fetch, FAULT_PLATFORM, err.message);
        return; /* it has gone through the list, which may be another now */
    }
}

void fetch_join(struct job *job, const struct task *task, const char *commit, const char *key,
                const char *name)
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
        snprintf(fetch->large_files, sizeof fetch->large_files, "%lld",
                 (long long)o->config->large_files_bytes);
        modules_init(&fetch->modules);
        *at = fetch;
        /* From the loop: a job that cannot even begin must not end within its own call. */
        fetch->timer = loop_add_timer(o->loop, 0, on_pause_over, fetch);
    }
    job->fetch = *at;
    job->fetch_name = name;
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
