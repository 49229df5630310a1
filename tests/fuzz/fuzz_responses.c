/*
 * The Responses API's event stream, from bytes to items. The first byte says in what pieces the
 * rest comes; however it does, the same comes out, and a whole answer is one that can go on: every
 * item is JSON again, and reads as the same item.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/provider.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct answer *read_in_pieces(const char *bytes, size_t len, size_t step)
{
    struct answer *answer = provider_responses.answer_new();
    for (size_t at = 0; at < len; at += step) {
        size_t n = step < len - at ? step : len - at;
        char *piece = malloc(n); /* of its own: a read past it is seen */
        memcpy(piece, bytes + at, n);
        provider_responses.answer_feed(answer, piece, n);
        free(piece);
    }
    provider_responses.answer_end(answer);
    check(answer->state != ANSWER_OPEN);
    return answer;
}

/* What is sent to the server about it is JSON, whatever the model wrote. */
static void check_output(const struct item *call)
{
    struct buf out;
    buf_init(&out, 64 << 20);
    check(provider_responses.call_output(&out, call, call->arguments, call->arguments_len) == 0);
    json_t *json = json_loadb(out.data, out.len, 0, NULL);
    check(json != NULL);
    json_decref(json);
    buf_release(&out);
}

static void check_item(const struct item *item)
{
    struct item again;
    json_t *json =
        json_loadb(item->json, item->json_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    check(json != NULL && !memchr(item->json, '\n', item->json_len));
    struct json_span raw = {item->json, item->json_len};
    check(provider_responses.read_item(&again, json, raw, NULL) == 0);
    check(again.kind == item->kind && again.custom == item->custom);
    if (item->kind == ITEM_CALL) {
        check(*item->call_id && *item->name && !strcmp(again.call_id, item->call_id));
        check(again.arguments_len == item->arguments_len &&
              !memcmp(again.arguments, item->arguments, item->arguments_len));
        check_output(item);
    }
    item_release(&again);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    struct answer *answer = read_in_pieces(bytes, size - 1, (size_t)data[0] + 1);
    struct answer *whole = read_in_pieces(bytes, size - 1, size);
    check(answer->state == whole->state && answer->response.count == whole->response.count);
    if (answer->state == ANSWER_WHOLE) {
        for (size_t i = 0; i < answer->response.count; i++) {
            check_item(&answer->response.items[i]);
            check(!strcmp(answer->response.items[i].json, whole->response.items[i].json));
        }
    } else if (answer->state == ANSWER_FAILED) {
        check(answer->failure.kind < FAILURE_COUNT && answer->failure.wait_ms >= -1);
        check(memchr(answer->failure.message, 0, sizeof answer->failure.message) != NULL);
        check(!strcmp(answer->failure.message, whole->failure.message));
    }
    provider_responses.answer_free(answer);
    provider_responses.answer_free(whole);
    return 0;
}
