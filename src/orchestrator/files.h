/*
 * The files of tasks, in server/ of the state directory:
 *
 *     bundles/<key>.bundle    base commits, shared: hard links of the tasks' base.bundle;
 *             <key>.idx       the pack index of a large one
 *     tasks/<id>/             base.bundle work-<run>.bundle push.bundle diff.patch archive.tar.zst
 *                             events-<run>.jsonl tests-<run>.before tests-<run>.after;
 *                             work.bundle is what is kept of work not delivered;
 *                             of a base that came along: head.bundle, as it came, known.bundle, what
 *                             it builds on, and extra.bundle, the same commits once they are checked
 *     uploads/<id>            bundles that no submission has claimed yet
 */
#ifndef CODEX_ORCHESTRATOR_FILES_H
#define CODEX_ORCHESTRATOR_FILES_H

#include <stdbool.h>

#include "orchestrator/orchestrator.h"

/* Paths, which the caller frees. */
char *files_work_bundle(const struct orchestrator *o, const char *task_id, uint32_t run);
/* The lists of single tests, of the baseline and of the last verification. */
char *files_tests_before(const struct orchestrator *o, const char *task_id, uint32_t run);
char *files_tests_after(const struct orchestrator *o, const char *task_id, uint32_t run);
char *files_events(const struct orchestrator *o, const char *task_id, uint32_t run);

int files_make_dir(const struct orchestrator *o, const char *task_id, struct err *err);

/* A new file at PATH, in place of any there was: who still holds that one cannot touch the new one.
 * Only codexd can enter the directory; who is handed the file in a sandbox may read it. */
int files_create(const char *path, int flags, struct err *err);

/* Rename FROM to TO. codex-git has put it on the disk: waiting for that here would hold up the
 * loop. */
int files_publish(const char *from, const char *to, struct err *err);

bool files_exist(const char *path); /* and is not empty */

/* -ENOSPC when the disk has too little room for another task. */
int files_check_room(const struct orchestrator *o, struct err *err);

/* The name by which the bundle of COMMIT of REPO is shared, between tasks of user UID only: which
 * path and commit a task has is told by a process of its submitter's, who may make it say the
 * repository of somebody else; and what is fetched is written by one. [internet] and
 * large_files of the configuration are in it, because they decide about what comes along. The caller
 * frees. */
char *files_bundle_key(const struct orchestrator *o, uint32_t uid, const char *repo,
                       const char *commit);
char *files_bundle(const struct orchestrator *o, const char *key);
char *files_bundle_index(const struct orchestrator *o, const char *key);

/* Give the shared bundle to a task, as its file NAME. -ENOENT when there is none. */
int files_link_bundle(const struct orchestrator *o, const char *key, const char *task_id,
                      const char *name, struct err *err);

/* Remove the oldest shared bundles beyond those that are worth keeping. */
void files_trim_bundles(const struct orchestrator *o);

/* Remove what a codexd that was killed had begun to fetch. */
void files_remove_unfinished(const struct orchestrator *o);

/* TASK has ended: only what its state says to keep stays. */
void files_release(const struct orchestrator *o, const struct task *task);

#endif
