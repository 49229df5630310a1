/* Reading what the server answered: members by path, never trusting that they are there. */
#ifndef CODEX_CLI_FIELDS_H
#define CODEX_CLI_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/* The member at PATH ("evidence.baseline.command") of OBJECT; NULL when there is none, or null. */
const json_t *field_at(const json_t *object, const char *path);

const char *field_text(const json_t *object, const char *path); /* NULL when it is no string */
const char *field_text_or(const json_t *object, const char *path, const char *otherwise);
int64_t field_int(const json_t *object, const char *path, int64_t otherwise);
bool field_is_true(const json_t *object, const char *path);

/* A time in RFC 3339, to milliseconds since the epoch; negative when there is none. */
int64_t field_time(const json_t *object, const char *path);

/* Print VALUE to standard output, on one line. On a terminal it is in ASCII, so that no text in it
 * can be taken for a command to the terminal. */
void json_print(const json_t *value);

#endif
