/* What the wires' requests have in common: members of JSON text, and tools as functions. */
#ifndef CODEX_AGENT_PROVIDERS_REQUEST_H
#define CODEX_AGENT_PROVIDERS_REQUEST_H

#include "agent/provider.h"

/* Append to a frame. Its parts are ours or were bounded by whoever read them: they fit. */
void request_put(struct buf *out, const char *s);
void request_put_string(struct buf *out, const char *s); /* as JSON */
/* ,"NAME":"VALUE" */
void request_put_member(struct buf *out, const char *name, const char *value);

/*
 * TOOL as a function: its description and its JSON Schema. A freeform tool takes one string; no
 * server enforces its grammar then, so the model gets to read it.
 */
void request_put_description(struct buf *out, const struct tool *tool); /* ,"description":"…" */
void request_put_schema(struct buf *out, const struct tool *tool);      /* the schema alone */

/* Every tool of SETTINGS, divided by commas. */
void request_put_tools(struct buf *out, const struct request_settings *settings,
                       void (*put)(struct buf *out, const struct tool *tool));

/* FAILURE names the member NAME of the request as what is wrong. */
bool request_is_about(const struct failure *failure, const char *name);

/* FAILURE says that a value is wrong, not that there is one. */
bool request_is_about_value(const struct failure *failure);

#endif
