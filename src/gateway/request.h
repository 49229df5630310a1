/*
 * What the gateway reads out of a request while its body passes: that it asks for the one model
 * that it may ask for, whether it wants a stream (and, where a wire tells the usage of a stream
 * only when asked, that it asks for it), and which recorded turn comes next.
 *
 * The check must hold against whoever wrote the request. So nothing is accepted that another parser
 * could read differently: the scan is strict, the names of the outermost members are plain ASCII
 * without escapes, `model` occurs once and in no other spelling (some parsers ignore case), and its
 * value is written without escapes. The verdict falls before the body's last byte is let through.
 *
 * Images in it are counted, for the estimate of what it costs: data URLs of images as `url` or
 * `image_url`, and `data` behind a `media_type` of an image. Text anywhere else is text.
 *
 * `background`, which has an answer made that nobody waits for, and so nobody meters, is refused.
 */
#ifndef CODEX_GATEWAY_REQUEST_H
#define CODEX_GATEWAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/json_scan.h"

enum { REQUEST_TURN_MAX = 1000000 };

struct request_check {
    const char *model; /* the only one allowed; not owned */
    bool asks_usage;   /* a stream must ask for its usage: stream_options.include_usage */
    bool wants_stream;
    int highest_turn;     /* of the replay's items in `input`; 0: none */
    uint32_t images;      /* so far */
    uint64_t image_bytes; /* of the strings that they are */

    /* private */
    struct json_scan scan;
    int member; /* the outermost member that is being read */
    bool model_seen, stream_seen, options_seen, usage_seen;
    bool names_item;  /* the value that comes next is an item's id or call_id */
    bool names_usage; /* it is that of include_usage */
    int image_key;    /* which part of an image the value that comes next may be */
    bool image_type;  /* in this object, a media_type of an image has come */
    struct err *err;
};

void request_check_init(struct request_check *check, const char *model, bool asks_usage);

/* The next LEN bytes of the body. Returns 0; ERR_PROTOCOL: it cannot be read or metered;
 * ERR_REFUSED: another model. After a negative return none of these bytes may be passed on. */
int request_check_feed(struct request_check *check, const char *bytes, size_t len, struct err *err);

/* The body has ended. Codes as above. */
int request_check_end(struct request_check *check, struct err *err);

#endif
