/* Contents of files in Git LFS as a part behind a bundle: see large_files.h. */
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/large_files.h"

enum { CHUNK = 65536, HEAD_MAX = LARGE_FILE_ID_LEN + 24 /* an id, a space, a number, a newline */ };

/* The bytes of FROM from START to END to TO; ERR_PROTOCOL when they are not what ID says. */
static int copy_checked(int from, int64_t start, int64_t end, int to, const char *id,
                        struct err *err)
{
    char chunk[CHUNK], hex[SHA256_DIGEST_STRING_LENGTH];
    SHA2_CTX hash;
    SHA256Init(&hash);
    while (start < end) {
        size_t want = end - start < CHUNK ? (size_t)(end - start) : CHUNK;
        ssize_t n = pread(from, chunk, want, start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_errno(err, "cannot read a file of Git LFS")
                         : err_set(err, ERR_PROTOCOL, "a file of Git LFS ends early");
        SHA256Update(&hash, (const uint8_t *)chunk, (size_t)n);
        int status = io_write_all(to, chunk, (size_t)n, err);
        if (status < 0)
            return status;
        start += n;
    }
    SHA256End(&hash, hex);
    return strcmp(hex, id) == 0
               ? 0
               : err_set(err, ERR_PROTOCOL, "a file of Git LFS is not %s, as it should be", id);
}

static int write_head(int fd, const struct large_file *file, struct err *err)
{
    char head[HEAD_MAX + 1];
    int len = snprintf(head, sizeof head, "%s %lld\n", file->id, (long long)file->size);
    return io_write_all(fd, head, (size_t)len, err);
}

static int write_file(int fd, const char *store, const struct large_file *file, struct err *err)
{
    AUTO_FREE char *path = large_file_path(store, file);
    AUTO_FD int from = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0)
        return err_set(err, ERR_PROTOCOL, "cannot open '%s': %s", path, strerror(errno));
    int status = write_head(fd, file, err);
    return status < 0 ? status : copy_checked(from, 0, file->size, fd, file->id, err);
}

static int64_t position(int fd, struct err *err)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? err_errno(err, "cannot write files of Git LFS") : at;
}

/* Where it was before a file that is damaged. */
static int go_back(int fd, int64_t to, struct err *err)
{
    return ftruncate(fd, to) < 0 || lseek(fd, to, SEEK_SET) < 0
               ? err_errno(err, "cannot write files of Git LFS")
               : 0;
}

int large_files_write(int fd, const char *store, const struct large_files *files, struct err *err)
{
    int64_t start = position(fd, err), end = start;
    for (size_t i = 0; end >= 0 && i < files->count; i++) {
        if (!large_file_is_stored(store, &files->list[i]))
            continue;
        int status = write_file(fd, store, &files->list[i], err);
        if (status == ERR_PROTOCOL)
            status = go_back(fd, end, err);
        if (status < 0)
            return status;
        end = position(fd, err);
    }
    return end < 0 ? (int)end : end > start ? parts_end(fd, PART_LARGE_FILES, start, err) : 0;
}

int large_files_next(int fd, const struct part *part, int64_t *at, struct large_file *file,
                     struct err *err)
{
    char head[HEAD_MAX + 1];
    if (*at == part->end)
        return 0;
    ssize_t n = pread(fd, head, HEAD_MAX, *at);
    head[n > 0 ? n : 0] = '\0';
    size_t len = strcspn(head, "\n");
    bool whole = head[len] == '\n' && len > LARGE_FILE_ID_LEN + 1 && head[LARGE_FILE_ID_LEN] == ' ';
    head[len] = '\0';
    if (!whole || strspn(head, "0123456789abcdef") != LARGE_FILE_ID_LEN ||
        str_parse_int(head + LARGE_FILE_ID_LEN + 1, 1, part->end, &file->size) < 0 ||
        file->size > part->end - *at - (int64_t)len - 1)
        return err_set(err, ERR_PROTOCOL, "malformed bundle: a file of Git LFS cannot be read");
    snprintf(file->id, sizeof file->id, "%.*s", LARGE_FILE_ID_LEN, head);
    *at += (int64_t)len + 1 + file->size;
    return 1;
}

struct place {
    const char *store;
    bool durable;
};

static int store_file(int fd, int64_t start, const struct place *place,
                      const struct large_file *file, struct err *err)
{
    AUTO_FREE char *path = NULL;
    AUTO_FD int to = large_file_create(place->store, &path, err);
    if (to < 0)
        return to;
    int status = copy_checked(fd, start, start + file->size, to, file->id, err);
    if (status == 0)
        status = large_file_keep(to, path, place->store, file, place->durable, err);
    if (status < 0)
        unlink(path);
    return status;
}

/* All that the parts of FD have, by FN. */
static int each(int fd,
                int (*fn)(int fd, int64_t start, const struct large_file *, void *, struct err *),
                void *arg, struct err *err)
{
    struct parts parts;
    struct large_file file;
    int status = parts_read(fd, &parts, err);
    size_t count = 0;
    for (size_t i = 0; status == 0 && i < parts.count; i++) {
        const struct part *part = &parts.list[i];
        int64_t at = part->start;
        if (part->kind != PART_LARGE_FILES)
            continue;
        while (status == 0 && (status = large_files_next(fd, part, &at, &file, err)) > 0)
            status =
                ++count > LARGE_FILES_MAX
                    ? err_set(err, ERR_PROTOCOL, "more than %d files of Git LFS", LARGE_FILES_MAX)
                    : fn(fd, at - file.size, &file, arg, err);
    }
    return status;
}

static int list_one(int fd, int64_t start, const struct large_file *file, void *arg,
                    struct err *err)
{
    (void)fd;
    (void)start;
    return large_files_add(arg, file, err);
}

int large_files_list(int fd, struct large_files *files, struct err *err)
{
    *files = (struct large_files){0};
    return each(fd, list_one, files, err);
}

static int take_one(int fd, int64_t start, const struct large_file *file, void *arg,
                    struct err *err)
{
    const struct place *place = arg;
    return large_file_is_stored(place->store, file) ? 0 : store_file(fd, start, place, file, err);
}

int large_files_take(int fd, const char *store, bool durable, struct err *err)
{
    struct place place = {store, durable};
    return each(fd, take_one, &place, err);
}

struct destination {
    int fd;
    bool any;
    struct large_files *wanted;
};

/* Each that is wanted once; then it is so no more. */
static bool take_wanted(struct large_files *wanted, const struct large_file *file)
{
    struct large_file *found = large_files_search(wanted, file);
    if (!found || found->size != file->size)
        return false;
    found->size = -1;
    return true;
}

static int copy_one(int fd, int64_t start, const struct large_file *file, void *arg,
                    struct err *err)
{
    struct destination *to = arg;
    if (!take_wanted(to->wanted, file))
        return err_set(err, ERR_PROTOCOL, "a file of Git LFS is there that no new commit names");
    int status = write_head(to->fd, file, err);
    to->any = true;
    return status < 0 ? status : copy_checked(fd, start, start + file->size, to->fd, file->id, err);
}

int large_files_copy(int from, int to, struct large_files *wanted, struct err *err)
{
    struct destination destination = {.fd = to, .wanted = wanted};
    int64_t start = position(to, err);
    int status = start < 0 ? (int)start : each(from, copy_one, &destination, err);
    return status < 0 || !destination.any ? status : parts_end(to, PART_LARGE_FILES, start, err);
}
