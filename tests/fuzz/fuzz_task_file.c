/* task.json: taken, or refused with the reason; what is taken is what the agent builds on. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/task_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_line(const char *s)
{
    require(*s);
    for (; *s; s++)
        require((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void check(const struct agent_task *task)
{
    const char *const lines[] = {task->task, task->workdir, task->model, task->base_url,
                                 task->api_key};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        check_line(lines[i]);
    require(*task->prompt && task->workdir[0] == '/');
    if (task->effort)
        check_line(task->effort);
    require(task->retry.base_ms > 0 && task->retry.max_ms > 0 && task->retry.give_up_ms >= 0);
    require(task->retry.first_byte_timeout_ms > 0 && task->retry.idle_timeout_ms > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    struct agent_task task;
    struct err err = {0};
    if (agent_task_read(&task, fd, &err) == 0)
        check(&task);
    else
        require(*err.message);
    agent_task_release(&task);
    return 0;
}
