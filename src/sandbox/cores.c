#include "sandbox/cores.h"

enum { CORE_MILLI = 1000 };

unsigned cores_needed(uint32_t cpu_milli, const cpu_set_t *allowed)
{
    uint64_t count = ((uint64_t)cpu_milli + CORE_MILLI - 1) / CORE_MILLI;
    return count < (uint64_t)CPU_COUNT(allowed) ? (unsigned)count : 0;
}

void cores_allowed(cpu_set_t *allowed)
{
    CPU_ZERO(allowed);
    if (sched_getaffinity(0, sizeof *allowed, allowed) < 0)
        CPU_ZERO(allowed);
}

/* The core that comes WANTED places behind the first of ALLOWED. */
static int nth(const cpu_set_t *allowed, unsigned wanted)
{
    int core = 0;
    for (unsigned seen = 0;; core++)
        if (CPU_ISSET(core, allowed) && seen++ == wanted)
            return core;
}

int cores_append(struct buf *out, const cpu_set_t *allowed, unsigned number, unsigned count)
{
    unsigned total = (unsigned)CPU_COUNT(allowed);
    int status = 0;
    for (unsigned i = 0; i < count && i < total && status == 0; i++) {
        uint64_t place = ((uint64_t)number * count + i) % total;
        status = buf_appendf(out, "%s%d", i ? "," : "", nth(allowed, (unsigned)place));
    }
    return status;
}
