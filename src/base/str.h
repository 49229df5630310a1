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

/* The whole of S as a decimal number in [MIN, MAX]. Returns 0 or -EINVAL. */
int str_parse_int(const char *s, int64_t min, int64_t max, int64_t *out);

/* Length in bytes of the valid UTF-8 character at BYTES (LEN > 0 are left); 0 when it is malformed, or
 * NUL. */
size_t str_utf8_length(const char *bytes, size_t len);

/* Append LEN bytes as valid UTF-8: what is malformed becomes U+FFFD, and NUL too.
 * Stops quietly at OUT's maximum, never inside a character. */
void str_append_utf8(struct buf *out, const char *bytes, size_t len);

/* Append S for a terminal: control characters (also C1 and DEL, not \n and \t) become "\xNN" and
 * Unicode's bidirectional controls "\uNNNN", so that a log can neither move the reader's cursor nor
 * show its text in another order. S is valid UTF-8. */
void str_append_terminal_safe(struct buf *out, const char *s);

/* COUNT random characters of [a-z0-9] and a NUL into OUT. */
void str_random_id(char *out, size_t count);

#endif
