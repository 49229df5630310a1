/* For the tests of the agent's wires: requests and streams of the one that a test is about. */
#ifndef CODEX_TESTS_UNIT_WIRE_H
#define CODEX_TESTS_UNIT_WIRE_H

#include "test.h"

#include <jansson.h>

#include "agent/provider.h"
#include "base/buf.h"

/* Defined by the test. */
extern const struct provider *const wire;

/* ---- requests: two tools, a function `exec_command` and the freeform `apply_patch` */

/* A request for MODEL with the message "hi\xff". */
json_t *request(const char *model, const char *effort, unsigned left_out);

/* What is left out after MODEL's server, asked without LEFT_OUT, refused with this error object,
 * status 400. */
unsigned refused_again(const char *model, unsigned left_out, const char *error);
unsigned refused(const char *model, const char *error);

const char *string_at(const json_t *json, const char *name);

/* ---- streams */

struct stream {
    struct buf text;
};

struct stream new_stream(void);
void add_event(struct stream *stream, const char *data);
void add_named(struct stream *stream, const char *name, const char *data); /* with CRLF */

/* Read STREAM in pieces of STEP bytes, the first of FIRST. */
struct answer *read_stream(const struct stream *stream, size_t first, size_t step);
struct answer *read_and_release(struct stream *stream);
struct answer *read_text(const char *text); /* a body of these bytes */

/* Read STREAM at every split in two, and in steps of 1 to 19 bytes; CHECK each answer. */
void read_at_every_split(const struct stream *stream, void (*check)(const struct answer *answer));

/* Cut STREAM at every byte before END: each answer is broken. */
void cut_everywhere(struct stream *stream, size_t end);

void assert_raw(const struct item *item, const char *raw);
void assert_usage(const struct answer *answer, int64_t input, int64_t cached, int64_t output,
                  int64_t reasoning);

/*
 * EVENTS (JSON objects) without one member each, every member in its turn. An answer is then broken
 * or whole, never anything else; broken it is when the member is one of REQUIRED: "N.path.to.it",
 * N the event's number, list elements by number.
 */
void remove_every_member(const char *const *events, size_t count, const char *end,
                         const char *const *required, size_t required_count);

#endif
