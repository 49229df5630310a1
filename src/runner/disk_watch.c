#include "runner/disk_watch.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "runner/measure.h"

/* A look at a hard limit is two system calls. A measurement reads every directory: it gets a
 * twentieth of the time. */
enum { LOOK_MS = 100, MEASURE_MS = 1000, MEASURE_SHARE = 20 };

/* Less than this is none: ext4 refuses a write with some blocks left (145 were seen on 2 cores). */
enum { NONE_BYTES = 2 << 20 };

struct disk_watch {
    struct loop *loop;
    const struct sandbox *sandbox;
    struct disk_size size;
    struct loop_source *timer, *child; /* one of the two */
    pid_t measurer;
    int64_t began_ms;  /* of the measurement */
    disk_watch_fn *fn; /* NULL: it has been called */
    void *arg;
};

static void tell(struct disk_watch *watch, const char *full)
{
    disk_watch_fn *fn = watch->fn;
    watch->fn = NULL;
    if (fn)
        fn(watch->arg, full);
}

static void look(struct disk_watch *watch)
{
    struct disk_left left;
    if (sandbox_read_disk(watch->sandbox, &left, NULL) < 0)
        return;
    if (left.bytes < NONE_BYTES)
        tell(watch, "disk");
    else if (left.inodes == 0)
        tell(watch, "inodes");
}

static void on_timer(void *arg);

static void on_measured(void *arg, pid_t pid, int wait_status)
{
    struct disk_watch *watch = arg;
    watch->child = NULL;
    int status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : MEASURE_UNKNOWN;
    if (status == MEASURE_BYTES || status == MEASURE_INODES) {
        tell(watch, status == MEASURE_BYTES ? "disk" : "inodes");
        return;
    }
    int64_t pause_ms = (clock_mono_ms() - watch->began_ms) * MEASURE_SHARE;
    watch->timer =
        loop_add_timer(watch->loop, pause_ms > MEASURE_MS ? pause_ms : MEASURE_MS, on_timer, watch);
}

/* A measurement that cannot begin is tried again. */
static void begin_measurement(struct disk_watch *watch)
{
    watch->began_ms = clock_mono_ms();
    watch->measurer = measure_start(sandbox_layer(watch->sandbox), &watch->size);
    watch->child = watch->measurer < 0
                       ? NULL
                       : loop_add_child(watch->loop, watch->measurer, on_measured, watch, NULL);
    if (!watch->child)
        watch->timer = loop_add_timer(watch->loop, MEASURE_MS, on_timer, watch);
}

static void on_timer(void *arg)
{
    struct disk_watch *watch = arg;
    watch->timer = NULL;
    if (sandbox_disk(watch->sandbox) == SANDBOX_DISK_SOFT) {
        begin_measurement(watch);
        return;
    }
    look(watch);
    if (watch->fn)
        watch->timer = loop_add_timer(watch->loop, LOOK_MS, on_timer, watch);
}

struct disk_watch *disk_watch_start(struct loop *loop, const struct sandbox *sandbox,
                                    const struct disk_size *size, bool measure, disk_watch_fn *fn,
                                    void *arg)
{
    enum sandbox_disk kind = sandbox_disk(sandbox);
    if (kind == SANDBOX_DISK_UNLIMITED || (kind == SANDBOX_DISK_SOFT && !measure))
        return NULL;
    struct disk_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        abort();
    *watch =
        (struct disk_watch){.loop = loop, .sandbox = sandbox, .size = *size, .fn = fn, .arg = arg};
    watch->timer = loop_add_timer(loop, LOOK_MS, on_timer, watch);
    return watch;
}

void disk_watch_end(struct disk_watch *watch)
{
    if (!watch)
        return;
    look(watch);
    loop_remove(watch->timer);
    if (watch->child) {
        loop_remove(watch->child);
        measure_end(watch->measurer);
    }
    free(watch);
}
