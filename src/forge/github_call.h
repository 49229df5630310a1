/* A question to GitHub: a few requests about one repository, one after the other. */
#ifndef CODEX_FORGE_GITHUB_CALL_H
#define CODEX_FORGE_GITHUB_CALL_H

#include <jansson.h>

#include "base/object_id.h"
#include "forge/forge.h"

enum { GITHUB_SLUG_MAX = 200 /* "owner/name" */ };

struct github_call;

/* Sends one request; done once more when the repository turns out to have another name by now. */
typedef void github_step_fn(struct github_call *call);

/* Takes the answer; it is NULL when none came, for the reason ERR. */
typedef void github_next_fn(struct github_call *call, const struct rest_answer *answer,
                            const struct err *err);

struct github_call {
    struct forge_github *github;
    struct rest_call *rest;
    char slug[GITHUB_SLUG_MAX]; /* "": about no repository, */
    bool nowhere;               /* or about one whose address is not of that form */
    bool moved;                 /* the slug is not the address's any more */
    github_step_fn *step;
    github_next_fn *next;

    char *base, *branch; /* check, open */
    bool anew;           /* check */
    char *title, *body;  /* open */
    char commit[OBJECT_ID_SIZE];
    bool draft;
    bool created_once; /* the server said that there is one already: it is only looked for */
    int page;          /* of the list, 1… */
    int64_t number;    /* state */
    char doing[GITHUB_SLUG_MAX + 100];
    union {
        forge_checked_fn *checked;
        forge_opened_fn *opened;
        forge_state_fn *state;
    } done;
    void *arg;
    struct github_call *other;
};

/* About the repository REPO; NULL: about none. DOING: "cannot …", the beginning of what is said of
 * failures; the repository's name is put behind it. */
struct github_call *github_call_new(const struct forge *forge, const char *repo, const char *doing,
                                    void *arg);
void github_call_free(struct github_call *call);

/* Send METHOD to PATH, below the repository's or, without one, the API's address, with BODY (NULL:
 * none); the answer goes to NEXT, and so does a failure to send. STEP is the caller. */
void github_ask(struct github_call *call, github_step_fn *step, const char *method,
                const char *path, const char *body, github_next_fn *next);

/* The JSON of ANSWER; NULL with a reason in OUT, also when there is no answer, for WHY. */
json_t *github_read(const struct github_call *call, const struct rest_answer *answer,
                    const struct err *why, struct err *out);

/* TEXT for a URL's path or query (RFC 3986), the slashes of branches too. The caller frees. */
char *github_escape(const char *text);

/* github_check.c: of struct forge */
void github_try_token(const struct forge *forge, forge_checked_fn *done, void *arg);
void github_check(const struct forge *forge, const char *repo, const char *base, bool anew,
                  forge_checked_fn *done, void *arg);

/* A server that repeats what it was sent does not get the token into a message. */
void github_hide_token(const struct github_call *call, struct err *err);

#endif
