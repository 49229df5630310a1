/*
 * codexd's end of the socket to the spawner (src/task/spawn.h): sends requests without ever
 * blocking, and hands reports to whoever waits for them.
 */
#ifndef CODEX_ORCHESTRATOR_SPAWNER_H
#define CODEX_ORCHESTRATOR_SPAWNER_H

#include "base/err.h"
#include "loop/loop.h"
#include "task/spawn.h"

struct spawner;

typedef void spawner_report_fn(void *arg, enum spawn_type type, const struct spawn_report *report);
/* The spawner is gone, or sent what is no report: nothing more will come. */
typedef void spawner_gone_fn(void *arg, const struct err *err);

/* Takes FD over. */
struct spawner *spawner_new(struct loop *loop, int fd, spawner_gone_fn *gone, void *arg,
                            struct err *err);
void spawner_free(struct spawner *spawner);

/* Who gets the reports of runs, and those of git. */
void spawner_on_run(struct spawner *spawner, spawner_report_fn *fn, void *arg);
void spawner_on_git(struct spawner *spawner, spawner_report_fn *fn, void *arg);

/* Send MESSAGE (its magic is set here) with COUNT descriptors, which stay the caller's. What the
 * socket does not take now is kept and sent later. */
int spawner_send(struct spawner *spawner, struct spawn_message *message, const int *fds,
                 size_t count, struct err *err);

#endif
