/* What reading an item has in common, whatever the wire. */
#ifndef CODEX_AGENT_PROVIDERS_ITEM_H
#define CODEX_AGENT_PROVIDERS_ITEM_H

#include "agent/provider.h"

enum { ITEM_TEXT_MAX = ANSWER_MAX_BYTES };

/* RAW becomes what goes back, on one line: a line end can stand only between the tokens of valid
 * JSON. */
void item_keep_raw(struct item *item, struct json_span raw);

/* ITEM becomes a call. ID and NAME are strings; ARGUMENTS may hold any bytes. */
void item_set_call(struct item *item, const json_t *id, const json_t *name, const char *arguments,
                   size_t len);

/* Replace the arguments of a call. */
void item_set_arguments(struct item *item, const char *arguments, size_t len);

/* The texts of a list of parts, whose member is called NAME (or OTHER, which may be NULL), with a
 * blank line between. The caller frees it. */
char *item_parts_text(const json_t *parts, const char *name, const char *other);

/* A JSON string for a person: valid UTF-8 without a NUL. */
char *item_text(const json_t *string);

/*
 * Servers parse what they get back, and refuse a whole conversation for arguments that are no JSON
 * object (Ollama, vLLM, llama.cpp's templates, and Anthropic, where they are an object): such a
 * call goes back with them in an object, which is returned for the caller to free. NULL: TEXT is an
 * object already.
 */
char *item_wrapped_arguments(const char *text, size_t len);

#endif
