/*
 * How long a sandbox takes to come up, run a command and go, beside bare crun with the same bundle,
 * and bubblewrap over the same files: it has neither limits nor ids of its own. All in turn, in one
 * run, so that the machine is the same for all.
 *
 *     bench-sandbox --images DIR [--rounds N] [--agent PROGRAM]
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "sandbox/sandbox.h"
#include "sandbox/sandbox_internal.h"

enum { ROUNDS_MAX = 1000 };

struct series {
    const char *name;
    size_t count;
    int64_t us[ROUNDS_MAX];
};

enum measure { CREATE, STEP, REMOVE, BARE_CREATE, BARE_EXEC, BARE_REMOVE, BUBBLEWRAP, MEASURES };

static struct series series[MEASURES] = {
    {.name = "sandbox: create -> ready"},     {.name = "sandbox: run true, wait for it"},
    {.name = "sandbox: kill, remove"},        {.name = "bare crun: create + start"},
    {.name = "bare crun: exec true, wait"},   {.name = "bare crun: delete --force"},
    {.name = "bubblewrap: start true, wait"},
};

static void add(enum measure measure, int64_t began_us)
{
    series[measure].us[series[measure].count++] = clock_mono_us() - began_us;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void print(struct series *s)
{
    qsort(s->us, s->count, sizeof s->us[0], compare);
    if (s->count)
        printf("%-32s p50 %7.1f ms   p95 %7.1f ms   min %7.1f ms\n", s->name,
               (double)s->us[s->count / 2] / 1000, (double)s->us[s->count * 95 / 100] / 1000,
               (double)s->us[0] / 1000);
}

static const char *const step_argv[] = {"/bin/true", NULL};

static void step_ended(void *arg, const struct sandbox_result *result)
{
    *(bool *)arg = true;
}

static int run_step(struct sandbox *sandbox, struct loop *loop, struct err *err)
{
    bool ended = false;
    pid_t pid = sandbox_exec(
        sandbox,
        &(struct sandbox_step){.profile = SANDBOX_AS_USER, .argv = step_argv, .cwd = "/workspace"},
        step_ended, &ended, err);
    if (pid < 0)
        return pid;
    while (!ended)
        loop_run_once(loop, -1, NULL);
    return 0;
}

/* The bundle's configuration with cgroups of its own, as FILE. */
static int write_bare_config(const struct sandbox *sandbox, const char *file, struct err *err)
{
    AUTO_BUF struct buf config, out;
    buf_init(&config, 65536);
    buf_init(&out, 65536);
    AUTO_FREE char *path = str_format("%s/config.json", sandbox->directory);
    int status = io_read_file(path, &config, err);
    if (status < 0)
        return status;
    const char *at = strstr(config.data, sandbox->cgroup);
    size_t before = (size_t)(at - config.data);
    buf_append(&out, config.data, before);
    buf_append_str(&out, "codex/bench-bare");
    buf_append_str(&out, at + strlen(sandbox->cgroup));
    return io_replace_file_at(AT_FDCWD, file, out.data, out.len, 0600, err);
}

/* The same container again, by crun alone: files and mounts are there. */
static int bare(struct sandbox *sandbox, struct err *err)
{
    AUTO_FREE char *config = str_format("%s/bare.json", sandbox->directory);
    const char *const create[] = {"--bundle", sandbox->directory, "--config", config, "bare", NULL};
    const char *const name[] = {"bare", NULL};
    const char *const exec[] = {"bare", "/bin/true", NULL};
    const char *const delete[] = {"--force", "bare", NULL};
    AUTO_FD int nothing = io_memfd("nothing", "", 0, err);
    const struct process_fd fds[] = {{nothing, 0}, {nothing, 1}, {nothing, 2}};
    int status = nothing < 0 ? nothing : write_bare_config(sandbox, config, err);
    int64_t began_us = clock_mono_us();
    if (status == 0)
        status = sandbox_run_runtime(sandbox, "create", create, fds, 3, NULL, err);
    if (status == 0)
        status = sandbox_run_runtime(sandbox, "start", name, NULL, 0, NULL, err);
    add(BARE_CREATE, began_us);
    usleep(5000); /* its first process leaves crun */
    began_us = clock_mono_us();
    if (status == 0)
        status = sandbox_run_runtime(sandbox, "exec", exec, fds, 3, NULL, err);
    add(BARE_EXEC, began_us);
    began_us = clock_mono_us();
    int deleted =
        sandbox_run_runtime(sandbox, "delete", delete, NULL, 0, NULL, status == 0 ? err : NULL);
    add(BARE_REMOVE, began_us);
    return status < 0 ? status : deleted;
}

static int bubblewrap(const struct sandbox *sandbox, struct err *err)
{
    AUTO_FREE char *root = str_format("%s/root", sandbox->directory);
    const char *const argv[] = {"bwrap",
                                "--unshare-all",
                                "--die-with-parent",
                                "--ro-bind",
                                root,
                                "/",
                                "--proc",
                                "/proc",
                                "--dev",
                                "/dev",
                                "--",
                                "/bin/true",
                                NULL};
    int64_t began_us = clock_mono_us();
    int status = process_run(argv, -1, NULL, err);
    add(BUBBLEWRAP, began_us);
    return status > 0 ? err_set(err, ERR_SANDBOX, "bwrap exited with %d", status) : status;
}

static struct disk_size disk; /* of the sandboxes; no limit unless it is asked for */

static int round_trip(struct sandbox_host *host, const char *directory, struct err *err)
{
    const struct sandbox_options options = {
        .name = "bench-sandbox",
        .directory = directory,
        .limits = {.memory_bytes = 1ULL << 30, .pids = 512, .disk = disk}};
    int64_t began_us = clock_mono_us();
    struct sandbox *sandbox = sandbox_create(host, &options, err);
    AUTO_FD int listener = sandbox ? sandbox_listen(sandbox, 64080, err) : -1;
    int status = listener < 0 ? err->code : sandbox_start(sandbox, err);
    add(CREATE, began_us);
    began_us = clock_mono_us();
    if (status == 0)
        status = run_step(sandbox, host->loop, err);
    add(STEP, began_us);
    if (status == 0)
        status = bare(sandbox, err);
    if (status == 0)
        status = bubblewrap(sandbox, err);
    began_us = clock_mono_us();
    int removed = sandbox_free(sandbox, status == 0 ? err : NULL);
    add(REMOVE, began_us);
    return status < 0 ? status : removed;
}

static int measure(const struct sandbox_host_options *options, int64_t rounds, struct err *err)
{
    AUTO_FREE char *directory = str_dup("/var/tmp/codex-bench-XXXXXX");
    AUTO_FREE char *layer = NULL;
    struct loop *loop = loop_new(err);
    struct sandbox_host host;
    if (!loop || !mkdtemp(directory))
        return err_errno(err, "cannot create a directory");
    layer = str_format("%s/layer", directory);
    int status = sandbox_host_open(&host, loop, options, err);
    /* The first round warms the caches up, and does not count. */
    for (int64_t i = 0; i <= rounds && status == 0; i++) {
        status = round_trip(&host, layer, err);
        for (int m = 0; i == 0 && m < MEASURES; m++)
            series[m].count = 0;
    }
    io_remove_tree_at(AT_FDCWD, directory, NULL);
    sandbox_host_release(&host);
    loop_free(loop);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"images", required_argument, NULL, 'i'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"agent", required_argument, NULL, 'a'},
                                            {"disk", required_argument, NULL, 'd'},
                                            {0}};
    AUTO_FREE char *agent = str_format("%s/../codex-agent", process_program_dir());
    struct sandbox_host_options host = {.runtime = "crun", .agent = agent};
    int64_t rounds = 50;
    int id;
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (id == 'i')
            host.images = optarg;
        else if (id == 'a')
            host.agent = optarg;
        else if (id == 'd' && str_parse_size(optarg, &disk.bytes) == 0)
            continue;
        else if (id != 'r' || str_parse_int(optarg, 1, ROUNDS_MAX - 1, &rounds) < 0)
            return 2;
    }
    struct err err;
    if (!host.images || measure(&host, rounds, &err) < 0) {
        fprintf(stderr, "bench-sandbox: %s\n",
                host.images ? err.message : "--images DIR is missing");
        return 1;
    }
    for (int m = 0; m < MEASURES; m++)
        print(&series[m]);
    return 0;
}
