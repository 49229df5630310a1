/*
 * What test runners print, and the XML files that they leave: any bytes become a list that its own
 * parser takes, or none. And a list from a sandbox: what is accepted is written again as it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "workspace/junit.h"
#include "workspace/results.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_written(const struct test_list *list)
{
    struct buf text, again;
    struct test_list parsed;
    struct err err;
    buf_init(&text, TEST_LIST_BYTES_MAX);
    buf_init(&again, TEST_LIST_BYTES_MAX);
    test_list_write(list, &text);
    require(test_list_parse(text.data, text.len, &parsed, &err) == 0);
    require(parsed.count == list->count && parsed.cut == list->cut);
    test_list_write(&parsed, &again);
    require(text.len == again.len && !memcmp(text.data, again.data, text.len));
    test_list_release(&parsed);
    buf_release(&text);
    buf_release(&again);
}

static void read_output(const char *bytes, size_t size, size_t step)
{
    static const struct timespec ever = {0, 0};
    struct results *results = results_new();
    struct test_list list;
    for (size_t at = 0; at < size; at += step)
        results_feed(results, bytes + at, size - at < step ? size - at : step);
    bool known = results_end(results, "/nonexistent", &ever, &list);
    require(known || list.count == 0);
    if (!list.full)
        check_written(&list);
    test_list_release(&list);
    results_free(results);
}

static void read_xml(const char *bytes, size_t size, size_t step)
{
    struct reading reading = {0};
    test_list_init(&reading.list);
    struct junit *junit = junit_new(&reading);
    for (size_t at = 0; at < size; at += step)
        if (!junit_feed(junit, bytes + at, size - at < step ? size - at : step))
            break;
    junit_end(junit);
    junit_free(junit);
    test_list_sort(&reading.list);
    check_written(&reading.list);
    test_list_release(&reading.list);
}

static void read_list(const char *bytes, size_t size)
{
    struct test_list list;
    struct test_changes changes;
    struct buf text;
    struct err err;
    if (test_list_parse(bytes, size, &list, &err) == 0) {
        buf_init(&text, TEST_LIST_BYTES_MAX);
        test_list_write(&list, &text);
        require(text.len == size && !memcmp(text.data, bytes, size));
        buf_release(&text);
        test_changes_find(&list, &list, &changes);
        require(changes.of[TEST_ADDED].total + changes.of[TEST_REMOVED].total == 0);
        test_changes_release(&changes);
    }
    require(list.count <= TEST_LIST_MAX);
    test_list_release(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    size_t step = data[1] ? data[1] : 4096;
    if (data[0] == 'x')
        read_xml(bytes, size - 2, step);
    else if (data[0] == 'l')
        read_list(bytes, size - 2);
    else
        read_output(bytes, size - 2, step);
    return 0;
}
