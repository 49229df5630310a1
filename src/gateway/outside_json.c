#include "gateway/outside_json.h"

#include <stdint.h>

#include "gateway/json_scan.h"

/* Stops the scan where the document leaves the bounds. */
static int count_token(void *arg, const struct json_scan *scan, enum json_token token)
{
    unsigned *values = arg;
    if (*values == 0 && token != JSON_TOKEN_OBJECT)
        return ERR_PROTOCOL;
    return ++*values > OUTSIDE_VALUES_MAX || scan->depth > OUTSIDE_DEPTH_MAX ? ERR_LIMIT : 0;
}

json_t *outside_object(const char *bytes, size_t len)
{
    struct json_scan scan;
    unsigned values = 0;
    json_scan_init(&scan);
    if (json_scan_feed(&scan, bytes, len, count_token, &values, NULL) < 0 ||
        json_scan_end(&scan, count_token, &values, NULL) < 0)
        return NULL;
    /* Without JSON_ALLOW_NUL a \u0000 is an error. */
    return json_loadb(bytes, len, JSON_REJECT_DUPLICATES, NULL);
}

static int append(const char *bytes, size_t len, void *arg)
{
    return buf_append(arg, bytes, len);
}

void outside_append(struct buf *out, const json_t *value)
{
    json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY);
}
