#include "workspace/huge_files.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/walk.h"

static const off_t file_max = 2LL << 30;

/* Of a repository, at the top or further down: git does not add it. */
static bool is_gits_own(const char *path)
{
    return strstr(path, "/.git/") != NULL;
}

static int look_at(void *arg, const struct walk_entry *entry, struct err *err)
{
    struct buf *out = arg;
    if (!S_ISREG(entry->st.st_mode) || entry->st.st_size <= file_max || is_gits_own(entry->path))
        return 0;
    const char *path = entry->path + strlen("./");
    if (buf_append_str(out, ":(exclude,literal)") < 0 ||
        buf_append(out, path, strlen(path) + 1) < 0)
        return err_set(err, ERR_LIMIT, "there are more files of over 2 GiB than can be left out");
    struct err note;
    err_set(&note, 0, "'%.1000s' is not in the commit: it has more than 2 GiB", path);
    err_print(&note, "codex-agent commit");
    return 0;
}

/* What cannot be looked at, git says itself. */
static void ignore(void *arg, const char *path, const char *why)
{
}

int huge_files_exclude(const char *dir, struct buf *out, struct err *err)
{
    const struct walk_callbacks callbacks = {.entry = look_at, .left_out = ignore, .arg = out};
    AUTO_FD int top = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return top < 0 ? err_errno(err, "cannot open '%s'", dir) : walk_tree(top, ".", &callbacks, err);
}
