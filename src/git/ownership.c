#include "git/ownership.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether others than root can change ST. In a sticky directory nobody renames what is root's. */
static bool is_shared(const struct stat *st, bool is_last)
{
    if (st->st_uid != 0)
        return true;
    if (S_ISLNK(st->st_mode) || (!is_last && S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
        return false;
    return (st->st_mode & S_IWOTH) || (st->st_mode & S_IWGRP && st->st_gid != 0);
}

static int check_one(const char *path, bool is_last, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return err_errno(err, "cannot open '%s'", path);
    if (is_shared(&st, is_last))
        return err_set(err, ERR_REFUSED,
                       "others than root can change '%s', so root does not work below it: submit "
                       "the task as the user whose repository it is",
                       path);
    return 0;
}

int ownership_check(const char *path, struct err *err)
{
    char above[PATH_MAX];
    if (geteuid() != 0)
        return 0;
    int status = check_one("/", false, err);
    for (const char *slash = path; status == 0 && slash;) {
        slash = strchr(slash + 1, '/');
        size_t len = slash ? (size_t)(slash - path) : strlen(path);
        if (len >= sizeof above)
            return err_set(err, -ENAMETOOLONG, "path too long");
        memcpy(above, path, len);
        above[len] = '\0';
        status = check_one(above, !slash, err);
    }
    return status;
}
