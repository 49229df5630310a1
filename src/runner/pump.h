/* Bytes from one descriptor to another, as fast as the slower of both. */
#ifndef CODEX_RUNNER_PUMP_H
#define CODEX_RUNNER_PUMP_H

#include "loop/loop.h"

struct pump;

/* Called when IN has ended and all of it has been written, or when OUT takes no more. The pump is
 * still the caller's to free. */
typedef void pump_ended_fn(void *arg);

/* Neither descriptor is owned. Both must be pollable (terminals, pipes, sockets), and
 * neither may be in the loop already: who needs one twice dups it. */
struct pump *pump_new(struct loop *loop, int in, int out, pump_ended_fn *fn, void *arg,
                      struct err *err);
void pump_free(struct pump *pump);

#endif
