#include "workspace/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "workspace/hardlinks.h"
#include "workspace/sparse.h"

enum {
    CHUNK = 131072,
    XATTR_NAMES_MAX = 65536, /* XATTR_LIST_MAX of the kernel */
    XATTR_VALUE_MAX = 65536, /* XATTR_SIZE_MAX of the kernel */
};

static const size_t hole_step = INT_MAX & ~(size_t)4095; /* bytes of a hole passed over at once */

struct pack {
    struct archive *archive;
    struct archive_entry *entry;
    struct hardlinks links;
    struct err write_error; /* of the descriptor */
    int fd;
    const char *hole; /* nothing but zeros, hole_step of them, and no memory */
    char chunk[CHUNK];
};

static la_ssize_t write_out(struct archive *archive, void *arg, const void *bytes, size_t len)
{
    struct pack *pack = arg;
    int status = io_write_all(pack->fd, bytes, len, &pack->write_error);
    if (status < 0) {
        archive_set_error(archive, -status, "%s", pack->write_error.message);
        return -1;
    }
    return (la_ssize_t)len;
}

/* What libarchive says, as our error. */
static int failed(struct pack *pack, struct err *err)
{
    const char *why = archive_error_string(pack->archive);
    return err_set(err, -EIO, "archive: %s", why ? why : "cannot be written");
}

static int open_archive(struct pack *pack, struct err *err)
{
    struct archive *archive = pack->archive;
    /* Names that are UTF-8 are stored as such; without a UTF-8 locale every other than ASCII would
     * be marked as bytes of no known set, at which GNU tar complains. */
    setlocale(LC_CTYPE, "C.UTF-8");
    if (archive_write_set_format_pax(archive) != ARCHIVE_OK ||
        archive_write_add_filter_zstd(archive) != ARCHIVE_OK ||
        archive_write_set_options(archive, "zstd:compression-level=3") != ARCHIVE_OK ||
        archive_write_set_options(archive, "pax:xattrheader=SCHILY") != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
        archive_write_open(archive, pack, NULL, write_out, NULL) != ARCHIVE_OK)
        return failed(pack, err);
    return 0;
}

struct pack *pack_new(int fd, struct err *err)
{
    struct pack *pack = calloc(1, sizeof *pack);
    if (!pack)
        abort();
    pack->fd = fd;
    pack->archive = archive_write_new();
    pack->entry = archive_entry_new();
    void *hole =
        mmap(NULL, hole_step, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pack->hole = hole == MAP_FAILED ? NULL : hole;
    hardlinks_init(&pack->links);
    if (!pack->archive || !pack->entry || !pack->hole)
        abort();
    if (open_archive(pack, err) < 0) {
        pack_free(pack);
        return NULL;
    }
    return pack;
}

void pack_free(struct pack *pack)
{
    if (!pack)
        return;
    archive_entry_free(pack->entry);
    archive_write_free(pack->archive);
    hardlinks_release(&pack->links);
    munmap((void *)pack->hole, hole_step);
    free(pack);
}

/* The user.* attributes; everything else is the file system's or the sandbox's business. */
static void add_xattrs(struct pack *pack, int fd)
{
    AUTO_FREE char *names = malloc(XATTR_NAMES_MAX);
    AUTO_FREE char *value = malloc(XATTR_VALUE_MAX);
    if (!names || !value)
        abort();
    ssize_t len = flistxattr(fd, names, XATTR_NAMES_MAX);
    for (const char *name = names; len > 0 && name < names + len; name += strlen(name) + 1) {
        if (!str_starts_with(name, "user."))
            continue;
        ssize_t size = fgetxattr(fd, name, value, XATTR_VALUE_MAX);
        if (size >= 0)
            archive_entry_xattr_add_entry(pack->entry, name, value, (size_t)size);
    }
}

/* Owners are numbers of the sandbox: a name would be that of somebody else wherever it is
 * unpacked. */
static void describe(struct pack *pack, const char *path, const struct stat *st)
{
    struct archive_entry *entry = pack->entry;
    archive_entry_clear(entry);
    archive_entry_copy_pathname(entry, path);
    archive_entry_set_mode(entry, st->st_mode);
    archive_entry_set_uid(entry, st->st_uid);
    archive_entry_set_gid(entry, st->st_gid);
    archive_entry_set_mtime(entry, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    archive_entry_set_size(entry, S_ISREG(st->st_mode) ? st->st_size : 0);
}

static int write_header(struct pack *pack, struct err *err)
{
    int status = archive_write_header(pack->archive, pack->entry);
    /* A name that is not UTF-8 is stored as it is; the warning about that is not one. */
    return status < ARCHIVE_WARN ? failed(pack, err) : 0;
}

/* LENGTH bytes of FD from OFFSET. What a shrinking or unreadable file no longer has becomes zeros:
 * the header has promised the length. */
static int write_data(struct pack *pack, int fd, int64_t offset, int64_t length, struct err *err)
{
    while (length > 0) {
        size_t want = length < CHUNK ? (size_t)length : CHUNK;
        ssize_t n = pread(fd, pack->chunk, want, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            memset(pack->chunk, 0, want);
            n = (ssize_t)want;
        }
        if (archive_write_data(pack->archive, pack->chunk, (size_t)n) != n)
            return failed(pack, err);
        offset += n;
        length -= n;
    }
    return 0;
}

/* libarchive drops what lies in a hole, but wants to be given it. */
static int skip_hole(struct pack *pack, int64_t length, struct err *err)
{
    while (length > 0) {
        size_t want = length < (int64_t)hole_step ? (size_t)length : hole_step;
        la_ssize_t n = archive_write_data(pack->archive, pack->hole, want);
        if (n <= 0)
            return failed(pack, err);
        length -= n;
    }
    return 0;
}

static int write_sparse(struct pack *pack, int fd, const struct sparse_map *map, struct err *err)
{
    for (size_t i = 0; i < map->count; i++)
        archive_entry_sparse_add_entry(pack->entry, map->extents[i].offset, map->extents[i].length);
    if (!map->count)
        archive_entry_sparse_add_entry(pack->entry, 0, 0);
    int status = write_header(pack, err);
    int64_t at = 0;
    /* The map of a file is written with its first byte, even if there is nothing but a hole. */
    if (status == 0 && !map->count)
        status = skip_hole(pack, 1, err);
    for (size_t i = 0; status == 0 && i < map->count; i++) {
        const struct extent *extent = &map->extents[i];
        status = skip_hole(pack, extent->offset - at, err);
        if (status == 0)
            status = write_data(pack, fd, extent->offset, extent->length, err);
        at = extent->offset + extent->length;
    }
    return status;
}

static int write_contents(struct pack *pack, int fd, const struct stat *st, struct err *err)
{
    struct sparse_map map = {0};
    int status;
    if (sparse_possible(st) && sparse_map_read(fd, st->st_size, &map))
        status = write_sparse(pack, fd, &map, err);
    else if ((status = write_header(pack, err)) == 0)
        status = write_data(pack, fd, 0, st->st_size, err);
    sparse_map_release(&map);
    return status;
}

static int add_file(struct pack *pack, const struct walk_entry *entry, struct err *err)
{
    /* Not blocking: it may have become a FIFO since it was looked at. */
    AUTO_FD int fd =
        openat(entry->dir, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set(err, 0, "%s", strerror(errno));
        return 0;
    }
    if (!S_ISREG(st.st_mode)) {
        err_set(err, 0, "it changed meanwhile");
        return 0;
    }
    describe(pack, entry->path, &st);
    const char *first = st.st_nlink > 1 ? hardlinks_meet(&pack->links, &st, entry->path) : NULL;
    int status;
    if (first) {
        archive_entry_copy_hardlink(pack->entry, first);
        archive_entry_set_size(pack->entry, 0);
        status = write_header(pack, err);
    } else {
        add_xattrs(pack, fd);
        status = write_contents(pack, fd, &st, err);
    }
    return status < 0 ? status : 1;
}

static int add_link(struct pack *pack, const struct walk_entry *entry, struct err *err)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(entry->dir, entry->name, target, sizeof target - 1);
    if (n < 0) {
        err_set(err, 0, "%s", strerror(errno));
        return 0;
    }
    target[n] = '\0';
    describe(pack, entry->path, &entry->st);
    archive_entry_copy_symlink(pack->entry, target);
    int status = write_header(pack, err);
    return status < 0 ? status : 1;
}

static int add_plain(struct pack *pack, const struct walk_entry *entry, struct err *err)
{
    describe(pack, entry->path, &entry->st);
    if (S_ISDIR(entry->st.st_mode))
        add_xattrs(pack, entry->dir);
    int status = write_header(pack, err);
    return status < 0 ? status : 1;
}

int pack_add(struct pack *pack, const struct walk_entry *entry, struct err *err)
{
    int status;
    switch (entry->st.st_mode & S_IFMT) {
    case S_IFREG:
        status = add_file(pack, entry, err);
        break;
    case S_IFLNK:
        status = add_link(pack, entry, err);
        break;
    case S_IFDIR:
    case S_IFIFO:
        status = add_plain(pack, entry, err);
        break;
    default:
        err_set(err, 0, "sockets and devices are not archived");
        return 0;
    }
    if (status > 0 && archive_write_finish_entry(pack->archive) < ARCHIVE_WARN)
        return failed(pack, err);
    return status;
}

int pack_finish(struct pack *pack, uint64_t *size_bytes, struct err *err)
{
    if (archive_write_close(pack->archive) != ARCHIVE_OK)
        return failed(pack, err);
    *size_bytes = (uint64_t)archive_filter_bytes(pack->archive, 0);
    return 0;
}
