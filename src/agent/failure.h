/*
 * Why a request to the model gave no usable answer: one of a few kinds, whatever the wire, and
 * whether it came as an HTTP status, an error in the event stream or a broken connection.
 *
 * Sources: OpenAI's error codes (platform.openai.com/docs/guides/error-codes), the codes of
 * `response.failed`, Anthropic's error types (platform.claude.com/docs, "Errors"), the gateway's own
 * (docs/protocols.md), and those of llama.cpp, vLLM, Ollama and DeepSeek.
 */
#ifndef CODEX_AGENT_FAILURE_H
#define CODEX_AGENT_FAILURE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

enum failure_kind {
    FAILURE_TRANSPORT,     /* no connection, or it broke before the answer */
    FAILURE_UNREACHABLE,   /* the gateway cannot reach the provider: down, or a wrong address */
    FAILURE_SERVER,        /* 5xx, 408, 409: the server's passing trouble */
    FAILURE_BROKEN_STREAM, /* cut, idle, malformed, or without a terminal event */
    FAILURE_RATE_LIMIT,
    FAILURE_OVERLOADED,
    FAILURE_QUOTA,    /* nothing left to spend: waiting does not help soon */
    FAILURE_KEY,      /* 401, 403 */
    FAILURE_BUDGET,   /* the task's token budget (the gateway's answer) */
    FAILURE_CONTEXT,  /* the conversation no longer fits */
    FAILURE_FILTERED, /* the provider's content filter */
    FAILURE_REJECTED, /* the request itself is refused: the same again is refused again */
    FAILURE_COUNT,
};

struct failure {
    enum failure_kind kind;
    int64_t wait_ms;   /* how long the server asks to wait; -1: it does not say */
    char param[64];    /* the request's member that the server complains about, or "" */
    char code[64];     /* the server's word for it, or "" */
    char message[512]; /* one line for a person; valid UTF-8 */
};

void failure_set(struct failure *failure, enum failure_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* From what stands for an error in an answer that began well: an error object of the API, or only
 * a text. A code that says nothing gives FAILURE_SERVER. */
void failure_from_error(struct failure *failure, const json_t *error);

/* From an HTTP answer that is no 200: its status, what its head asks to wait, and the error object
 * in its body, if there is one. */
void failure_from_http(struct failure *failure, int status, int64_t wait_ms, const char *body,
                       size_t len);

/* Retry-After (seconds or a date) or `retry-after-ms`, in milliseconds; -1 without either. */
int64_t failure_wait_in_head(const struct http_head *head);

/* "try again in 1m2.5s", "retry after 20 seconds", "in 350ms" within MESSAGE, in milliseconds; -1
 * when it holds no such thing. */
int64_t failure_wait_in_text(const char *message);

#endif
