/* Reading what GitHub answers: outside bytes. */
#ifndef CODEX_FORGE_GITHUB_ANSWER_H
#define CODEX_FORGE_GITHUB_ANSWER_H

#include <jansson.h>

#include "base/err.h"
#include "base/object_id.h"
#include "http/rest.h"

enum { GITHUB_URL_MAX = 512, GITHUB_WORDS_MAX = 512 };

struct github_pull {
    int64_t number;
    char url[GITHUB_URL_MAX];
    char commit[OBJECT_ID_SIZE]; /* of its head; "" when that is no object id */
    bool draft, open, merged;
};

/* The body as JSON when the status says that all is well; NULL with the reason: ERR_REFUSED,
 * ERR_NOT_FOUND, -EAGAIN (a limit of requests), -EIO (the server's own trouble, or no JSON).
 * DOING: "cannot …", the beginning of the line. The caller releases it. */
json_t *github_answer_read(const struct rest_answer *answer, const char *doing, struct err *err);

/* The first of the server's words in an error body, bounded, in one line; "" when there are none. */
void github_answer_words(const struct rest_answer *answer, char *out, size_t size);

/* How long to wait before a request that failed with ERR is sent again; 0: no time in particular. */
int64_t github_answer_wait_ms(const struct rest_answer *answer, const struct err *err);

/* A pull request object; ERR_PROTOCOL when it is none. */
int github_pull_read(const json_t *json, struct github_pull *pull, struct err *err);

/* Whether the pull request object goes from BRANCH of the repository SLUG to BASE: not every server
 * takes heed of the query, and forks have branches of the same name. */
bool github_pull_is_between(const json_t *json, const char *slug, const char *branch,
                            const char *base);

#endif
