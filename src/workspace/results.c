#include "workspace/results.h"

#include <stdlib.h>
#include <string.h>

#include "workspace/junit.h"
#include "workspace/reader.h"

static const struct reader *const readers[] = {
    &reader_meson, &reader_ctest, &reader_pytest, &reader_unittest, &reader_tap,   &reader_prove,
    &reader_node,  &reader_mocha, &reader_jest,   &reader_vitest,   &reader_cargo, &reader_go,
};

enum { READERS = sizeof readers / sizeof readers[0] };

struct results {
    void *states[READERS];
    struct reading readings[READERS];
    char line[RESULTS_LINE_MAX + 1];
    size_t len;
};

struct results *results_new(void)
{
    struct results *results = calloc(1, sizeof *results);
    if (!results)
        abort();
    for (size_t i = 0; i < READERS; i++) {
        results->states[i] = calloc(1, readers[i]->size);
        if (!results->states[i])
            abort();
        test_list_init(&results->readings[i].list);
    }
    return results;
}

void results_free(struct results *results)
{
    if (!results)
        return;
    for (size_t i = 0; i < READERS; i++) {
        free(results->states[i]);
        test_list_release(&results->readings[i].list);
    }
    free(results);
}

/* Take out what colours it (ECMA-48 control sequences), NULs, and white space at its end. */
static void strip(struct results *results)
{
    char *out = results->line;
    const char *in = results->line, *end = in + results->len;
    while (in < end) {
        if (in[0] == '\x1b' && in + 1 < end && in[1] == '[') {
            for (in += 2; in < end && ((unsigned char)*in < 0x40 || (unsigned char)*in > 0x7e);)
                in++;
            in += in < end;
        } else if (*in) {
            *out++ = *in++;
        } else {
            in++;
        }
    }
    while (out > results->line && strchr(" \t\r", out[-1]))
        out--;
    *out = '\0';
}

static void hand_out(struct results *results)
{
    strip(results);
    results->len = 0;
    for (size_t i = 0; i < READERS; i++)
        if (readers[i]->owns && readers[i]->owns(results->states[i])) {
            readers[i]->line(results->states[i], &results->readings[i], results->line);
            return;
        }
    for (size_t i = 0; i < READERS; i++)
        readers[i]->line(results->states[i], &results->readings[i], results->line);
}

void results_feed(struct results *results, const char *bytes, size_t len)
{
    while (len) {
        const char *newline = memchr(bytes, '\n', len);
        size_t n = newline ? (size_t)(newline - bytes) : len;
        size_t room = RESULTS_LINE_MAX - results->len, take = n < room ? n : room;
        memcpy(results->line + results->len, bytes, take);
        results->len += take;
        if (newline)
            hand_out(results);
        bytes += n + (newline != NULL);
        len -= n + (newline != NULL);
    }
}

/* What one reader found is part of the whole. */
static void take_over(const struct reading *reading, struct test_list *list)
{
    for (size_t i = 0; i < reading->list.count; i++)
        test_list_add(list, reading->list.cases[i].status, reading->list.cases[i].name,
                      strlen(reading->list.cases[i].name));
    list->cut |= reading->list.cut;
    list->full |= reading->list.full;
}

bool results_end(struct results *results, const char *dir, const struct timespec *since,
                 struct test_list *list)
{
    bool seen = false, broken = false;
    test_list_init(list);
    if (results->len)
        hand_out(results);
    for (size_t i = 0; i < READERS; i++) {
        struct reading *reading = &results->readings[i];
        readers[i]->end(results->states[i], reading);
        if (!reading->seen)
            continue;
        seen = true;
        broken |= reading->broken;
        take_over(reading, list);
    }
    if (!seen) {
        struct reading files = {0};
        test_list_init(&files.list);
        junit_read_tree(dir, since, &files);
        seen = files.seen;
        broken = files.broken;
        take_over(&files, list);
        test_list_release(&files.list);
    }
    if (!seen || broken) {
        test_list_release(list);
        return false;
    }
    test_list_sort(list);
    return true;
}
