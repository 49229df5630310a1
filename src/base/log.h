/*
 * The log of a program: one line to standard error, key=value, untrusted bytes escaped.
 * Only programs and their top-level loops log; libraries return errors. Secrets never.
 *
 *     2026-11-23T17:59:00.123Z program=codexd level=warn task=task-abc123 msg="run 2 is gone"
 */
#ifndef CODEX_BASE_LOG_H
#define CODEX_BASE_LOG_H

/* Call once; NAME is the program's. */
void log_open(const char *name);

/* TASK is the task's id, or "-" where none applies. FORMAT makes the message, which is escaped. */
void log_error(const char *task, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_warn(const char *task, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const char *task, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
