/*
 * The uid and gid range of a sandbox: 65536 ids that no other live sandbox of this machine has,
 * whoever started it. A range is taken by locking its byte in a file that all servers share; the
 * kernel gives it back when the owner closes the descriptor, or dies.
 */
#ifndef CODEX_SANDBOX_UID_RANGE_H
#define CODEX_SANDBOX_UID_RANGE_H

#include <sys/types.h>

#include "base/err.h"

enum {
    UID_RANGE_SIZE = 65536,
    /* Above what systemd-nspawn picks from (0x00080000 to 0x6fffffff, systemd's UIDS-GIDS.md) and
     * below 2^31, where some programs go wrong. */
    UID_RANGE_FIRST = 0x70000000,
    UID_RANGE_COUNT = 4094,
};

struct uid_range {
    int fd; /* holds the lock */
    uid_t base;
};

/* Take a free range; DIRECTORY (such as /run/codex) is made when it is not there. */
int uid_range_take(struct uid_range *range, const char *directory, struct err *err);
void uid_range_release(struct uid_range *range);

#endif
