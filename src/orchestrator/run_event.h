/*
 * One line of an event file: checked, and taken apart as far as codexd acts on it. The file is
 * written by our own gateway, but much in it comes from a sandbox, so every member may be missing
 * or of any type and size.
 */
#ifndef CODEX_ORCHESTRATOR_RUN_EVENT_H
#define CODEX_ORCHESTRATOR_RUN_EVENT_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "task/task.h"

enum run_event_kind {
    RUN_EVENT_OTHER, /* kept, without an effect */
    RUN_EVENT_PHASE_STARTED,
    RUN_EVENT_PHASE_COMPLETED,
    RUN_EVENT_USAGE,
    RUN_EVENT_LIMIT_HIT,
    RUN_EVENT_COMMAND_STARTED,
    RUN_EVENT_COMMAND_ENDED,
    RUN_EVENT_ENDED,
};

/* Strings belong to `root`. */
struct run_event {
    enum run_event_kind kind;
    json_t *root;
    const char *type, *ts /* NULL: none */;
    enum phase phase;   /* PHASE_COUNT: none */
    struct buf members; /* the rest as JSON text, as struct store_event wants it */

    int64_t round;
    int64_t status, duration_ms;
    const json_t *result; /* phase.completed: an object, or NULL */
    struct token_usage usage;
    const char *limit; /* limit.hit: a name that limit_unit() knows */
    const char *command;
    enum run_outcome outcome; /* run.ended */
    bool changed;
    enum fault_kind fault;
    const char *fault_step, *fault_message;
    bool has_archive;
    int64_t archive_size;
    const char *archive_sha256;
};

/* ERR_PROTOCOL when LINE is not an event; then there is nothing to release. */
int run_event_parse(const char *line, size_t len, struct run_event *out, struct err *err);
void run_event_release(struct run_event *event);

/* The result of `codex-agent test`, from phase.completed, but for counts of tests; the caller
 * releases it. */
void run_event_test_result(const struct run_event *event, struct test_result *out);

/* A member of phase.completed's result as text; NULL when it is none. */
const char *run_event_result_text(const struct run_event *event, const char *name);

#endif
