/*
 * What a sandbox may put into events, as `codex` shows it: nothing but text and the colours of ours
 * may come out. The input is taken as an event's JSON when it is some, and as a program's output.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/live.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Abort at a control character other than the ends of lines and tabs. */
static void check(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f || c1)
            abort();
    }
}

static void as_event(const json_t *event)
{
    static const bool brief[] = {false, true};
    struct live live;
    AUTO_BUF struct buf out;
    buf_init(&out, RENDER_EVENT_MAX);
    for (size_t i = 0; i < 2; i++) {
        struct render render = {.brief = brief[i]};
        render_init(&render);
        render_event(&render, event, &out);
        render_event(&render, event, &out);
        render_flush(&render, &out);
        render_release(&render);
    }
    live_init(&live);
    live_event(&live, event);
    live_task(&live, event);
    live_append(&live, 0, 40, 10, false, &out);
    live_release(&live);
    report_append(&out, event, 0, 80, false);
    check(out.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        text_init();
    ready = true;
    json_t *event = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (event)
        as_event(event);
    json_decref(event);
    AUTO_BUF struct buf clean, cut;
    buf_init(&clean, size * 12 + 1);
    text_append_clean(&clean, (const char *)data, size);
    check(clean.data);
    buf_init(&cut, size * 12 + 16);
    size_t columns = size ? data[0] % 40 : 0;
    text_append_cut(&cut, clean.data, columns);
    if (text_width(cut.data, cut.len) > columns)
        abort();
    return 0;
}
