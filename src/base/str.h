/* Strings: parsing numbers strictly, making outside bytes safe to store or show. */
#ifndef CODEX_BASE_STR_H
#define CODEX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

bool str_starts_with(const char *s, const char *prefix);
bool str_ends_with(const char *s, const char *suffix);

/* strdup that aborts when memory is out; NULL stays NULL. The caller frees. */
char *str_dup(const char *s);

/* printf into memory that the caller frees; aborts when memory is out. */
char *str_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Is S printable ASCII without spaces, quotes and backslashes: what may stand in a header and in a
 * JSON string as it is? */
bool str_is_plain(const char *s);

/* The whole of S as a decimal number in [MIN, MAX]. Returns 0 or -EINVAL. */
int str_parse_int(const char *s, int64_t min, int64_t max, int64_t *out);

/* Whether S has no control character: it can be part of a line, a header, a path. */
bool str_is_one_line(const char *s);

/* "4096", "512M", "4G", "1T" (also lower case, powers of 1024) to bytes in [1, INT64_MAX]; else
 * -EINVAL. */
int str_parse_size(const char *s, uint64_t *bytes);

/* "2", "1.5", "0.25" to thousandths in [1, MAX]; else -EINVAL. */
int str_parse_milli(const char *s, uint32_t max, uint32_t *milli);

/* Length in bytes of the valid UTF-8 character at BYTES (LEN > 0 are left); 0 when it is malformed,
 * or NUL. */
size_t str_utf8_length(const char *bytes, size_t len);

/* Append LEN bytes as valid UTF-8: what is malformed becomes U+FFFD, and NUL too.
 * Stops quietly at OUT's maximum, never inside a character. Returns how many of BYTES OUT took. */
size_t str_append_utf8(struct buf *out, const char *bytes, size_t len);

/* How many bytes (0 to 3) at the end of BYTES begin a UTF-8 character that the next ones may
 * complete: what a reader of a stream keeps back. */
size_t str_utf8_unfinished(const char *bytes, size_t len);

/* Append S for a terminal: control characters (also C1 and DEL, not \n and \t) become "\xNN" and
 * Unicode's bidirectional controls "\uNNNN", so that a log can neither move the reader's cursor nor
 * show its text in another order. S is valid UTF-8. */
void str_append_terminal_safe(struct buf *out, const char *s);

/* COUNT random characters of [a-z0-9] and a NUL into OUT. */
void str_random_id(char *out, size_t count);

#endif
