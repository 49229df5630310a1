#include "git/bundle.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/command.h"

enum {
    HEADER_MAX = 262144, /* bytes: BUNDLE_SHALLOW_MAX lines and room to spare */
    PACK_HEADER = 12,    /* "PACK", version, number of objects: gitformat-pack(5) */
};

static const char signature[] = "# v2 git bundle\n";

void bundle_release(struct bundle *bundle)
{
    free(bundle->shallow);
    *bundle = (struct bundle){0};
}

/* What the file has from START on, with at least the whole header if that is as small as it should
 * be. */
static int read_start(int fd, int64_t start, int64_t end, struct buf *out, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(err, "cannot read the bundle");
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_PROTOCOL, "the bundle is not a regular file");
    size_t want = (uint64_t)(end - start) < out->max ? (size_t)(end - start) : out->max;
    while (out->len < want) {
        char *room = buf_reserve(out, want - out->len);
        ssize_t n = pread(fd, room, want - out->len, (off_t)(start + (int64_t)out->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot read the bundle");
        if (n == 0)
            break;
        buf_wrote(out, (size_t)n);
    }
    return 0;
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_PROTOCOL, "malformed bundle: %s", what);
}

/* 40 hexadecimal digits at LINE into SHA. */
static bool take_sha(const char *line, char sha[OBJECT_ID_SIZE])
{
    memcpy(sha, line, strnlen(line, OBJECT_ID_LEN));
    sha[OBJECT_ID_LEN] = '\0';
    return strnlen(line, OBJECT_ID_LEN) == OBJECT_ID_LEN && object_id_valid(sha);
}

int bundle_add_shallow(struct bundle *bundle, const char *sha, struct err *err)
{
    if (bundle->shallow_count == BUNDLE_SHALLOW_MAX)
        return err_set(err, ERR_LIMIT, "more than %d shallow commits", BUNDLE_SHALLOW_MAX);
    if (!bundle->shallow)
        bundle->shallow = calloc(BUNDLE_SHALLOW_MAX, sizeof bundle->shallow[0]);
    if (!bundle->shallow)
        abort();
    memcpy(bundle->shallow[bundle->shallow_count++], sha, OBJECT_ID_SIZE);
    return 0;
}

/* One line of the header, without its end. */
static int parse_line(struct bundle *bundle, const char *ref, const char *line, struct err *err)
{
    char sha[OBJECT_ID_SIZE];
    bool prerequisite = line[0] == '-';
    line += prerequisite;
    if (!take_sha(line, sha))
        return malformed(err, "a line without an object id");
    const char *rest = line + OBJECT_ID_LEN;
    if (*rest != ' ' && !(prerequisite && *rest == '\0'))
        return malformed(err, "an object id without a name");
    if (prerequisite) {
        if (*bundle->base)
            return malformed(err, "it depends on several commits");
        memcpy(bundle->base, sha, sizeof sha);
        return 0;
    }
    if (str_starts_with(rest + 1, BUNDLE_REF_SHALLOW))
        return bundle_add_shallow(bundle, sha, err);
    if (strcmp(rest + 1, ref) || *bundle->commit)
        return malformed(err, "an unexpected ref");
    memcpy(bundle->commit, sha, sizeof sha);
    return 0;
}

static int parse_header(struct bundle *bundle, const char *ref, struct buf *start, struct err *err)
{
    if (!str_starts_with(start->data, signature))
        return malformed(err, "it does not start as one");
    char *line = start->data + sizeof signature - 1;
    for (;;) {
        char *end = strchr(line, '\n');
        if (!end)
            return malformed(err, "its header does not end");
        if (end == line)
            break;
        *end = '\0';
        int status = parse_line(bundle, ref, line, err);
        if (status < 0)
            return status;
        line = end + 1;
    }
    if (!*bundle->commit)
        return malformed(err, "it has no commit");
    bundle->pack_offset = line + 1 - start->data;
    return 0;
}

static int parse_pack_header(struct bundle *bundle, const struct buf *start, struct err *err)
{
    if (start->len - (size_t)bundle->pack_offset < PACK_HEADER)
        return malformed(err, "it has no pack");
    const char *pack = start->data + bundle->pack_offset;
    uint32_t version, objects;
    memcpy(&version, pack + 4, sizeof version);
    memcpy(&objects, pack + 8, sizeof objects);
    if (memcmp(pack, "PACK", 4) != 0 || be32toh(version) != 2)
        return malformed(err, "its pack is of an unknown kind");
    bundle->objects = be32toh(objects);
    return 0;
}

static int read_range(int fd, const char *ref, int64_t from, int64_t to, struct bundle *bundle,
                      struct err *err)
{
    *bundle = (struct bundle){0};
    AUTO_BUF struct buf start;
    buf_init(&start, HEADER_MAX);
    int status = read_start(fd, from, to, &start, err);
    if (status == 0)
        status = parse_header(bundle, ref, &start, err);
    if (status == 0)
        status = parse_pack_header(bundle, &start, err);
    bundle->pack_offset += from;
    bundle->pack_end = to;
    return status;
}

int bundle_read(int fd, const char *ref, struct bundle *bundle, struct err *err)
{
    struct parts parts;
    *bundle = (struct bundle){0};
    int status = parts_read(fd, &parts, err);
    return status < 0 ? status : read_range(fd, ref, 0, parts.base_end, bundle, err);
}

int bundle_read_part(int fd, const struct part *part, struct bundle *bundle, struct err *err)
{
    int status = read_range(fd, BUNDLE_REF_MODULE, part->start, part->end, bundle, err);
    if (status == 0 && *bundle->base)
        status = malformed(err, "a submodule's depends on something");
    return status;
}

/* gitformat-repository-layout(5): `shallow` lists the commits that are to look parentless. */
static int write_shallow(const struct bundle *bundle, const char *git_dir, struct err *err)
{
    if (!bundle->shallow_count)
        return 0;
    AUTO_BUF struct buf lines;
    buf_init(&lines, BUNDLE_SHALLOW_MAX * (OBJECT_ID_LEN + 1));
    for (size_t i = 0; i < bundle->shallow_count; i++)
        buf_appendf(&lines, "%s\n", bundle->shallow[i]);
    AUTO_FREE char *path = str_format("%s/shallow", git_dir);
    return io_replace_file_at(AT_FDCWD, path, lines.data, lines.len, 0644, err);
}

int bundle_unpack(const struct bundle *bundle, int fd, const char *git_dir,
                  const struct bundle_options *options, struct err *err)
{
    int status = write_shallow(bundle, git_dir, err);
    if (status < 0)
        return status;
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    /* Large files pass through git instead of being held by it. */
    git_setting(&git, "core.bigFileThreshold=16m");
    if (!options->durable)
        git_setting(&git, "core.fsync=none");
    git_args(&git, "index-pack", "--stdin", "--fix-thin", NULL);
    if (options->strict)
        git_args(&git, "--strict", NULL);
    char size_max[64];
    if (options->size_max) {
        snprintf(size_max, sizeof size_max, "--max-input-size=%llu",
                 (unsigned long long)options->size_max);
        git_args(&git, size_max, NULL);
    }
    git.input_fd = fd;
    git.input_offset = bundle->pack_offset;
    git.input_end = bundle->pack_end;
    git.memory_max = options->memory_max;
    git.timeout_ms = options->timeout_ms;
    return git_must(&git, err);
}

/* A file of the packs of GIT_DIR: git takes a pack by any name, if its index has the same. */
static int open_pack_file(const char *git_dir, const char *name, int flags, struct err *err)
{
    AUTO_FREE char *path = str_format("%s/objects/pack/%s", git_dir, name);
    int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC, 0444);
    return fd < 0 ? err_errno(err, "cannot open '%s'", path) : fd;
}

/* The last bytes of a pack are its checksum, and an index has that before its own: gitformat-pack(5). */
static bool index_fits(const struct bundle *bundle, int fd, int index)
{
    enum { CHECKSUM = 20 };
    char of_pack[CHECKSUM], of_index[CHECKSUM];
    struct stat index_st;
    return fstat(index, &index_st) == 0 &&
           pread(fd, of_pack, CHECKSUM, bundle->pack_end - CHECKSUM) == CHECKSUM &&
           pread(index, of_index, CHECKSUM, index_st.st_size - 2 * CHECKSUM) == CHECKSUM &&
           !memcmp(of_pack, of_index, CHECKSUM);
}

static int place(const struct bundle *bundle, int fd, int index, const char *git_dir,
                 struct err *err)
{
    int status = write_shallow(bundle, git_dir, err);
    if (status < 0)
        return status;
    AUTO_FD int pack = open_pack_file(git_dir, "pack-base.pack", O_WRONLY | O_CREAT | O_EXCL, err);
    status = pack < 0 ? pack : io_copy(fd, bundle->pack_offset, bundle->pack_end, pack, err);
    if (status < 0)
        return status;
    AUTO_FD int copy = open_pack_file(git_dir, "pack-base.idx", O_WRONLY | O_CREAT | O_EXCL, err);
    return copy < 0 ? copy : io_copy(index, 0, -1, copy, err);
}

int bundle_take(const struct bundle *bundle, int fd, int index, const char *git_dir,
                const struct bundle_options *options, struct err *err)
{
    return index && index_fits(bundle, fd, index)
               ? place(bundle, fd, index, git_dir, err)
               : bundle_unpack(bundle, fd, git_dir, options, err);
}

int bundle_index(const struct bundle *bundle, int fd, int index, const char *git_dir,
                 const struct bundle_options *options, struct err *err)
{
    int status = bundle_unpack(bundle, fd, git_dir, options, err);
    if (status < 0)
        return status;
    AUTO_FREE char *path = str_format("%s/objects/pack", git_dir);
    AUTO_DIR DIR *packs = opendir(path);
    struct dirent *entry;
    while (packs && (entry = readdir(packs)))
        if (str_ends_with(entry->d_name, ".idx"))
            break;
    if (!packs)
        return err_errno(err, "cannot open '%s'", path);
    if (!entry)
        return err_set(err, -EIO, "git index-pack left no index in '%s'", path);
    AUTO_FD int made = open_pack_file(git_dir, entry->d_name, O_RDONLY, err);
    status = made < 0 ? made : io_copy(made, 0, -1, index, err);
    return status < 0 ? status : io_sync(index, err);
}

static int write_header(const struct bundle *bundle, const char *ref, int fd, struct err *err)
{
    AUTO_BUF struct buf header;
    buf_init(&header, HEADER_MAX);
    buf_append_str(&header, signature);
    if (*bundle->base)
        buf_appendf(&header, "-%s\n", bundle->base);
    buf_appendf(&header, "%s %s\n", bundle->commit, ref);
    for (size_t i = 0; i < bundle->shallow_count; i++)
        buf_appendf(&header, "%s " BUNDLE_REF_SHALLOW "%zu\n", bundle->shallow[i], i + 1);
    buf_append_char(&header, '\n');
    if (io_write_all(fd, header.data, header.len, err) < 0)
        return err_context(err, "bundle");
    return 0;
}

int bundle_write(const struct bundle *bundle, const char *ref, const char *git_dir, int fd,
                 int64_t timeout_ms, struct err *err)
{
    int status = write_header(bundle, ref, fd, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf revisions;
    buf_init(&revisions, 256);
    buf_appendf(&revisions, "%s\n", bundle->commit);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset", NULL);
    if (*bundle->base) {
        buf_appendf(&revisions, "^%s\n", bundle->base);
        git_args(&git, "--thin", NULL);
    }
    git.input = revisions.data;
    git.input_len = revisions.len;
    git.out_fd = fd;
    git.timeout_ms = timeout_ms;
    status = git_must(&git, err);
    return status < 0 ? status : io_sync(fd, err);
}
