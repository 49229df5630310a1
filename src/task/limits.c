#include "task/limits.h"

#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "task/spawn.h"

#define MIB (1LL << 20)

/* The bounds are those of the server's own, in codex.conf. */
static const struct {
    const char *name, *member, *wanted;
    int64_t min, max;
} limits[TASK_LIMIT_COUNT] = {
    [TASK_LIMIT_MEMORY] = {"memory", "memory_bytes", "a size like 512M or 4G, from 64M on",
                           64 * MIB, 1LL << 40},
    [TASK_LIMIT_CPUS] = {"cpus", "cpu_milli", "a number of cores like 2 or 1.5, from 0.1 on", 100,
                         1024000},
    [TASK_LIMIT_PIDS] = {"pids", "pids", "a number of processes, from 32 on", 32, 1 << 20},
    [TASK_LIMIT_DISK] = {"disk", "disk_bytes", "a size like 512M or 4G, from 64M on", 64 * MIB,
                         8LL << 40},
};

const char *task_limit_name(enum task_limit limit)
{
    return limits[limit].name;
}

const char *task_limit_member(enum task_limit limit)
{
    return limits[limit].member;
}

bool task_limit_valid(enum task_limit limit, int64_t value)
{
    return value >= limits[limit].min && value <= limits[limit].max;
}

int task_limit_parse(enum task_limit limit, const char *text, int64_t *value, struct err *err)
{
    uint64_t bytes;
    uint32_t milli;
    int status;
    if (limit == TASK_LIMIT_CPUS) {
        status = str_parse_milli(text, (uint32_t)limits[limit].max, &milli);
        *value = status < 0 ? 0 : milli;
    } else if (limit == TASK_LIMIT_PIDS) {
        status = str_parse_int(text, limits[limit].min, limits[limit].max, value);
    } else {
        status = str_parse_size(text, &bytes);
        *value = status < 0 ? 0 : (int64_t)bytes;
    }
    if (status == 0 && task_limit_valid(limit, *value))
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not %s", text, limits[limit].wanted);
}

void task_limit_append(struct buf *out, enum task_limit limit, int64_t value)
{
    if (limit == TASK_LIMIT_CPUS && value % 1000)
        buf_appendf(out, "%lld.%03lld cores", (long long)value / 1000, (long long)value % 1000);
    else if (limit == TASK_LIMIT_CPUS)
        buf_appendf(out, "%lld cores", (long long)value / 1000);
    else if (limit == TASK_LIMIT_PIDS)
        buf_appendf(out, "%lld processes", (long long)value);
    else
        buf_appendf(out, "%lld MiB", (long long)(value / MIB));
}

static uint64_t lower(uint64_t limit, int64_t asked)
{
    return asked && (!limit || (uint64_t)asked < limit) ? (uint64_t)asked : limit;
}

void task_limits_lower(struct run_limits *run, const struct task_limits *asked)
{
    run->memory_bytes = lower(run->memory_bytes, asked->of[TASK_LIMIT_MEMORY]);
    run->cpu_milli = (uint32_t)lower(run->cpu_milli, asked->of[TASK_LIMIT_CPUS]);
    run->pids = (uint32_t)lower(run->pids, asked->of[TASK_LIMIT_PIDS]);
    run->disk_bytes = lower(run->disk_bytes, asked->of[TASK_LIMIT_DISK]);
}

int task_limits_to_json(const struct task_limits *from, struct buf *out)
{
    int status = 0;
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT && status == 0; i++) {
        status = buf_appendf(out, "%s\"%s\":", i ? "," : "{", limits[i].member);
        if (status == 0)
            status = from->of[i] ? buf_appendf(out, "%lld", (long long)from->of[i])
                                 : buf_append_str(out, "null");
    }
    return status < 0 ? status : buf_append_char(out, '}');
}

const char *limit_unit(const char *name)
{
    static const struct {
        const char *name, *unit;
    } units[] = {{"memory", "bytes"},  {"pids", "processes"},
                 {"disk", "bytes"},    {"inodes", "files"},
                 {"time", "ms"},       {"output", "bytes"},
                 {"budget", "tokens"}, {"connections", "connections"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (!strcmp(name, units[i].name))
            return units[i].unit;
    return NULL;
}
