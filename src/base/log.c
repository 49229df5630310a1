#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static const char *program = "codex";

void log_open(const char *name)
{
    program = name;
}

/* Bytes that could move a terminal's cursor or end the line become \xNN. */
static void append_escaped(struct buf *line, const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_appendf(line, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            buf_appendf(line, "\\x%02x", *p);
        else
            buf_append_char(line, (char)*p);
    }
}

__attribute__((format(printf, 3, 0))) static void write_line(const char *level, const char *task,
                                                             const char *format, va_list args)
{
    char when[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), when);
    char message[1024];
    vsnprintf(message, sizeof message, format, args);

    struct buf line;
    buf_init(&line, 8192);
    buf_appendf(&line, "%s program=%s level=%s task=", when, program, level);
    append_escaped(&line, task);
    buf_append_str(&line, " msg=\"");
    append_escaped(&line, message);
    buf_append_str(&line, "\"\n");
    /* One write a line keeps lines of several processes whole; a full disk must not stop us. */
    ssize_t ignored = write(STDERR_FILENO, line.data, line.len);
    (void)ignored;
    buf_release(&line);
}

#define DEFINE_LEVEL(name)                                                                         \
    void log_##name(const char *task, const char *format, ...)                                     \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        write_line(#name, task, format, args);                                                     \
        va_end(args);                                                                              \
    }

DEFINE_LEVEL(error)
DEFINE_LEVEL(warn)
DEFINE_LEVEL(info)
