/* Commits of a checkout that its remote origin does not have yet: they go along with the task. */
#ifndef CODEX_CLI_UNPUSHED_H
#define CODEX_CLI_UNPUSHED_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/object_id.h"
#include "cli/api.h"

enum { UNPUSHED_MAX = 32 << 20 /* bytes, as much as the server takes */ };

struct unpushed {
    char commit[OBJECT_ID_SIZE]; /* where the task starts */
    char known[OBJECT_ID_SIZE];  /* the newest below it that origin had when it was seen last */
    struct buf bundle;           /* what COMMIT has and KNOWN has not */
    size_t count;                /* of commits that origin lacks */
};

/* Collect them from the checkout at TOP. ERR_REFUSED when origin has nothing of that history, or it
 * is too much. NULL on failure. */
struct unpushed *unpushed_new(const char *top, const char *commit, struct err *err);
void unpushed_free(struct unpushed *unpushed); /* NULL is fine */

/* Hand them in, and say so in BODY, the submission. */
int unpushed_send(struct api *api, const struct unpushed *unpushed, json_t *body, struct err *err);

#endif
