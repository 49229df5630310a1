/* What a step writes into a pipe, into a file: bounded, and hashed. */
#ifndef CODEX_RUNNER_COPY_H
#define CODEX_RUNNER_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

enum { COPY_SHA256_SIZE = 32 };

struct copy;

struct copy_result {
    uint64_t size_bytes;
    uint8_t sha256[COPY_SHA256_SIZE];
};

/* Copy from IN (owned from now on) to the file OUT (not owned), which is emptied first, until IN
 * ends or passes MAX_BYTES. Runs in the loop. NULL on failure. */
struct copy *copy_start(struct loop *loop, int in, int out, uint64_t max_bytes, struct err *err);

/* Whether there is nothing more to wait for. */
bool copy_has_ended(const struct copy *copy);

/* Free it. All of IN is in OUT, on the disk: 0, and RESULT is filled. Else OUT is empty, and the
 * error says why: ERR_LIMIT when it was too much. */
int copy_finish(struct copy *copy, struct copy_result *result, struct err *err);

#endif
