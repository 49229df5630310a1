/*
 * What the turn loop is to the tools, for their tests: calls that start, and wait for their end on
 * a real event loop, and the events that came meanwhile.
 */
#ifndef CODEX_TESTS_UNIT_TOOL_DOUBLE_H
#define CODEX_TESTS_UNIT_TOOL_DOUBLE_H

#include "test.h"

#include <jansson.h>

#include "agent/tool.h"
#include "base/buf.h"

struct bench {
    struct loop *loop;
    struct tool_host host;
    char home[32];    /* a temporary directory, the user's home */
    char workdir[64]; /* in it */
    int events_fd;    /* where the events come out */
    struct buf event_bytes;
};

/* A call and its outcome. */
struct asked {
    struct tool_call call;
    bool done, ok;
    char *text;
    char *media_type, *base64; /* of the image beside it; NULL: none */
    json_t *arguments;
};

/* Called by tool_call_finish() at its end, as the turn loop may start the next call there. */
extern void (*on_finish)(struct asked *asked);

/* Run as ourselves; with DROP as a user of our own that nobody else is. */
void bench_open(struct bench *bench, bool drop);
void bench_close(struct bench *bench); /* removes the directory */

/* Begin TOOL of GROUP with ARGUMENTS: JSON, or the input of a custom tool. */
void ask_begin(struct tool_group *group, const char *tool, const char *arguments,
               struct asked *asked);
/* Run the loop until it has ended (fails after 20 s). */
void ask_wait(struct bench *bench, struct asked *asked);
/* Both; returns the text, valid until asked_release(). */
const char *ask(struct bench *bench, struct tool_group *group, const char *tool,
                const char *arguments, struct asked *asked);
void asked_release(struct asked *asked);

/* Run the loop for MS. */
void bench_run(struct bench *bench, int64_t ms);

/* stop, the loop until nothing runs, free. Returns how long it took, in milliseconds. */
int64_t bench_stop(struct bench *bench, struct tool_group *group);

/* All events since the last call, as an array. The caller owns it. */
json_t *bench_events(struct bench *bench);

/* The last event in EVENTS whose item has TYPE, or NULL; its "item". */
json_t *last_item(const json_t *events, const char *type);

/* Member NAME of OBJECT as a string, "" when it is none. */
const char *member(const json_t *object, const char *name);

/* printf into memory of the test's, freed with the next 16 calls. */
const char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
