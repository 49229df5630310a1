/* Where a repository keeps contents of files in Git LFS: see large_files.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/large_files.h"

char *large_file_path(const char *store, const struct large_file *file)
{
    return str_format("%s/objects/%.2s/%.2s/%s", store, file->id, file->id + 2, file->id);
}

bool large_file_is_stored(const char *store, const struct large_file *file)
{
    struct stat st;
    AUTO_FREE char *path = large_file_path(store, file);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == file->size;
}

size_t large_files_count_missing(const char *store, const struct large_files *files)
{
    size_t missing = 0;
    for (size_t i = 0; i < files->count; i++)
        missing += !large_file_is_stored(store, &files->list[i]);
    return missing;
}

int large_file_create(const char *store, char **path, struct err *err)
{
    AUTO_FREE char *directory = str_format("%s/tmp", store);
    AUTO_FREE char *name = str_format("%s/XXXXXX", directory);
    *path = NULL;
    int status = io_make_dirs(directory, 0755, err);
    if (status < 0)
        return status;
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot create a file in '%s'", directory);
    *path = steal_pointer(&name);
    return fd;
}

static int sync_directory(const char *path, struct err *err)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open '%s'", path) : io_sync(fd, err);
}

int large_file_keep(int fd, const char *path, const char *store, const struct large_file *file,
                    bool durable, struct err *err)
{
    AUTO_FREE char *to = large_file_path(store, file);
    AUTO_FREE char *directory = str_format("%.*s", (int)(strrchr(to, '/') - to), to);
    int status = io_make_dirs(directory, 0755, err);
    if (status == 0 && durable)
        status = io_sync(fd, err);
    if (status < 0)
        return status;
    if (fchmod(fd, 0444) < 0 || rename(path, to) < 0)
        return err_errno(err, "cannot rename '%s'", path);
    return durable ? sync_directory(directory, err) : 0;
}
