/* The terminal that a command in a sandbox runs on: a pty inside, bridged to ours. */
#ifndef CODEX_RUNNER_TERMINAL_H
#define CODEX_RUNNER_TERMINAL_H

#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <termios.h>

#include "base/err.h"

struct terminal {
    int listener; /* crun sends the master of the pty there */
    int master;   /* -1 until it came; read the command's output there */
    int keyboard; /* the same, to write to */
    bool raw;     /* our terminal is in raw mode, and `saved` is how it was */
    struct termios saved;
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of the listener */
};

/* Listen at PATH for crun. */
int terminal_open(struct terminal *terminal, const char *path, struct err *err);

/* Take the master that crun has sent, give it the size of our terminal, and make ours raw: every
 * key goes through, Ctrl-C included. */
int terminal_connect(struct terminal *terminal, struct err *err);

/* Our terminal has changed its size. */
void terminal_resize(struct terminal *terminal);

/* Our terminal is again as it was. */
void terminal_release(struct terminal *terminal);

#endif
