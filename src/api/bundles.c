/* POST /v1/bundles: commits for a task that is submitted next. */
#include "api/request.h"

#include <string.h>
#include <strings.h>

void handle_bundle(struct request *request)
{
    const char *type = request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    char id[UPLOAD_ID_SIZE];
    struct err err = {0};
    if (type && strcasecmp(type, "application/octet-stream") != 0) {
        answer_problem(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "bad_request",
                       "the body has to be application/octet-stream");
        return;
    }
    if (!request->body.len) {
        answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", "the body is empty");
        return;
    }
    if (orchestrator_upload(request->api->options.orchestrator, request->uid, request->body.data,
                            request->body.len, id, &err) < 0) {
        answer_error(request, &err);
        return;
    }
    struct buf out;
    buf_init(&out, 256);
    buf_appendf(&out, "{\"bundle\":\"%s\",\"size_bytes\":%zu}", id, request->body.len);
    answer(request, MHD_HTTP_CREATED, "application/json", &out);
}
