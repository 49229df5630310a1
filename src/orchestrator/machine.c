#include "orchestrator/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

enum {
    FINDINGS_MAX = 64 << 10, /* bytes */
    LOOK_MS = 25000,         /* then it is given up */
    LOOK_AGAIN_MS = 500,     /* between two looks that refused submissions ask for */
};

struct watcher {
    struct machine *machine;
    machine_looked_fn *looked;
    void *arg;
    struct loop_source *timer; /* NULL: waits for however long it takes */
    struct watcher *next;
};

struct machine {
    struct loop *loop;
    struct spawner *spawner;
    int fd; /* the pipe, while it is looked, else -1 */
    struct loop_source *source, *timer;
    struct buf bytes;
    json_t *findings;
    int64_t looked_ms;
    struct watcher *watchers;
};

/* TEXT as JSON: paths in it may be any bytes. */
static json_t *text_value(const char *text)
{
    AUTO_BUF struct buf clean;
    buf_init(&clean, 4096);
    if (!text)
        return json_null();
    str_append_utf8(&clean, text, strlen(text));
    return json_stringn(clean.data, clean.len);
}

json_t *finding_new(const char *check, const char *status, const char *remedy, const char *detail)
{
    return json_pack("{s:s,s:s,s:o,s:o}", "check", check, "status", status, "detail",
                     text_value(detail), "remedy", text_value(remedy));
}

struct machine *machine_new(struct loop *loop, struct spawner *spawner)
{
    struct machine *machine = calloc(1, sizeof *machine);
    if (!machine)
        abort();
    *machine =
        (struct machine){.loop = loop, .spawner = spawner, .fd = -1, .findings = json_array()};
    buf_init(&machine->bytes, FINDINGS_MAX);
    return machine;
}

static void stop_looking(struct machine *machine)
{
    loop_remove(machine->source);
    loop_remove(machine->timer);
    machine->source = machine->timer = NULL;
    cleanup_fd(&machine->fd);
    machine->fd = -1;
}

/* A line of the program's output, when it has the members that it should. */
static json_t *read_finding(const char *line, size_t len)
{
    json_t *finding = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_string(json_object_get(finding, "check")) &&
        json_is_string(json_object_get(finding, "status")) &&
        json_is_string(json_object_get(finding, "detail")))
        return finding;
    json_decref(finding);
    return NULL;
}

static void watcher_free(struct watcher *watcher)
{
    struct watcher **at = &watcher->machine->watchers;
    while (*at != watcher)
        at = &(*at)->next;
    *at = watcher->next;
    loop_remove(watcher->timer);
    free(watcher);
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    stop_looking(machine);
    while (machine->watchers)
        watcher_free(machine->watchers);
    buf_release(&machine->bytes);
    json_decref(machine->findings);
    free(machine);
}

static void tell(struct watcher *watcher)
{
    machine_looked_fn *looked = watcher->looked;
    void *arg = watcher->arg;
    watcher_free(watcher);
    if (looked)
        looked(arg);
}

static void on_waited(void *arg)
{
    struct watcher *watcher = arg;
    watcher->timer = NULL;
    tell(watcher);
}

static struct watcher *watch(struct machine *machine, machine_looked_fn *looked, void *arg)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        abort();
    *watcher = (struct watcher){
        .machine = machine, .looked = looked, .arg = arg, .next = machine->watchers};
    machine->watchers = watcher;
    return watcher;
}

static void finish(struct machine *machine)
{
    stop_looking(machine);
    json_decref(machine->findings);
    machine->findings = json_array();
    machine->looked_ms = clock_mono_ms();
    for (const char *line = machine->bytes.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *finding = read_finding(line, (size_t)(end - line));
        if (finding)
            json_array_append_new(machine->findings, finding);
    }
    if (json_array_size(machine->findings) == 0)
        json_array_append_new(
            machine->findings,
            finding_new("machine", "warn", "see the log of codexd", "it could not be looked at"));
    buf_clear(&machine->bytes);
    /* Whoever is told may ask for another look, which the rest then waits for. */
    while (machine->watchers && !machine->timer)
        tell(machine->watchers);
}

static void on_timeout(void *arg)
{
    struct machine *machine = arg;
    machine->timer = NULL;
    finish(machine);
}

static void on_readable(void *arg, uint32_t events)
{
    struct machine *machine = arg;
    char chunk[4096];
    ssize_t n;
    while ((n = read(machine->fd, chunk, sizeof chunk)) > 0)
        if (buf_append(&machine->bytes, chunk, (size_t)n) < 0)
            break;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    finish(machine);
}

static int start(struct machine *machine, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    AUTO_FD int theirs = ends[1];
    machine->fd = ends[0];
    io_set_nonblocking(machine->fd, true);
    machine->source = loop_add_fd(machine->loop, machine->fd, EPOLLIN, on_readable, machine, err);
    if (!machine->source)
        return err->code;
    struct spawn_message message = {.type = SPAWN_CHECK};
    return spawner_send(machine->spawner, &message, &theirs, 1, err);
}

void machine_look(struct machine *machine, machine_looked_fn *looked, void *arg)
{
    watch(machine, looked, arg);
    if (machine->timer)
        return;
    struct err ignored;
    /* What cannot be started is told like one that finds nothing. */
    bool started = start(machine, &ignored) == 0;
    machine->timer = loop_add_timer(machine->loop, started ? LOOK_MS : 0, on_timeout, machine);
}

bool machine_await(struct machine *machine, int64_t wait_ms, machine_looked_fn *looked, void *arg)
{
    if (!machine->timer)
        return false;
    struct watcher *watcher = watch(machine, looked, arg);
    watcher->timer = loop_add_timer(machine->loop, wait_ms, on_waited, watcher);
    return true;
}

void machine_forget(struct machine *machine, const void *arg)
{
    for (struct watcher *watcher = machine->watchers, *next; watcher; watcher = next) {
        next = watcher->next;
        if (watcher->arg == arg)
            watcher_free(watcher);
    }
}

const json_t *machine_findings(const struct machine *machine)
{
    return machine->findings;
}

int machine_ready(struct machine *machine, struct err *err)
{
    json_t *finding;
    size_t i;
    json_array_foreach(machine->findings, i, finding) {
        if (strcmp(json_string_value(json_object_get(finding, "status")), "fail"))
            continue;
        const char *remedy = json_string_value(json_object_get(finding, "remedy"));
        err_set(err, ERR_SANDBOX, "%s: %s%s%s",
                json_string_value(json_object_get(finding, "check")),
                json_string_value(json_object_get(finding, "detail")), remedy ? ": " : "",
                remedy ? remedy : "");
        if (!machine->timer && machine->looked_ms + LOOK_AGAIN_MS <= clock_mono_ms())
            machine_look(machine, NULL, NULL);
        return ERR_SANDBOX;
    }
    return 0;
}
