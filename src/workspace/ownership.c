#include "workspace/ownership.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox_layout.h"
#include "workspace/walk.h"

static int give(void *arg, const struct walk_entry *entry, struct err *err)
{
    if (entry->st.st_uid != 0)
        return 0;
    if (fchownat(entry->dir, entry->name, SANDBOX_UID, SANDBOX_GID, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno != ENOENT)
        return err_errno(err, "cannot change the owner of '%s'", entry->path);
    return 0;
}

static void say_left_out(void *arg, const char *path, const char *why)
{
    fprintf(stderr, "codex-agent setup: %s stays root's: %s\n", path, why);
}

int ownership_hand_over(const char *path, struct err *err)
{
    if (geteuid() != 0)
        return 0;
    AUTO_FD int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s'", path);
    const struct walk_callbacks callbacks = {.entry = give, .left_out = say_left_out};
    return walk_tree(top, path, &callbacks, err);
}
