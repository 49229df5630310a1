/* The title, body and branch that the work goes out under. */
#ifndef CODEX_WORKSPACE_MESSAGE_H
#define CODEX_WORKSPACE_MESSAGE_H

#include "base/buf.h"
#include "base/err.h"
#include "workspace/step.h"

enum { MESSAGE_TITLE_MAX = 200, MESSAGE_BODY_MAX = 24 << 10 };

struct message {
    struct buf title; /* one line, never empty */
    struct buf body;  /* may be empty */
    char *branch;     /* NULL: none was asked for */
};

void message_init(struct message *message);
void message_release(struct message *message);

/*
 * What the agent has submitted: submit.json in STATE_DIR, which only root can read. 1: there is
 * something. 0: there is none. Negative: there is something that cannot be used.
 */
int message_from_submission(const char *state_dir, struct message *message, struct err *err);

/* Without one: the first line of the prompt, cut to a title's length, and the prompt if there is
 * more of it. */
void message_from_prompt(const char *prompt, struct message *message);

/* As a commit message: title, empty line, body. */
void message_format(const struct message *message, struct buf *out);

#endif
