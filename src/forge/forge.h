/*
 * What a forge does with the branch of a task. The plain one keeps the pull request in codexd's own
 * store; others will talk to a server, so both calls answer through a function, once, now or later.
 */
#ifndef CODEX_FORGE_FORGE_H
#define CODEX_FORGE_FORGE_H

#include "base/buf.h"
#include "base/err.h"
#include "task/task.h"

/* On success URL (NULL: none) and NUMBER (0: codexd gives one) are set; else ERR says why. */
typedef void forge_opened_fn(void *arg, const char *url, int64_t number, const struct err *err);

/* STATE: "open", "merged" or "closed"; NULL when it could not be had, and ERR says why. */
typedef void forge_state_fn(void *arg, const char *state, const struct err *err);

struct forge {
    const char *name; /* "plain" … */
    void *self;

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

/* What a pull request says: text.c */

/* One line: the agent's title, else the prompt's beginning; a task without tests says so in it.
 * The caller frees. */
char *pull_request_title(const struct task *task, enum verdict verdict);

/* The agent's words, then the evidence: both test runs, what changed test by test, the verdict in a
 * sentence, tokens.
 * Markdown, bounded. The caller frees. */
char *pull_request_body(const struct task *task, enum verdict verdict);

#endif
