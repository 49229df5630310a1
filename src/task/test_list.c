#include "task/test_list.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fnv.h"
#include "base/str.h"

enum { HEADER_MAX = 64, NAME_KEPT = TEST_NAME_MAX - 20 };

static const char magic[] = "codex-tests 1 ";

static const char *const statuses[TEST_CASE_COUNT] = {
    [TEST_CASE_PASSED] = "passed",
    [TEST_CASE_SKIPPED] = "skipped",
    [TEST_CASE_FAILED] = "failed",
    [TEST_CASE_FLAKY] = "flaky",
};

const char *test_status_name(enum test_status status)
{
    return statuses[status];
}

void test_list_init(struct test_list *list)
{
    *list = (struct test_list){.bytes = HEADER_MAX};
}

void test_list_release(struct test_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->cases[i].name);
    free(list->cases);
    test_list_init(list);
}

/* NAME is owned from here on. */
static void put(struct test_list *list, enum test_status status, char *name)
{
    size_t bytes = strlen(statuses[status]) + strlen(name) + 2;
    if (list->count == TEST_LIST_MAX || list->bytes + bytes > TEST_LIST_BYTES_MAX) {
        list->full = true;
        free(name);
        return;
    }
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->cases = realloc(list->cases, list->cap * sizeof *list->cases);
        if (!list->cases)
            abort();
    }
    list->cases[list->count++] = (struct test_case){name, status};
    list->bytes += bytes;
}

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

void test_list_add(struct test_list *list, enum test_status status, const char *name, size_t len)
{
    while (len && strchr(" \t\r\n", *name))
        name++, len--;
    while (len && strchr(" \t\r\n", name[len - 1]))
        len--;
    if (!len)
        return;
    AUTO_BUF struct buf clean;
    buf_init(&clean, TEST_NAME_MAX);
    if (str_append_utf8(&clean, name, len) < len) {
        size_t keep = NAME_KEPT; /* not inside of a character */
        while ((clean.data[keep] & 0xc0) == 0x80)
            keep--;
        clean.len = keep;
        buf_appendf(&clean, "…%016llx", (unsigned long long)fnv_add(fnv_start, name, len));
    }
    for (char *p = clean.data; *p; p++)
        if (is_control((unsigned char)*p))
            *p = ' ';
    put(list, status, buf_steal(&clean, NULL));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct test_case *)a)->name, ((const struct test_case *)b)->name);
}

static void count(struct test_list *list)
{
    memset(list->totals, 0, sizeof list->totals);
    for (size_t i = 0; i < list->count; i++)
        list->totals[list->cases[i].status]++;
}

void test_list_sort(struct test_list *list)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->cases, list->count, sizeof *list->cases, by_name);
    for (size_t i = 0; i < list->count; i++) {
        struct test_case *last = kept ? &list->cases[kept - 1] : NULL;
        if (!last || strcmp(last->name, list->cases[i].name) != 0) {
            list->cases[kept++] = list->cases[i];
            continue;
        }
        if (list->cases[i].status > last->status)
            last->status = list->cases[i].status;
        free(list->cases[i].name);
    }
    list->count = kept;
    count(list);
}

const struct test_case *test_list_find(const struct test_list *list, const char *name)
{
    const struct test_case key = {.name = (char *)name};
    return list->count ? bsearch(&key, list->cases, list->count, sizeof key, by_name) : NULL;
}

static bool has(const struct test_list *list, const char *name, enum test_status status)
{
    const struct test_case *found = test_list_find(list, name);
    return found && found->status == status;
}

void test_list_merge_again(struct test_list *list, const struct test_list *again,
                           const struct test_list *before)
{
    struct test_list merged;
    test_list_init(&merged);
    merged.cut = again->cut;
    merged.full = again->full;
    for (size_t i = 0; i < again->count; i++) {
        const struct test_case *second = &again->cases[i];
        bool flaky = second->status == TEST_CASE_PASSED &&
                     has(list, second->name, TEST_CASE_FAILED) &&
                     has(before, second->name, TEST_CASE_PASSED);
        put(&merged, flaky ? TEST_CASE_FLAKY : second->status, str_dup(second->name));
    }
    count(&merged);
    test_list_release(list);
    *list = merged;
}

void test_list_write(const struct test_list *list, struct buf *out)
{
    buf_appendf(out, "%s%s\n", magic, list->cut ? "cut" : "whole");
    for (size_t i = 0; i < list->count; i++)
        buf_appendf(out, "%s %s\n", statuses[list->cases[i].status], list->cases[i].name);
    buf_appendf(out, "end %zu\n", list->count);
}

/* The line at *AT, which moves behind it; false when there is none with an end. */
static bool next_line(const char **at, const char *end, const char **line, size_t *len)
{
    const char *newline = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    if (!newline)
        return false;
    *line = *at;
    *len = (size_t)(newline - *at);
    *at = newline + 1;
    return true;
}

static bool line_is(const char *line, size_t len, const char *text)
{
    return strlen(text) == len && !memcmp(line, text, len);
}

static bool name_is_fit(const char *name, size_t len)
{
    if (len < 1 || len > TEST_NAME_MAX)
        return false;
    for (size_t i = 0; i < len;) {
        size_t n = str_utf8_length(name + i, len - i);
        if (n == 0 || is_control((unsigned char)name[i]))
            return false;
        i += n;
    }
    return true;
}

static int parse_case(const char *line, size_t len, struct test_list *list, struct err *err)
{
    enum test_status status = 0;
    size_t word = 0;
    for (; status < TEST_CASE_COUNT; status++) {
        word = strlen(statuses[status]);
        if (len > word + 1 && !memcmp(line, statuses[status], word) && line[word] == ' ')
            break;
    }
    if (status == TEST_CASE_COUNT || !name_is_fit(line + word + 1, len - word - 1))
        return err_set(err, ERR_PROTOCOL, "line %zu of the list of tests is none", list->count + 2);
    put(list, status, str_format("%.*s", (int)(len - word - 1), line + word + 1));
    if (list->full)
        return err_set(err, ERR_PROTOCOL, "the list of tests is too long");
    size_t n = list->count;
    if (n > 1 && by_name(&list->cases[n - 2], &list->cases[n - 1]) >= 0)
        return err_set(err, ERR_PROTOCOL, "the list of tests is not sorted");
    return 0;
}

static int parse(const char *bytes, size_t len, struct test_list *list, struct err *err)
{
    const char *at = bytes, *end = bytes + len, *line;
    size_t line_len;
    AUTO_FREE char *whole = str_format("%swhole", magic);
    AUTO_FREE char *cut = str_format("%scut", magic);
    if (!next_line(&at, end, &line, &line_len) ||
        !(line_is(line, line_len, whole) || line_is(line, line_len, cut)))
        return err_set(err, ERR_PROTOCOL, "it is no list of tests");
    list->cut = line_is(line, line_len, cut);
    while (next_line(&at, end, &line, &line_len)) {
        AUTO_FREE char *last = str_format("end %zu", list->count);
        if (line_is(line, line_len, last))
            return at == end ? 0 : err_set(err, ERR_PROTOCOL, "the list of tests goes on");
        int status = parse_case(line, line_len, list, err);
        if (status < 0)
            return status;
    }
    return err_set(err, ERR_PROTOCOL, "the list of tests has no end");
}

int test_list_parse(const char *bytes, size_t len, struct test_list *list, struct err *err)
{
    test_list_init(list);
    int status = parse(bytes, len, list, err);
    if (status < 0)
        test_list_release(list);
    else
        count(list);
    return status;
}
