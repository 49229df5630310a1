/*
 * Limits of a task: those that it, or its repository, may set below the server's, and the names of
 * all that an event `limit.hit` may tell of.
 */
#ifndef CODEX_TASK_LIMITS_H
#define CODEX_TASK_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum task_limit {
    TASK_LIMIT_MEMORY, /* bytes, with swap */
    TASK_LIMIT_CPUS,   /* thousandths of a core */
    TASK_LIMIT_PIDS,
    TASK_LIMIT_DISK, /* bytes of one writable layer */
    TASK_LIMIT_COUNT,
};

/* 0: none of its own. */
struct task_limits {
    int64_t of[TASK_LIMIT_COUNT];
};

/* As people write it ("memory"), and as JSON has it ("memory_bytes"). */
const char *task_limit_name(enum task_limit limit);
const char *task_limit_member(enum task_limit limit);

/* Whether VALUE (not 0) can be that of LIMIT at all. */
bool task_limit_valid(enum task_limit limit, int64_t value);

/* "512M", "1.5", "200": the value of LIMIT in TEXT. ERR_USAGE says what it should be. */
int task_limit_parse(enum task_limit limit, const char *text, int64_t *value, struct err *err);

/* VALUE for a person: "512 MiB", "1.5 cores", "200 processes". */
void task_limit_append(struct buf *out, enum task_limit limit, int64_t value);

/* Lower the limits of RUN to what is ASKED for; what is above them changes nothing. */
struct run_limits;
void task_limits_lower(struct run_limits *run, const struct task_limits *asked);

/* {"memory_bytes":n|null,…} */
int task_limits_to_json(const struct task_limits *limits, struct buf *out);

/* The unit of the figure in a `limit.hit` of that name; NULL: there is no such limit. */
const char *limit_unit(const char *name);

#endif
