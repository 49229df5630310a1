#include "runner/sandbox_name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

int sandbox_name(char name[SANDBOX_NAME_SIZE], const char *state, const char *run, const char *role,
                 struct err *err)
{
    struct stat st;
    if (stat(state, &st) < 0)
        return err_errno(err, "cannot open '%s'", state);
    uint32_t id = (uint32_t)(st.st_ino ^ st.st_ino >> 32 ^ (uint64_t)st.st_dev * 0x9e3779b1U);
    if (snprintf(name, SANDBOX_NAME_SIZE, "%08x-%s-%s", id, run, role) >= SANDBOX_NAME_SIZE)
        return err_set(err, -ENAMETOOLONG, "the name of run '%s' is too long", run);
    return 0;
}

int sandbox_name_prefix(char name[SANDBOX_NAME_SIZE], const char *state, const char *run, struct err *err)
{
    return sandbox_name(name, state, run, "", err);
}
