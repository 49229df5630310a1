/*
 * The submodules of a base commit: which are fetched, from where, and why others are not. What there
 * is to fetch is told by codex-git, which reads .gitmodules (git/modules.h); whether it may be is
 * decided here.
 */
#ifndef CODEX_ORCHESTRATOR_MODULES_H
#define CODEX_ORCHESTRATOR_MODULES_H

#include "base/object_id.h"
#include "git/modules.h"
#include "orchestrator/orchestrator.h"

enum { MODULES_DEPTH_MAX = 4 };

struct module {
    char *url, *path; /* the latter for people */
    char commit[OBJECT_ID_SIZE];
    int depth;     /* 1: of the base commit itself */
    bool stranger; /* on another host: see repo.h */
    bool there;    /* it was fetched */
};

struct modules {
    struct module list[MODULES_MAX];
    size_t count;
    struct buf notes; /* what is left out, a line each */
    bool incomplete;  /* something of it may be there another time */
};

void modules_init(struct modules *modules);
void modules_release(struct modules *modules);

/* Take up what codex-git said (LINES) of the commit of PARENT; NULL: of the base commit, of REPO. What
 * a stranger names is a stranger's, wherever it is: its word opens nothing that needs a login. */
void modules_take(struct modules *modules, const struct orchestrator *o, const char *repo,
                  const struct module *parent, const char *lines);

/* The first one from INDEX on whose commit is not there yet, whatever address that came from; or
 * modules->count. */
size_t modules_next_missing(const struct modules *modules, size_t index);

/* MODULE is left out. PASSING: it may be there another time. */
void modules_leave_out(struct modules *modules, const struct module *module, bool passing,
                       const char *why);

/* Put the notes, if there are any, into the file PATH at its end, WRITTEN: as a part of the bundle. */
int modules_write_notes(const struct modules *modules, const char *path, int64_t written,
                        struct err *err);

/* Names what came along in the task's base bundle, commits of submodules and files of Git LFS, "" when
 * that is nothing: what is made of the base depends on it. */
enum { MODULES_NAME_SIZE = 65 };
void modules_name(const struct orchestrator *o, const char *task_id, char out[MODULES_NAME_SIZE]);

#endif
