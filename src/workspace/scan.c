#include "workspace/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

/* What others wrote, or what is made from the sources: not this repository's tests. */
static const char *const skipped[] = {"node_modules", "venv",       "env",           "build",
                                      "dist",         "target",     "site-packages", "vendor",
                                      "__pycache__",  "third_party"};

enum { READ_BYTES = 65536 };

struct place {
    int dir;
    const char *path; /* relative; "" for the top */
    int depth;
    bool package; /* every directory from the top to here has an __init__.py */
};

bool scan_read(int dir, const char *name, struct buf *out)
{
    struct stat st;
    struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    AUTO_FD int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    while (out->len < out->max) {
        /* In pieces: OUT's maximum may be far more than there is. */
        size_t left = out->max - out->len, piece = left < READ_BYTES ? left : READ_BYTES;
        ssize_t n = read(fd, buf_reserve(out, piece), piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        buf_wrote(out, (size_t)n);
    }
    return true;
}

bool scan_read_top(const char *dir, const char *name, struct buf *out)
{
    AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && scan_read(fd, name, out);
}

bool scan_has(const char *dir, const char *name)
{
    struct stat st;
    AUTO_FREE char *path = str_format("%s/%s", dir, name);
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool scan_exists(const char *dir, const char *name)
{
    struct stat st;
    AUTO_FREE char *path = str_format("%s/%s", dir, name);
    return lstat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool scan_has_line(const char *text, const char *prefix)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (str_starts_with(line, prefix))
            return true;
        if (!*line)
            return false;
    }
    return false;
}

static void look_at_python_test(struct scan *scan, const char *text)
{
    static const char *const functions[] = {"def test_", "async def test_", "import pytest",
                                            "from pytest"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (scan_has_line(text, functions[i]))
            scan->uses_pytest = true;
    if (strstr(text, "TestCase") || scan_has_line(text, "import unittest") ||
        scan_has_line(text, "from unittest"))
        scan->uses_unittest = true;
    else if (scan_has_line(text, "class Test"))
        scan->uses_pytest = true;
}

static int depth_of(const char *path)
{
    int depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

/* Discovery begins at the top when tests are there or in packages, else in the outermost directory
 * that has some. */
static void note_start(struct scan *scan, const struct place *place)
{
    bool better = !*scan->python_start || (strcmp(scan->python_start, ".") != 0 &&
                                           depth_of(place->path) < depth_of(scan->python_start));
    if (!*place->path || place->package)
        strcpy(scan->python_start, ".");
    else if (better && strlen(place->path) < sizeof scan->python_start)
        strcpy(scan->python_start, place->path);
}

static bool is_java_test(const char *name)
{
    static const char *const ends[] = {"Test.java", "Tests.java", "TestCase.java", "Test.kt",
                                       "Tests.kt"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (str_ends_with(name, ends[i]))
            return true;
    return str_starts_with(name, "Test") && str_ends_with(name, ".java");
}

static void look_at_file(struct scan *scan, const struct place *place, const char *name)
{
    bool prefix = str_starts_with(name, "test_") && str_ends_with(name, ".py");
    bool python = prefix || str_ends_with(name, "_test.py");
    bool meson = !strcmp(name, "meson.build") && !scan->meson_tests;
    if (!strcmp(name, "conftest.py"))
        scan->conftest = true;
    if (str_ends_with(name, "_test.go"))
        scan->go_tests = true;
    if (is_java_test(name))
        scan->java_tests = true;
    if (!python && !meson)
        return;
    AUTO_BUF struct buf text;
    buf_init(&text, SCAN_FILE_BYTES);
    if (scan->files_read++ >= SCAN_FILES_READ_MAX || !scan_read(place->dir, name, &text))
        return;
    if (meson) {
        scan->meson_tests = scan_has_line(text.data, "test(") || strstr(text.data, " test(");
        return;
    }
    scan->python_tests = true;
    scan->python_prefix |= prefix;
    look_at_python_test(scan, text.data);
    note_start(scan, place);
}

static bool skip_directory(const char *name)
{
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++)
        if (!strcmp(name, skipped[i]))
            return true;
    return name[0] == '.';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in the directory DIR, sorted, at most MAX of them. Returns their number; the caller
 * frees each and the array. */
static size_t read_names(int dir, size_t max, char ***names)
{
    size_t count = 0, room = 0;
    *names = NULL;
    AUTO_DIR DIR *stream = fdopendir(dup(dir));
    struct dirent *entry;
    while (stream && count < max && (entry = readdir(stream))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            *names = reallocarray(*names, room, sizeof **names);
            if (!*names)
                abort();
        }
        (*names)[count++] = str_dup(entry->d_name);
    }
    if (count)
        qsort(*names, count, sizeof **names, by_name);
    return count;
}

static void walk(struct scan *scan, const struct place *place);

/* What is a directory is walked, a link is not followed. */
static void look_at_entry(struct scan *scan, const struct place *place, const char *name)
{
    struct stat st;
    if (scan->entries++ >= SCAN_ENTRIES_MAX ||
        fstatat(place->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (S_ISREG(st.st_mode)) {
        look_at_file(scan, place, name);
        return;
    }
    if (!S_ISDIR(st.st_mode) || skip_directory(name) || place->depth == SCAN_DEPTH_MAX)
        return;
    AUTO_FD int dir = openat(place->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return;
    AUTO_FREE char *path = *place->path ? str_format("%s/%s", place->path, name) : str_dup(name);
    bool init = faccessat(dir, "__init__.py", F_OK, 0) == 0;
    const struct place below = {dir, path, place->depth + 1, place->package && init};
    walk(scan, &below);
}

static void walk(struct scan *scan, const struct place *place)
{
    char **names;
    size_t count = read_names(place->dir, (size_t)(SCAN_ENTRIES_MAX - scan->entries), &names);
    for (size_t i = 0; i < count; i++) {
        look_at_entry(scan, place, names[i]);
        free(names[i]);
    }
    free(names);
}

int scan_tree(const char *dir, struct scan *scan, struct err *err)
{
    *scan = (struct scan){0};
    AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", dir);
    const struct place top = {fd, "", 0, true};
    walk(scan, &top);
    return 0;
}
