/*
 * What codexd asks of the spawner, which is root: whatever message passes the checks names one run,
 * one directory, and arguments and descriptors that lie where they are looked for. Input: a byte
 * with the kind, and what is changed of a good message.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/run_dir.h"
#include "runner/spawn_check.h"
#include "sandbox/sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Zero bytes leave what is there, so that a short input changes little. */
static void change(void *message, size_t message_size, const uint8_t *data, size_t size)
{
    unsigned char *bytes = message;
    for (size_t i = 0; i < size && i < message_size; i++)
        bytes[i] ^= data[i];
}

static void check_run(const uint8_t *data, size_t size)
{
    struct spawn_run *run = calloc(1, sizeof *run); /* of its own: a read past it is seen */
    *run = (struct spawn_run){
        .name = {.task = "task-abc123", .turn = 1, .attempt = 1, .run = 1},
        .limits = {.memory_bytes = 1 << 30,
                   .pids = 256,
                   .timeout_ms = 1000,
                   .test_timeout_ms = 1000,
                   .archive_bytes = 1 << 20},
        .repo = "demo",
    };
    change(run, sizeof *run, data, size);
    struct err err = {0};
    if (spawn_check_run(run, &err) == 0) {
        char name[RUN_NAME_SIZE];
        snprintf(name, sizeof name, "%s-%u", run->name.task, run->name.attempt);
        require(run_name_is_valid(name) && strlen(run->name.task) < SPAWN_TASK_SIZE);
        require(*run->repo && strlen(run->repo) < sizeof run->repo && !strchr(run->repo, '/') &&
                strcmp(run->repo, ".") && strcmp(run->repo, ".."));
        require(run->limits.pids >= SANDBOX_PIDS_MIN && run->limits.memory_bytes <= INT64_MAX);
        require(spawn_run_fds(run) <= SPAWN_FD_COUNT);
    } else {
        require(*err.message);
    }
    free(run);
}

static void check_git(const uint8_t *data, size_t size)
{
    struct spawn_git *git = calloc(1, sizeof *git);
    *git = (struct spawn_git){.as = SPAWN_GIT_AS_SUBMITTER,
                              .uid = 1000,
                              .argc = 2,
                              .timeout_ms = 1000,
                              .fds_count = 2,
                              .fd_numbers = {1, 2},
                              .repository = "/srv/demo",
                              .args = "resolve"};
    change(git, sizeof *git, data, size);
    struct err err = {0};
    if (spawn_check_git(git, git->fds_count, &err) == 0) {
        const char *arg = git->args;
        for (uint32_t i = 0; i < git->argc; i++) {
            require(arg < git->args + sizeof git->args);
            arg += strlen(arg) + 1;
        }
        require(git->argc && git->argc <= 32 && arg <= git->args + sizeof git->args);
        require(git->fds_count <= SPAWN_GIT_FDS_MAX);
        require(git->as != SPAWN_GIT_AS_SUBMITTER || git->repository[0] == '/');
        require(strlen(git->repository) < sizeof git->repository);
    } else {
        require(*err.message);
    }
    free(git);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        check_run(data + 1, size - 1);
    else
        check_git(data + 1, size - 1);
    return 0;
}
