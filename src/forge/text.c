#include "forge/forge.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "task/exit.h"

enum {
    TITLE_MAX = 100,
    /* GitHub takes 65536 characters; whatever else there is fits beside the agent's own text. */
    BODY_MAX = 65536,
    WORDS_MAX = 22 * 1024,
    CELL_MAX = 200, /* of a command, or a test's name, in a table */
    NAMES_MAX = 20, /* of tests in a row */
};

char *pull_request_title(const struct task *task, enum verdict verdict)
{
    const char *from = task->title && *task->title ? task->title : task->prompt;
    from += strspn(from, " \t\r\n");
    size_t len = strcspn(from, "\r\n");
    AUTO_BUF struct buf title;
    buf_init(&title, TITLE_MAX + 32);
    if (len > TITLE_MAX) {
        /* Cut at a word, and never inside a character: str_append_utf8 stops before it. */
        AUTO_BUF struct buf head;
        buf_init(&head, TITLE_MAX - 3);
        str_append_utf8(&head, from, len);
        char *space = strrchr(head.data, ' ');
        buf_append(&title, head.data,
                   space > head.data + TITLE_MAX / 2 ? (size_t)(space - head.data) : head.len);
        buf_append_str(&title, "…");
    } else {
        buf_append(&title, from, len);
    }
    if (verdict == VERDICT_NO_TESTS)
        buf_append_str(&title, " (no tests)");
    return buf_steal(&title, NULL);
}

/* A command or a name as code in a table's cell: one line, without what would end the cell or the code. */
static void code(struct buf *out, const char *text, size_t len)
{
    AUTO_BUF struct buf cut;
    buf_init(&cut, CELL_MAX);
    str_append_utf8(&cut, text, len);
    for (char *p = cut.data; *p; p++)
        if (strchr("`|\r\n\t", *p))
            *p = *p == '`' ? '\'' : *p == '|' ? '/' : ' ';
    buf_appendf(out, "`%s`", cut.data);
}

static const char *test_outcome(const struct test_result *result)
{
    switch (result->status) {
    case TEST_PASSED:
        return "passed";
    case TEST_FAILED:
    case TEST_NEWLY_FAILED:
        return "failed";
    case TEST_FAILED_AS_BEFORE:
        return "failed as before";
    case TEST_TIMED_OUT:
        return "timed out";
    case TEST_NOT_FOUND:
        return "no tests found";
    default:
        return "could not run";
    }
}

/* Nothing where it is not known. */
static void count_cell(struct buf *out, int64_t count)
{
    if (count >= 0)
        buf_appendf(out, " %lld |", (long long)count);
    else
        buf_append_str(out, " |");
}

static void table_row(struct buf *out, const char *name, const struct test_result *result)
{
    buf_appendf(out, "| %s | ", name);
    if (!result->known) {
        buf_append_str(out, "| did not run | | | | |\n");
        return;
    }
    if (result->command)
        code(out, result->command, strlen(result->command));
    buf_appendf(out, " | %s", test_outcome(result));
    if (result->exit_code > 0)
        buf_appendf(out, " (exit status %lld)", (long long)result->exit_code);
    buf_append_str(out, " |");
    count_cell(out, result->passed);
    count_cell(out, result->failed);
    count_cell(out, result->skipped);
    buf_appendf(out, " %lld.%lld s |\n", (long long)result->duration_ms / 1000,
                (long long)result->duration_ms / 100 % 10);
}

/* "| newly fixed | 2 | `a`, `b` |" */
static void change_row(struct buf *out, const char *label, const struct test_change_names *names)
{
    const char *at = NULL, *name;
    size_t len, shown = 0;
    buf_appendf(out, "| %s | %zu | ", label, names->total);
    for (; shown < NAMES_MAX && test_change_names_next(names, &at, &name, &len); shown++) {
        if (shown)
            buf_append_str(out, ", ");
        code(out, name, len);
    }
    if (shown < names->total)
        buf_appendf(out, " and %zu more", names->total - shown);
    buf_append_str(out, " |\n");
}

/* What has changed, test by test. */
static void append_changes(struct buf *out, const struct task *task)
{
    static const char *const labels[TEST_CHANGE_COUNT] = {
        [TEST_NEWLY_BROKEN] = "newly broken",
        [TEST_NEWLY_FIXED] = "newly fixed",
        [TEST_STILL_BROKEN] = "still broken",
        [TEST_FLAKY] = "flaky (passed when run again)",
        [TEST_ADDED] = "added",
        [TEST_REMOVED] = "removed",
        [TEST_NEWLY_SKIPPED] = "newly skipped",
    };
    const struct test_changes *changes = &task->changes;
    bool any = false;
    if (!changes->compared) {
        if (task->baseline.known && task->verification.known)
            buf_append_str(out, "\nThe results of single tests could not be compared.\n");
        return;
    }
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++) {
        if (!changes->of[i].total)
            continue;
        if (!any)
            buf_append_str(out, "\n| tests | | |\n|---|---|---|\n");
        any = true;
        change_row(out, labels[i], &changes->of[i]);
    }
    if (!any)
        buf_append_str(out, "\nTest by test, nothing has changed.\n");
}

/* Why tests that pass are not enough. */
static void append_reservation(struct buf *out, const struct test_changes *changes)
{
    if (changes->of[TEST_REMOVED].total || changes->of[TEST_NEWLY_SKIPPED].total)
        buf_append_str(out, "A draft, because tests that ran before are gone or skipped now: see "
                            "whether that is meant.\n\n");
}

static const char *verdict_sentence(const struct task *task, enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_PASSED:
        if (task->verification.status == TEST_FAILED_AS_BEFORE)
            return "**passed**: on this commit, in a sandbox of their own, only tests fail that "
                   "failed before.";
        return "**passed**: the tests pass on this commit, in a sandbox of their own.";
    case VERDICT_FAILED:
        return "**failed**: tests fail on this commit that did not fail before.";
    case VERDICT_UNPROVEN:
        return "**unproven**: the tests fail on this commit, as they did before; whether the same "
               "ones fail is not known.";
    case VERDICT_NO_TESTS:
        return "**no tests**: none were found, so nothing is proven.";
    default:
        return "**none**: the tests did not run on this commit.";
    }
}

/* The agent's own text, cut where it is too long. */
static void append_words(struct buf *out, const char *text)
{
    static const char cut[] = "\n\n…";
    size_t len = strlen(text);
    size_t max = out->max - sizeof cut;
    AUTO_BUF struct buf head;
    buf_init(&head, max);
    buf_append_str(&head, "");
    size_t taken = str_append_utf8(&head, text, len);
    buf_append_str(out, head.data);
    if (taken < len)
        buf_append_str(out, cut);
}

/* Whether Markdown behind TEXT may not be seen: a tag or a comment, or code, is still open. The
 * evidence then comes first. */
static bool could_hide(const char *text)
{
    size_t fences = 0;
    for (const char *p = text; (p = strchr(p, '<')); p++)
        if (isalpha((unsigned char)p[1]) || (p[1] && strchr("!/?", p[1])))
            return true;
    for (const char *line = text; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        /* Also in a list or a quotation. */
        const char *at = line + strspn(line, " \t>*+-.0123456789");
        fences += !strncmp(at, "```", 3) || !strncmp(at, "~~~", 3);
    }
    return fences > 0 && (fences % 2 || strstr(text, "````") || strstr(text, "~~~"));
}

/* What the task wanted to reach and did not: a reader may know why it should have. */
static void append_refusals(struct buf *out, const struct refusals *refusals)
{
    if (!refusals->count)
        return;
    buf_append_str(out, "### Refused addresses\n\n| address | reason | times |\n|---|---|---|\n");
    for (size_t i = 0; i < refusals->count; i++) {
        const struct refusal *one = &refusals->of[i];
        const char *host = one->host, *reason = one->reason;
        bool bare = host && strchr(host, ':') && *host != '['; /* IPv6 */
        AUTO_FREE char *port = one->port ? str_format(":%lld", (long long)one->port) : str_dup("");
        AUTO_FREE char *address =
            host ? str_format(bare ? "[%s]%s" : "%s%s", host, port) : str_dup("others");
        buf_append_str(out, "| ");
        code(out, address, strlen(address));
        buf_append_str(out, " | ");
        code(out, reason ? reason : "?", reason ? strlen(reason) : 1);
        buf_appendf(out, " | %lld |\n", (long long)one->count);
    }
    if (refusals->total > (int64_t)refusals->count)
        buf_appendf(out, "\nand %lld more.\n",
                    (long long)refusals->total - (long long)refusals->count);
    buf_append_char(out, '\n');
}

char *pull_request_body(const struct task *task, enum verdict verdict,
                        const struct refusals *refusals)
{
    AUTO_BUF struct buf out, words;
    buf_init(&out, BODY_MAX);
    buf_init(&words, WORDS_MAX);
    buf_append_str(&words, "");
    append_words(&words, task->body ? task->body : "");
    bool last = could_hide(words.data);
    if (words.len && !last)
        buf_appendf(&out, "%s\n\n", words.data);
    buf_append_str(&out, "### Evidence\n\n| | command | outcome | passed | failed | skipped | time "
                         "|\n|---|---|---|---|---|---|---|\n");
    table_row(&out, "before (baseline)", &task->baseline);
    table_row(&out, "after (verification)", &task->verification);
    append_changes(&out, task);
    buf_appendf(&out, "\nVerdict: %s\n\n", verdict_sentence(task, verdict));
    append_reservation(&out, &task->changes);
    append_refusals(&out, refusals);
    const struct token_usage *usage = &task->usage;
    buf_appendf(&out,
                "Made by Codex (%s) with %s, effort %s: %lld tokens in (%lld of them cached), %lld "
                "out (%lld of them reasoning).\n",
                task->id, task->model, task->effort, (long long)usage->input_tokens,
                (long long)usage->cached_input_tokens, (long long)usage->output_tokens,
                (long long)usage->reasoning_output_tokens);
    if (last)
        buf_appendf(&out, "\n---\n\n%s\n", words.data);
    return buf_steal(&out, NULL);
}
