/* Which of the machine's cores a sandbox runs on, so that programs in it count no more of them than
 * it may use. */
#ifndef CODEX_SANDBOX_CORES_H
#define CODEX_SANDBOX_CORES_H

#include <sched.h>
#include <stdint.h>

#include "base/buf.h"

/* The whole cores that a limit of CPU_MILLI thousandths needs; 0 when that is not less than ALLOWED,
 * or there is no limit. */
unsigned cores_needed(uint32_t cpu_milli, const cpu_set_t *allowed);

/* The cores that this process may run on; none when that cannot be read. */
void cores_allowed(cpu_set_t *allowed);

/* Append COUNT of ALLOWED as "0,2": those of the sandbox NUMBER, so that sandboxes with neighbouring
 * numbers lie beside each other. */
int cores_append(struct buf *out, const cpu_set_t *allowed, unsigned number, unsigned count);

#endif
