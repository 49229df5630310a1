/*
 * A wire's event stream, from bytes to items. The first byte says in what pieces the rest comes;
 * however it does, the same comes out, and a whole answer is one that can go on: what goes back is
 * JSON again, and reads as the same items.
 *
 * For a target that defines WIRE, a provider.
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
    struct answer *answer = WIRE.answer_new();
    for (size_t at = 0; at < len; at += step) {
        size_t n = step < len - at ? step : len - at;
        char *piece = malloc(n); /* of its own: a read past it is seen */
        memcpy(piece, bytes + at, n);
        WIRE.answer_feed(answer, piece, n);
        free(piece);
    }
    WIRE.answer_end(answer);
    check(answer->state != ANSWER_OPEN);
    return answer;
}

/* What is sent to the server about it is JSON, whatever the model wrote. */
static void check_output(const struct item *call)
{
    struct buf out;
    buf_init(&out, 64 << 20);
    check(WIRE.call_output(&out, call, call->arguments, call->arguments_len) == 0);
    json_t *json = json_loadb(out.data, out.len, 0, NULL);
    check(json_is_string(json_object_get(json, WIRE.output_id)));
    json_decref(json);
    buf_release(&out);
}

static bool is_object(const char *text, size_t len)
{
    json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
    bool is = json_is_object(json);
    json_decref(json);
    return is;
}

static void check_item(const struct item *item, const struct item *again)
{
    check(again->kind == item->kind && again->custom == item->custom);
    check(!item->text == !again->text && (!item->text || !strcmp(item->text, again->text)));
    if (item->kind != ITEM_CALL)
        return;
    check(*item->call_id && *item->name && !strcmp(again->call_id, item->call_id));
    check(!strcmp(again->name, item->name));
    /* What is no object goes back within one. */
    bool same = again->arguments_len == item->arguments_len &&
                !memcmp(again->arguments, item->arguments, item->arguments_len);
    bool written = !item->custom && is_object(item->arguments, item->arguments_len);
    check(same || !written || strpbrk(item->arguments, "\r\n"));
    check(item->custom || is_object(again->arguments, again->arguments_len));
    check_output(item);
}

/* As the journal gives it back. */
static void check_response(const struct response *response)
{
    struct response again = {0};
    for (size_t i = 0; i < response->count; i++) {
        const struct item *item = &response->items[i];
        if (!item->json)
            continue;
        check(!memchr(item->json, '\n', item->json_len));
        json_t *json =
            json_loadb(item->json, item->json_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        struct json_span raw = {item->json, item->json_len};
        check(json != NULL && WIRE.read_item(&again, json, raw, NULL) == 0);
        json_decref(json);
    }
    check(again.count == response->count);
    for (size_t i = 0; i < again.count; i++)
        check_item(&response->items[i], &again.items[i]);
    response_release(&again);
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
        check_response(&answer->response);
        check_response(&whole->response);
    } else if (answer->state == ANSWER_FAILED) {
        check(answer->failure.kind < FAILURE_COUNT && answer->failure.wait_ms >= -1);
        check(memchr(answer->failure.message, 0, sizeof answer->failure.message) != NULL);
        check(!strcmp(answer->failure.message, whole->failure.message));
    }
    WIRE.answer_free(answer);
    WIRE.answer_free(whole);
    return 0;
}
