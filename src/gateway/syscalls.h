/* The seccomp filter of confine.h. */
#ifndef CODEX_GATEWAY_SYSCALLS_H
#define CODEX_GATEWAY_SYSCALLS_H

#include "base/err.h"

int syscalls_restrict(struct err *err);

#endif
