/* How the CLI writes figures: durations, counts of tokens, sizes, local times. */
#ifndef CODEX_CLI_FORMAT_H
#define CODEX_CLI_FORMAT_H

#include <stdint.h>

enum { FORMAT_SIZE = 32 };

/* "0.4s", "42s", "2m31s", "1h04m", "3d02h"; OUT holds FORMAT_SIZE bytes, as in all of these. */
void format_duration(int64_t ms, char *out);

/* "5s", "12m", "3h", "20d": for a column. */
void format_age(int64_t ms, char *out);

/* "999", "1.2k", "41.2k", "1.3M". */
void format_count(int64_t n, char *out);

/* "512 B", "1.5 MiB". */
void format_bytes(int64_t bytes, char *out);

/* Milliseconds since the epoch as local time: "10:22:01", and "2026-11-24". */
void format_time(int64_t real_ms, char *out);
void format_date(int64_t real_ms, char *out);

#endif
