/* A line of an event file, much of which comes from a sandbox: taken as an event or refused. What
 * is taken can be put into an event of codexd's own and is one JSON object then. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run_event event;
    struct err err = {0};
    if (run_event_parse((const char *)data, size, &event, &err) < 0)
        return 0;
    struct buf whole;
    buf_init(&whole, 16 << 20);
    buf_append_str(&whole, "{\"seq\":1");
    buf_append(&whole, event.members.data, event.members.len);
    buf_append_char(&whole, '}');
    json_t *again =
        json_loadb(whole.data, whole.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(again) || json_integer_value(json_object_get(again, "seq")) != 1)
        abort();
    json_decref(again);
    struct test_result result;
    run_event_test_result(&event, &result);
    test_result_release(&result);
    run_event_release(&event);
    buf_release(&whole);
    return 0;
}
