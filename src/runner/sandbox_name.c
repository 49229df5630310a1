#include "runner/sandbox_name.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* 32-bit FNV-1a (draft-eastlake-fnv): tells a handful of paths apart. */
static uint32_t fnv1a(const char *s)
{
    uint32_t hash = 0x811c9dc5;
    for (; *s; s++)
        hash = (hash ^ (unsigned char)*s) * 0x01000193;
    return hash;
}

int sandbox_name(char name[SANDBOX_NAME_SIZE], const char *state, const char *run, const char *role,
                 struct err *err)
{
    char path[PATH_MAX];
    if (!realpath(state, path))
        return err_errno(err, "cannot open '%s'", state);
    if (snprintf(name, SANDBOX_NAME_SIZE, "%08x-%s-%s", fnv1a(path), run, role) >=
        SANDBOX_NAME_SIZE)
        return err_set(err, -ENAMETOOLONG, "the name of run '%s' is too long", run);
    return 0;
}

int sandbox_name_prefix(char name[SANDBOX_NAME_SIZE], const char *state, const char *run,
                        struct err *err)
{
    return sandbox_name(name, state, run, "", err);
}
