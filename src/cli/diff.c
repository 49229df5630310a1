#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/verb.h"

struct diff_options {
    struct common_options common;
};

/* Of LINE, which is part of a hunk or of the header of a file. */
static enum style line_style(const char *line, bool in_hunk)
{
    if (!in_hunk)
        return STYLE_BOLD;
    switch (line[0]) {
    case '+':
        return STYLE_GREEN;
    case '-':
        return STYLE_RED;
    case '@':
        return STYLE_CYAN;
    default:
        return STYLE_PLAIN;
    }
}

/* DIFF for a terminal: what its files contain cannot command it. */
static void print_readable(const struct buf *diff, bool color)
{
    bool in_hunk = false;
    for (const char *p = diff->data, *end = p + diff->len; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = newline ? (size_t)(newline - p) : (size_t)(end - p);
        AUTO_BUF struct buf valid, line;
        buf_init(&valid, len * 3 + 1);
        buf_init(&line, len * 12 + 32);
        str_append_utf8(&valid, p, len);
        /* Lines of a hunk start with a space, a sign or a backslash: this one cannot be one. */
        if (str_starts_with(valid.data, "diff --git "))
            in_hunk = false;
        else if (str_starts_with(valid.data, "@@ "))
            in_hunk = true;
        enum style style = line_style(valid.data, in_hunk);
        style_begin(&line, color, style);
        str_append_terminal_safe(&line, valid.data);
        style_end(&line, color, style);
        puts(line.data);
        p += newline ? len + 1 : len;
    }
}

static int print_json(const char *id, const struct buf *diff)
{
    AUTO_BUF struct buf valid;
    buf_init(&valid, diff->len * 3 + 1);
    str_append_utf8(&valid, diff->data, diff->len);
    json_t *answer = json_pack("{s:s,s:s}", "task", id, "diff", valid.data);
    json_print(answer);
    json_decref(answer);
    return EXIT_OK;
}

static int run_diff(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct diff_options *options = arg;
    struct session session;
    AUTO_BUF struct buf diff;
    buf_init(&diff, API_ANSWER_MAX);
    int status = session_open_task(&session, arguments[0], err);
    if (status < 0)
        return status;
    AUTO_FREE char *target = api_task_target(arguments[0], "/diff");
    status = api_call(&session.api, "GET", target, NULL, &diff, err);
    session_close(&session);
    if (status < 0)
        return status;
    if (options->common.json)
        return print_json(arguments[0], &diff);
    if (!isatty(STDOUT_FILENO)) /* to the byte: `git apply` may read it */
        return io_write_all(STDOUT_FILENO, diff.data, diff.len, err);
    print_readable(&diff, terminal_has_color());
    return EXIT_OK;
}

const struct verb verb_diff = {
    .name = "diff",
    .summary = "what a task changed, against its base",
    .arguments = "ID",
    .examples = "  codex diff task-abc123\n"
                "  codex diff task-abc123 | git apply --stat\n",
    .options_size = sizeof(struct diff_options),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_diff,
};
