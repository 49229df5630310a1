/*
 * What a forge does with the branch of a task. The plain one keeps the pull request in codexd's own
 * store; others talk to a server, so all calls answer through a function, once, now or later.
 */
#ifndef CODEX_FORGE_FORGE_H
#define CODEX_FORGE_FORGE_H

#include "base/buf.h"
#include "base/err.h"
#include "http/rest.h"
#include "task/refusals.h"
#include "task/task.h"

/* What came of opening a pull request. */
struct forge_opened {
    const char *url; /* NULL: none */
    int64_t number;  /* 0: codexd gives one */
    bool draft;      /* as it is there: not every repository can have drafts */
};

/* OPENED is NULL when there is none, and ERR says why: ERR_REFUSED for good (permission, a name);
 * anything else may go better another time, not before WAIT_MS if that is not 0. */
typedef void forge_opened_fn(void *arg, const struct forge_opened *opened, const struct err *err,
                             int64_t wait_ms);

/* ERR's code is 0: tasks on the repository can be delivered there. */
typedef void forge_checked_fn(void *arg, const struct err *err);

/* STATE: "open", "merged" or "closed"; NULL when it could not be had, and ERR says why. */
typedef void forge_state_fn(void *arg, const char *state, const struct err *err);

struct forge {
    const char *name; /* "plain" … */
    void *self;

    /* Whether the server takes the token at all. NULL: it cannot be asked. The call lasts until it is
     * answered. */
    void (*try_token)(const struct forge *forge, forge_checked_fn *done, void *arg);

    /* Whether a pull request against the branch BASE of the repository REPO can be opened: asked at
     * submission, before a model is paid for. NULL: always. ANEW: whatever
     * was found out a while ago. The call lasts until it is answered. */
    void (*check)(const struct forge *forge, const char *repo, const char *base, bool anew,
                  forge_checked_fn *done, void *arg);

    /* Open a pull request for task->branch with title, body and draft of REQUEST; when there is one
     * for this branch already, that one is the answer: a repetition after a crash opens no
     * second. */
    void (*open)(const struct forge *forge, const struct task *task,
                 const struct pull_request *request, forge_opened_fn *done, void *arg);

    /* What has become of task->pull_request. */
    void (*state)(const struct forge *forge, const struct task *task, forge_state_fn *done,
                  void *arg);
};

/* The plain forge asks its surroundings one thing: does the base contain the task's commit? */
typedef void forge_contains_done_fn(void *arg, int contains /* 1, 0, negative */,
                                    const struct err *err);
typedef void forge_contains_fn(void *host, const struct task *task, forge_contains_done_fn *done,
                               void *arg);

struct forge_plain {
    forge_contains_fn *contains;
    void *host;
};

/* OUT and PLAIN live as long as it is used; CONTAINS is called with HOST. */
void forge_plain_init(struct forge *out, struct forge_plain *plain, forge_contains_fn *contains,
                      void *host);

/*
 * GitHub, and GitHub Enterprise, by its REST API (https://docs.github.com/en/rest/pulls/pulls,
 * version 2022-11-28).
 */
struct forge_github {
    struct rest *rest;
    const char *api; /* "https://api.github.com": without a slash at its end */
    /* The token as it is now, to be freed by token_free(); negative with a reason. */
    int (*token)(void *host, char **token, struct err *err);
    void (*token_free)(char *token);
    void *host;
    const char *ca; /* NULL: the system's */
    struct github_call *calls;
    struct github_trial {
        uint64_t key;
        int64_t until_ms; /* of the monotonic clock */
    } trials[8];          /* which token was let open pull requests where, a while ago */
};

/* OUT, GITHUB and its strings live until forge_github_release(), which drops what is under way. */
void forge_github_init(struct forge *out, struct forge_github *github);
void forge_github_release(struct forge_github *github);

/* What a pull request says: text.c */

/* One line: the agent's title, else the prompt's beginning; a task without tests says so in it.
 * The caller frees. */
char *pull_request_title(const struct task *task, enum verdict verdict);

/* The agent's words (behind all else where they could hide it), the evidence: both test runs, what
 * changed test by test, the verdict in a sentence, the addresses that were refused, tokens.
 * Markdown, bounded. The caller frees. */
char *pull_request_body(const struct task *task, enum verdict verdict,
                        const struct refusals *refusals);

#endif
