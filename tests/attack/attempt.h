/*
 * What the attack programs share: attempts, each made in a child of its own, each reported as one
 * line:
 *
 *     case 5 bpf: refused EPERM          case 14 int80: killed SYS          case 15 mknod_fifo: allowed
 *
 * The same program is run in a sandbox and outside, so whatever an attempt does must harm nobody
 * where it succeeds. Case 0: what is in no list of cases.
 */
#ifndef CODEX_ATTACK_ATTEMPT_H
#define CODEX_ATTACK_ATTEMPT_H

#include <stddef.h>

struct attempt {
    int number;
    const char *name;
    long (*run)(void); /* negative, with errno: it was refused */
};

#define ATTEMPT(number, name)                                                                      \
    {                                                                                              \
        number, #name, try_##name                                                                  \
    }

/* Make them all (of $ATTACK_ONLY, if it is there, those whose names are among its words), and print
 * what became of each. Returns 0, or 1 when one could not be made. */
int attempt_all(const struct attempt *attempts, size_t count);

/* The process that is attacked: $ATTACK_PROCESS, else process 1. */
int attempt_process(void);

/* Open /proc/<attempt_process()>/NAME. */
int attempt_open_proc(const char *name, int flags);

#endif
