/* What states, verdicts and test results are called when a person reads them. */
#ifndef CODEX_CLI_WORDS_H
#define CODEX_CLI_WORDS_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"
#include "cli/terminal.h"

/* Has a task in STATE ended? */
bool state_is_final(const char *state);
enum style state_style(const char *state);

/* "tests passed" for "passed" …; NULL for no verdict. */
const char *verdict_text(const char *verdict);
enum style verdict_style(const char *verdict);

/* "npm test: exit 0 in 2.1s", for the result of `codex-agent test` or one half of a task's
 * evidence; "no tests found" when RESULT has no command. One line, safe for a terminal. */
void append_test_result(struct buf *out, const json_t *result);
enum style test_result_style(const json_t *result);

/* "newly broken: a, b and 3 more" of the KIND of change in EVIDENCE, or a verification's result, with
 * at most MAX names; false, and nothing is appended, when there is none. One line, safe for a
 * terminal. */
bool append_test_change(struct buf *out, const json_t *evidence, const char *kind, size_t max);

/* The kinds, the one that matters most first: N from 0; NULL behind the last. */
const char *test_change_kind(size_t n);
enum style test_change_style(const char *kind);

/* "41.2k in (30.0k cached), 3.1k out" of a usage object. */
void append_usage(struct buf *out, const json_t *usage);

/* "pull request #1: Add pagination (draft, open)", and its URL when it has one. */
void append_pull_request(struct buf *out, const json_t *pull_request);

/* "main has got 2 commits meanwhile; …", of a task or of its event; the name is as it came. */
void append_base_moved(struct buf *out, const json_t *from);

/* The first seven digits of a commit. OUT holds 8 bytes. */
void short_commit(const char *commit, char *out);

/* TEXT cleaned, its first line, in at most COLUMNS. */
void append_line(struct buf *out, const char *text, size_t columns);

#endif
