#include "cli/follow.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/live.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/stream.h"
#include "cli/terminal.h"

enum {
    DRAW_EVERY_MS = 50, /* at most */
    TICK_MS = 200,      /* the elapsed time moves on */
    REFRESH_MS = 2000,  /* why it waits and what it runs, asked for on a terminal */
    EXIT_DETACHED = 130,
    LINES_FULL = 1 << 20, /* bytes rendered that are not kept back any longer */
    BLOCK_MAX = 1 << 20,
};

struct follow {
    struct api *api;
    const struct follow_options *options;
    const char *id;
    bool live_view; /* a terminal that can be drawn on */
    struct render render;
    struct live live;
    struct screen screen;
    struct buf lines; /* rendered, not yet written */
    struct buf block; /* as it is on the screen */
    int64_t drawn_ms, refreshed_ms;
    bool redraw;
    bool ended;
    int status;
    struct err *err;
};

/* Draw the block, with what has come above it: at most every DRAW_EVERY_MS unless NOW. */
static int draw(struct follow *follow, bool now)
{
    int64_t mono_ms = clock_mono_ms();
    if (!now && mono_ms - follow->drawn_ms < DRAW_EVERY_MS)
        return 0;
    AUTO_BUF struct buf block;
    buf_init(&block, BLOCK_MAX);
    size_t columns = terminal_columns(), rows = terminal_rows();
    live_append(&follow->live, clock_real_ms(), columns, rows > 4 ? rows - 3 : 1,
                follow->render.color, &block);
    if (!follow->lines.len && !follow->redraw && !strcmp(block.data, follow->block.data))
        return 0;
    int status = screen_update(&follow->screen, &follow->lines, &block, columns, follow->err);
    buf_clear(&follow->block);
    buf_append(&follow->block, block.data, block.len);
    buf_clear(&follow->lines);
    follow->drawn_ms = mono_ms;
    follow->redraw = false;
    return status;
}

static int write_plain(struct follow *follow)
{
    int status = io_write_all(STDOUT_FILENO, follow->lines.data, follow->lines.len, follow->err);
    buf_clear(&follow->lines);
    return status;
}

/* Write what has come. NOW: a terminal, too, gets it without delay. */
static void show(struct follow *follow, bool now)
{
    int status = 0;
    if (follow->options->json)
        fflush(stdout);
    else if (follow->live_view)
        status = draw(follow, now);
    else
        status = write_plain(follow);
    if (status < 0) {
        follow->ended = true;
        follow->status = status;
    }
}

static void on_event(void *arg, const json_t *event)
{
    struct follow *follow = arg;
    if (follow->options->json) {
        const char *phase = field_text_or(event, "phase", "");
        if (!follow->options->phase || !strcmp(phase, follow->options->phase))
            json_print(event);
        return;
    }
    live_event(&follow->live, event);
    render_event(&follow->render, event, &follow->lines);
    if (follow->lines.len > LINES_FULL)
        show(follow, true);
}

/* A line of ours: on a live terminal above the block, else on standard error. */
static void say(struct follow *follow, const char *text)
{
    if (!follow->live_view) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    render_flush(&follow->render, &follow->lines);
    style_append(&follow->lines, follow->render.color, STYLE_YELLOW, text);
    buf_append_char(&follow->lines, '\n');
    show(follow, true);
}

static void on_away(void *arg, const char *why)
{
    AUTO_FREE char *text =
        why ? str_format("codexd is away (%s), waiting for it; the task goes on", why)
            : str_dup("codexd is back");
    say(arg, text);
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct follow *follow = arg;
    follow->ended = true;
    follow->status = status;
    if (status < 0)
        *follow->err = *err;
}

static void on_interrupt(void *arg, int signal)
{
    struct follow *follow = arg;
    follow->ended = true;
    follow->status = EXIT_DETACHED;
}

static void on_resize(void *arg, int signal)
{
    struct follow *follow = arg;
    follow->redraw = true;
}

/* Back from Ctrl-Z: the shell has written below the block. */
static void on_continue(void *arg, int signal)
{
    struct follow *follow = arg;
    screen_forget(&follow->screen);
    follow->redraw = true;
}

static int watch_signals(struct follow *follow, struct err *err)
{
    struct loop *loop = follow->api->loop;
    int status = loop_add_signal(loop, SIGINT, on_interrupt, follow, err);
    if (status == 0 && follow->live_view)
        status = loop_add_signal(loop, SIGWINCH, on_resize, follow, err);
    if (status == 0 && follow->live_view)
        status = loop_add_signal(loop, SIGCONT, on_continue, follow, err);
    return status;
}

/* A server that does not answer here will be noticed by the stream. */
static void refresh(struct follow *follow)
{
    int64_t now = clock_mono_ms();
    if (!follow->live_view || now - follow->refreshed_ms < REFRESH_MS)
        return;
    follow->refreshed_ms = now;
    struct err ignored;
    json_t *task;
    if (api_task(follow->api, follow->id, &task, &ignored) < 0)
        return;
    live_task(&follow->live, task);
    json_decref(task);
}

/* Until the stream has ended or Ctrl-C came. */
static void run(struct follow *follow)
{
    while (!follow->ended) {
        struct err err;
        int64_t wait_ms = follow->live_view ? TICK_MS : -1;
        if (follow->lines.len)
            wait_ms = DRAW_EVERY_MS;
        int status = loop_run_once(follow->api->loop, wait_ms, &err);
        if (status < 0)
            on_end(follow, status, &err);
        show(follow, false);
        if (!follow->ended)
            refresh(follow);
    }
    render_flush(&follow->render, &follow->lines);
    follow->live.ended = true; /* the block goes */
    follow->redraw = true;
    show(follow, true);
}

static int detached(const struct follow *follow)
{
    fprintf(stderr,
            "detached: %s goes on; 'codex logs -f %s' comes back, 'codex cancel %s' ends it\n",
            follow->id, follow->id, follow->id);
    return EXIT_DETACHED;
}

/* The task has ended: what came of it. */
static int tell_outcome(struct follow *follow)
{
    json_t *task;
    int status = api_task(follow->api, follow->id, &task, follow->err);
    if (status < 0)
        return status;
    if (follow->options->json) {
        if (follow->options->json_task)
            json_print(task);
    } else {
        AUTO_BUF struct buf report;
        buf_init(&report, RENDER_EVENT_MAX);
        buf_append_char(&report, '\n');
        report_append(&report, task, clock_real_ms(), terminal_columns(), follow->render.color);
        fputs(report.data, stdout);
    }
    status = task_exit_status(task);
    json_decref(task);
    return status;
}

/* Whoever read what we print is gone: end now, as the next write would make us, and not when the
 * task says something more. */
static void on_reader_gone(void *arg, uint32_t events)
{
    if (!(events & EPOLLERR))
        return;
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
}

static void watch_reader(struct follow *follow)
{
    struct err ignored; /* a file has nobody at its other end, and cannot be watched */
    loop_add_fd(follow->api->loop, STDOUT_FILENO, 0, on_reader_gone, follow, &ignored);
}

int follow_task(struct api *api, const char *id, const struct follow_options *options,
                struct err *err)
{
    static const struct stream_handlers handlers = {on_event, on_away, on_end};
    struct follow follow = {
        .api = api,
        .options = options,
        .id = id,
        .live_view = terminal_is_live() && !options->json,
        .render = {.color = terminal_has_color(), .brief = options->brief, .phase = options->phase},
        .screen = {.fd = STDOUT_FILENO},
        .refreshed_ms = -REFRESH_MS,
        .err = err,
    };
    render_init(&follow.render);
    live_init(&follow.live);
    buf_init(&follow.lines, RENDER_EVENT_MAX * 2);
    buf_init(&follow.block, BLOCK_MAX);
    int status = watch_signals(&follow, err);
    watch_reader(&follow);
    if (status == 0) {
        fflush(stdout);
        struct stream *stream = stream_start(api, id, &handlers, &follow);
        run(&follow);
        stream_free(stream);
        status = follow.status;
    }
    if (status == EXIT_DETACHED)
        status = detached(&follow);
    else if (status == 0)
        status = tell_outcome(&follow);
    buf_release(&follow.block);
    buf_release(&follow.lines);
    live_release(&follow.live);
    render_release(&follow.render);
    return status;
}
