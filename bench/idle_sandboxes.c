/*
 * Many idle sandboxes at once, each as a task's waits for its model: process 1, a listener, limits.
 * How long they take to start, one after the other, and to go, and what memory they hold meanwhile,
 * with what holds them: a process for a few, like a runner. It is the machine's memory that is
 * looked at, so say what else that did.
 *
 *     bench-idle --images DIR [--count N] [--agent PROGRAM]
 */
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "sandbox/sandbox.h"

enum {
    COUNT_MAX = 2000,
    GROUP = 5, /* sandboxes of one process */
    LISTEN_PORT = 64080,
    SETTLE_US = 500000,
    START_MS = 120000, /* of a group: the first may make the image */
};

struct idle {
    struct sandbox *sandbox;
    int listener;
};

/* Kilobytes of FIELD in /proc/meminfo, 0 when it has none. */
static int64_t memory_kb(const char *text, const char *field)
{
    AUTO_FREE char *line = str_format("\n%s:", field);
    const char *at = strstr(text, line);
    return at ? strtoll(at + strlen(line), NULL, 10) : 0;
}

/* What is in use and does not go by itself: all but free memory and the cache of files on disk.
 * Directory entries and inodes, which the kernel could do without, count as in use. */
static int used_kb(int64_t *kb, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 65536);
    buf_append_char(&text, '\n');
    AUTO_FD int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf_reserve(&text, 32768), 32768);
    if (n < 0)
        return err_errno(err, "cannot read /proc/meminfo");
    buf_wrote(&text, (size_t)n);
    *kb = memory_kb(text.data, "MemTotal") - memory_kb(text.data, "MemFree") -
          memory_kb(text.data, "Buffers") - memory_kb(text.data, "Cached") +
          memory_kb(text.data, "Shmem");
    return 0;
}

static int start_one(struct sandbox_host *host, const char *directory, unsigned number,
                     struct idle *idle, struct err *err)
{
    AUTO_FREE char *name = str_format("bench-idle-%u", number);
    AUTO_FREE char *layer = str_format("%s/%u", directory, number);
    const struct sandbox_options options = {
        .name = name, .directory = layer, .limits = {.memory_bytes = 1ULL << 30, .pids = 512}};
    idle->sandbox = sandbox_create(host, &options, err);
    if (!idle->sandbox)
        return err->code;
    idle->listener = sandbox_listen(idle->sandbox, LISTEN_PORT, err);
    return idle->listener < 0 ? idle->listener : sandbox_start(idle->sandbox, err);
}

static int stop_all(struct idle *idle, unsigned count, struct err *err)
{
    int status = 0;
    for (unsigned i = 0; i < count; i++) {
        if (idle[i].listener >= 0)
            close(idle[i].listener);
        int removed = sandbox_free(idle[i].sandbox, status == 0 ? err : NULL);
        status = status < 0 ? status : removed;
    }
    return status;
}

/* In a child, as a runner has few sandboxes, too: start some, say so, and keep them until END ends. Returns its
 * exit status. */
static int hold(const struct sandbox_host_options *options, const char *directory, unsigned first,
                unsigned count, int ready, int end)
{
    struct idle idle[GROUP] = {0};
    struct sandbox_host host;
    struct err err;
    char byte;
    for (unsigned i = 0; i < GROUP; i++)
        idle[i].listener = -1;
    struct loop *loop = loop_new(&err);
    int status = loop ? sandbox_host_open(&host, loop, options, &err) : err.code;
    if (status < 0) {
        fprintf(stderr, "bench-idle: %s\n", err.message);
        return 1;
    }
    for (unsigned i = 0; i < count && status == 0; i++)
        status = start_one(&host, directory, first + i, &idle[i], &err);
    if (status == 0 && write(ready, "", 1) == 1)
        while (read(end, &byte, 1) > 0)
            continue;
    int stopped = stop_all(idle, count, status == 0 ? &err : NULL);
    if (status < 0 || stopped < 0)
        fprintf(stderr, "bench-idle: %s\n", err.message);
    sandbox_host_release(&host);
    loop_free(loop);
    return status < 0 || stopped < 0;
}

/* Start them, GROUP at a time, until the last is up. */
static int start_all(const struct sandbox_host_options *options, const char *directory,
                     unsigned count, const int ready[2], const int end[2], struct err *err)
{
    char byte;
    for (unsigned first = 0; first < count; first += GROUP) {
        pid_t pid = fork();
        if (pid < 0)
            return err_errno(err, "cannot fork");
        if (pid == 0) {
            close(end[1]);
            unsigned left = count - first;
            _exit(hold(options, directory, first, left < GROUP ? left : GROUP, ready[1], end[0]));
        }
        struct pollfd said = {.fd = ready[0], .events = POLLIN};
        if (poll(&said, 1, START_MS) != 1 || read(ready[0], &byte, 1) != 1)
            return err_set(err, ERR_SANDBOX, "a sandbox did not come up");
    }
    return 0;
}

static int run(const struct sandbox_host_options *options, const char *directory, unsigned count,
               struct err *err)
{
    int64_t before_kb = 0, meanwhile_kb = 0;
    int ready[2], end[2], wait_status, status;
    if (pipe2(ready, O_CLOEXEC) < 0 || pipe2(end, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    status = used_kb(&before_kb, err);
    int64_t began_us = clock_mono_us();
    if (status == 0)
        status = start_all(options, directory, count, ready, end, err);
    int64_t started_us = clock_mono_us() - began_us;
    usleep(SETTLE_US); /* what crun held goes */
    if (status == 0)
        status = used_kb(&meanwhile_kb, err);
    began_us = clock_mono_us();
    close(end[0]);
    close(end[1]);
    while (wait(&wait_status) > 0)
        if (status == 0 && wait_status != 0)
            status = err_set(err, ERR_SANDBOX, "a sandbox did not go");
    if (status < 0)
        return status;
    printf("%u idle sandboxes at once: started in %.1f s, gone in %.1f s; memory of one %.2f MB\n",
           count, (double)started_us / 1e6, (double)(clock_mono_us() - began_us) / 1e6,
           (double)(meanwhile_kb - before_kb) / 1024 / count);
    return 0;
}

static int measure(const struct sandbox_host_options *options, unsigned count, struct err *err)
{
    AUTO_FREE char *directory = str_dup("/var/tmp/codex-bench-XXXXXX");
    if (!mkdtemp(directory))
        return err_errno(err, "cannot create a directory");
    /* One codex-agent for all, as the spawner keeps it for its runners. */
    AUTO_FREE char *shared = str_format("%s/agent", directory);
    AUTO_FREE char *agent = str_format("%s/codex-agent", shared);
    struct sandbox_host_options host = *options;
    host.agent = agent;
    host.agent_is_shared = true;
    int status = io_make_dirs(shared, 0755, err);
    if (status == 0)
        status = sandbox_copy_agent(options->agent, agent, err);
    if (status == 0)
        status = run(&host, directory, count, err);
    io_remove_tree_at(AT_FDCWD, directory, NULL);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"images", required_argument, NULL, 'i'},
                                            {"count", required_argument, NULL, 'c'},
                                            {"agent", required_argument, NULL, 'a'},
                                            {0}};
    AUTO_FREE char *agent = str_format("%s/../codex-agent", process_program_dir());
    struct sandbox_host_options host = {.runtime = "crun", .agent = agent};
    int64_t count = 500;
    int id;
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (id == 'i')
            host.images = optarg;
        else if (id == 'a')
            host.agent = optarg;
        else if (id != 'c' || str_parse_int(optarg, 1, COUNT_MAX, &count) < 0)
            return 2;
    }
    struct err err;
    if (!host.images || measure(&host, (unsigned)count, &err) < 0) {
        fprintf(stderr, "bench-idle: %s\n", host.images ? err.message : "--images DIR is missing");
        return 1;
    }
    return 0;
}
