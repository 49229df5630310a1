#include "agent/feedback.h"

#include <jansson.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

enum { NAMES_MAX = 100, TAIL_MAX_BYTES = 32768, EXCERPT_MAX_BYTES = 4096 };

static void put_names(struct buf *out, const json_t *result)
{
    const json_t *names = json_object_get(result, "newly_broken");
    const json_t *count = json_object_get(json_object_get(result, "counts"), "newly_broken");
    size_t i, total = json_array_size(names);
    json_t *name;
    if (!total)
        return;
    if (json_integer_value(count) > (json_int_t)total)
        total = (size_t)json_integer_value(count); /* only some of them are named */
    buf_append_str(out, "\nNewly broken, compared with the tests before your work:\n");
    json_array_foreach(names, i, name) {
        if (i == NAMES_MAX)
            break;
        if (json_is_string(name))
            buf_appendf(out, "- %.512s\n", json_string_value(name));
    }
    if (i < total)
        buf_appendf(out, "… and %zu more\n", total - i);
    if (json_is_true(json_object_get(result, "ran_twice")))
        buf_append_str(out, "The tests were run twice: these failed the second time.\n");
}

/* What the output says about them further up. */
static void put_excerpts(struct buf *out, const json_t *excerpts)
{
    size_t i;
    json_t *excerpt;
    json_array_foreach(excerpts, i, excerpt) {
        const char *test = json_string_value(json_object_get(excerpt, "test"));
        const char *text = json_string_value(json_object_get(excerpt, "output"));
        if (test && text)
            buf_appendf(out, "\nFrom the output, about %.512s:\n%.*s%s", test, EXCERPT_MAX_BYTES,
                        text, str_ends_with(text, "\n") ? "" : "\n");
    }
}

static void put_result(struct buf *out, const json_t *result)
{
    const json_t *exit_code = json_object_get(result, "exit_code");
    const json_t *signal = json_object_get(result, "signal");
    double seconds = (double)json_integer_value(json_object_get(result, "duration_ms")) / 1000;
    if (json_is_true(json_object_get(result, "timed_out")))
        buf_appendf(out, "Result: not finished after %.0f s, and ended\n", seconds);
    else if (json_is_integer(signal))
        buf_appendf(out, "Result: killed by signal %d (SIG%s)\n", (int)json_integer_value(signal),
                    sigabbrev_np((int)json_integer_value(signal))
                        ? sigabbrev_np((int)json_integer_value(signal))
                        : "?");
    else if (json_is_integer(exit_code))
        buf_appendf(out, "Result: exit code %d\n", (int)json_integer_value(exit_code));
}

static void put_tail(struct buf *out, const char *tail)
{
    size_t len = strlen(tail);
    const char *from = len > TAIL_MAX_BYTES ? tail + len - TAIL_MAX_BYTES : tail;
    if (from != tail) {
        const char *line = strchr(from, '\n'); /* whole lines, where there are any */
        from = line ? line + 1 : from;
    }
    buf_appendf(out, "\nThe end of its output:\n%s%s", from, str_ends_with(from, "\n") ? "" : "\n");
}

static void put_message(struct buf *out, const json_t *result)
{
    const char *command = json_string_value(json_object_get(result, "command"));
    const char *tail = json_string_value(json_object_get(result, "output_tail"));
    buf_append_str(out,
                   "The work is not done yet: your changes were committed and tested in a fresh "
                   "sandbox, and the tests fail there.\n\n");
    buf_appendf(out, "Command: %s\n", command ? command : "(none)");
    put_result(out, result);
    put_names(out, result);
    put_excerpts(out, json_object_get(result, "excerpts"));
    if (tail && *tail)
        put_tail(out, tail);
    buf_append_str(
        out, "\nFind the cause and fix it. Only what is in the repository was there: if it passes "
             "here, look for files that are ignored by git or were never added, and for state "
             "outside the workspace. Then finish as before; call submit again if the title or the "
             "description changes.");
}

int feedback_read(int fd, struct buf *out, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, FEEDBACK_MAX_BYTES);
    if (io_read_all(fd, &text, err) < 0)
        return err_context(err, "the feedback");
    json_error_t error;
    json_t *result = json_loadb(text.data, text.len, JSON_ALLOW_NUL, &error);
    int status = 0;
    if (json_is_object(result))
        put_message(out, result);
    else
        status = err_set(err, ERR_USAGE, "the feedback is not a JSON object");
    json_decref(result);
    return status;
}
