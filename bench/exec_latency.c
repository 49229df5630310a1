/*
 * What exec_command adds to a trivial command: from the call's start to its end on the agent's
 * loop, as the sandbox user and with the login shell that is its default, beside a bare `bash -c`
 * of the same command, in turns. Prints medians and 95th percentiles in milliseconds.
 *
 *     bench-exec [COUNT (500)] [MEGABYTES of conversation in memory (0)]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tool.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"

enum { WARM_UP = 20, OWN_UIDS = 3000000 };

static bool finished;

void tool_call_finish(struct tool_call *call, bool ok, const char *text, size_t len)
{
    if (!ok || !strstr(text, "Process exited with code 0\n")) {
        fprintf(stderr, "bench-exec: %s\n", text);
        exit(1);
    }
    finished = true;
}

void tool_call_finishf(struct tool_call *call, bool ok, const char *format, ...)
{
    tool_call_finish(call, false, format, strlen(format));
}

static double bare(void)
{
    static const char *const argv[] = {"bash", "-c", "true", NULL};
    struct err err;
    int ends[2];
    char byte;
    int64_t began_us = clock_mono_us();
    if (pipe2(ends, O_CLOEXEC) < 0)
        exit(1);
    const struct process_fd fds[] = {{ends[1], 1}, {ends[1], 2}};
    const struct process_options options = {
        .argv = argv, .fds = fds, .fds_count = 2, .share_memory = true};
    pid_t pid = process_spawn(&options, &err);
    close(ends[1]);
    while (read(ends[0], &byte, 1) > 0)
        continue;
    close(ends[0]);
    process_wait(pid);
    return (double)(clock_mono_us() - began_us) / 1000;
}

static double through_the_tool(struct loop *loop, struct tool_group *group, json_t *arguments)
{
    struct tool_call call = {.call_id = "c", .name = "exec_command", .arguments = arguments};
    struct err err;
    int64_t began_us = clock_mono_us();
    finished = false;
    group->tools[0].start(group->state, &call);
    while (!finished)
        loop_run_once(loop, -1, &err);
    return (double)(clock_mono_us() - began_us) / 1000;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double print(const char *name, double *times, size_t count)
{
    qsort(times, count, sizeof *times, compare);
    printf("%-24s p50 %6.3f   p95 %6.3f\n", name, times[count / 2], times[count * 95 / 100]);
    return times[count / 2];
}

static void measure(struct loop *loop, struct tool_group *group, size_t count)
{
    json_t *arguments = json_pack("{s:s}", "cmd", "true");
    double *tool = calloc(count, sizeof *tool), *plain = calloc(count, sizeof *plain);
    struct err err;
    if (!tool || !plain)
        abort();
    for (size_t i = 0; i < WARM_UP; i++) {
        through_the_tool(loop, group, arguments);
        while (group->running(group->state))
            loop_run_once(loop, 100, &err);
    }
    for (size_t i = 0; i < count; i++) {
        tool[i] = through_the_tool(loop, group, arguments);
        plain[i] = bare();
    }
    double difference = -print("bash -c", plain, count);
    difference += print("exec_command", tool, count);
    printf("%-24s p50 %6.3f\n", "difference", difference);
    free(tool);
    free(plain);
    json_decref(arguments);
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? (size_t)atoi(argv[1]) : 500;
    size_t conversation = (argc > 2 ? (size_t)atoi(argv[2]) : 0) << 20;
    char home[] = "/tmp/codex-bench-XXXXXX", workdir[64];
    struct err err;
    if (count == 0 || !mkdtemp(home))
        return 2;
    snprintf(workdir, sizeof workdir, "%s/work", home);
    char *memory = malloc(conversation + 1);
    if (!memory || mkdir(workdir, 0755) < 0)
        return 2;
    memset(memory, 'x', conversation + 1);
    bool root = geteuid() == 0;
    struct tool_host host = {.loop = loop_new(&err),
                             .events = events_new(-1, 0),
                             .workdir = workdir,
                             .drop = root,
                             .uid = OWN_UIDS + (uid_t)getpid(),
                             .gid = OWN_UIDS + (gid_t)getpid()};
    if (root && (chown(home, host.uid, host.gid) < 0 || chown(workdir, host.uid, host.gid) < 0))
        return 2;
    struct tool_group group;
    if (!host.loop || exec_tools_open(&host, &group, &err) < 0)
        return 2;
    measure(host.loop, &group, count);
    group.free(group.state);
    events_free(host.events);
    loop_free(host.loop);
    free(memory);
    return io_remove_tree_at(AT_FDCWD, home, &err) < 0;
}
