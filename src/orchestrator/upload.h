/*
 * Commits that come along with a task because its remote repository lacks them: a bundle, handed in
 * first and claimed by the submission. Nothing looks into it but codex-git, as nobody. What is not
 * claimed soon goes.
 */
#ifndef CODEX_ORCHESTRATOR_UPLOAD_H
#define CODEX_ORCHESTRATOR_UPLOAD_H

#include "orchestrator/orchestrator.h"

/* Whether UID has handed in a bundle of this id: 0, or ERR_NOT_FOUND. */
int upload_check(struct orchestrator *o, uint32_t uid, const char *id, struct err *err);

/* The bundle becomes the file PATH. */
int upload_claim(struct orchestrator *o, uint32_t uid, const char *id, const char *path,
                 struct err *err);

void upload_free_all(struct orchestrator *o);

#endif
