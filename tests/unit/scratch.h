/* For tests about what stands in a directory: an empty one for each test. */
#ifndef CODEX_TESTS_UNIT_SCRATCH_H
#define CODEX_TESTS_UNIT_SCRATCH_H

#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

static char scratch[] = "/tmp/codex-test-XXXXXX";

static inline int scratch_make(void)
{
    strcpy(scratch + strlen(scratch) - 6, "XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    struct err err;
    return io_remove_tree_at(AT_FDCWD, scratch, &err);
}

/* A file there, in directories that are made. */
static inline void put(const char *name, const char *text)
{
    struct err err;
    AUTO_FREE char *path = str_format("%s/%s", scratch, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(io_make_dirs(path, 0755, &err), 0);
    *slash = '/';
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(io_write_all(fd, text, strlen(text), &err), 0);
}

#endif
