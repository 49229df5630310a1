/* Clocks. Deadlines use the monotonic clock, records use UTC. */
#ifndef CODEX_BASE_CLOCK_H
#define CODEX_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void); /* milliseconds since boot, suspends not counted */
int64_t clock_mono_us(void);
int64_t clock_real_ms(void); /* milliseconds since the epoch, UTC */

enum { CLOCK_RFC3339_SIZE = 25 }; /* "2026-11-23T17:59:00.123Z" and a NUL */

/* RFC 3339 in UTC with milliseconds. OUT holds CLOCK_RFC3339_SIZE bytes. */
void clock_rfc3339(int64_t real_ms, char *out);

/* An RFC 3339 time in UTC ("Z"), with or without a fraction, to milliseconds since the epoch;
 * -EINVAL for anything else. */
int64_t clock_parse_rfc3339(const char *s);

/* "90", "90s", "15m", "8h", "2d" to milliseconds; -EINVAL for anything else, 0 or over 30 days. */
int64_t clock_parse_duration_ms(const char *s);

#endif
