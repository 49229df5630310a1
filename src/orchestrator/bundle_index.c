#include "orchestrator/bundle_index.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/files.h"
#include "task/exit.h"

enum {
    INDEX_TIMEOUT_MS = 30 * 60 * 1000,
    SMALL_BYTES = 256 << 10, /* of a bundle: unpacked in no time */
};

struct bundle_index {
    struct orchestrator *o;
    char *key, *temporary;
    struct git_job *git;
    struct bundle_index *next;
};

static void index_free(struct bundle_index *index)
{
    struct bundle_index **at = &index->o->bundle_indexes;
    while (*at != index)
        at = &(*at)->next;
    *at = index->next;
    git_drop(index->git);
    free(index->key);
    free(index->temporary);
    free(index);
}

void bundle_index_free_all(struct orchestrator *o)
{
    while (o->bundle_indexes)
        index_free(o->bundle_indexes);
}

static void on_made(void *arg, const struct git_result *result)
{
    struct bundle_index *index = arg;
    struct err err = {0};
    AUTO_FREE char *bundle = files_bundle(index->o, index->key);
    AUTO_FREE char *to = files_bundle_index(index->o, index->key);
    index->git = NULL;
    if (result->status != GIT_EXIT_DONE)
        log_warn("-", "cannot index the bundle %s: %s", index->key, result->message);
    if (result->status != GIT_EXIT_DONE || !files_exist(bundle)) { /* which may be trimmed by now */
        unlink(index->temporary);
    } else if (files_publish(index->temporary, to, &err) < 0) {
        log_warn("-", "%s", err.message);
    }
    index_free(index);
}

static int start(struct bundle_index *index, int bundle, struct err *err)
{
    AUTO_FD int fd = files_create(index->temporary, O_WRONLY, err);
    if (fd < 0)
        return fd;
    const struct git_request request = {
        .args = {"index"},
        .timeout_ms = INDEX_TIMEOUT_MS,
        .fds = {{bundle, 3}, {fd, 4}},
        .fds_count = 2,
    };
    index->git = git_start(index->o->git, &request, on_made, index, err);
    return index->git ? 0 : err->code;
}

void bundle_index_make(struct orchestrator *o, const char *key)
{
    struct err err = {0};
    struct stat st;
    AUTO_FREE char *path = files_bundle(o, key);
    AUTO_FD int bundle = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (bundle < 0 || fstat(bundle, &st) < 0 || st.st_size < SMALL_BYTES)
        return;
    struct bundle_index *index = calloc(1, sizeof *index);
    if (!index)
        abort();
    *index = (struct bundle_index){
        .o = o,
        .key = str_dup(key),
        .temporary = str_format("%s/server/bundles/%s.tmp-index", o->state_dir, key),
        .next = o->bundle_indexes,
    };
    o->bundle_indexes = index;
    if (start(index, bundle, &err) < 0) {
        log_warn("-", "cannot index the bundle %s: %s", key, err.message);
        index_free(index);
    }
}

int bundle_index_open(const struct orchestrator *o, const struct task *task)
{
    if (task->base_known) /* its base bundle is its own */
        return -1;
    AUTO_FREE char *key = files_bundle_key(o, task->uid, task->repo, task->base_commit);
    AUTO_FREE char *path = files_bundle_index(o, key);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}
