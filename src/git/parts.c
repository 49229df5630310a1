#include "git/parts.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static const char trailer_start[] = "\ncodex-part ";

/* The trailer that ends at END, into PART; false when there is none. */
static bool read_trailer(int fd, int64_t end, struct part *part)
{
    char text[PART_TRAILER + 1] = "";
    size_t before = sizeof trailer_start - 1;
    if (end < PART_TRAILER || pread(fd, text, PART_TRAILER, end - PART_TRAILER) != PART_TRAILER ||
        memcmp(text, trailer_start, before) != 0)
        return false;
    char kind = text[before];
    const char *digits = text + before + 2;
    if ((kind != PART_MODULE && kind != PART_LARGE_FILES && kind != PART_NOTES) ||
        text[before + 1] != ' ' || strspn(digits, "0123456789abcdef") != 16 || digits[16] != '\n')
        return false;
    *part = (struct part){(enum part_kind)kind, (int64_t)strtoull(digits, NULL, 16),
                          end - PART_TRAILER};
    return part->start >= 0 && part->start <= part->end;
}

static void reverse(struct parts *parts)
{
    for (size_t i = 0; i < parts->count / 2; i++) {
        struct part other = parts->list[i];
        parts->list[i] = parts->list[parts->count - 1 - i];
        parts->list[parts->count - 1 - i] = other;
    }
}

int parts_read(int fd, struct parts *parts, struct err *err)
{
    struct stat st;
    struct part part;
    *parts = (struct parts){0};
    if (fstat(fd, &st) < 0)
        return err_errno(err, "cannot read the bundle");
    int64_t end = st.st_size;
    for (; read_trailer(fd, end, &part); end = part.start) {
        if (parts->count == PARTS_MAX)
            return err_set(err, ERR_PROTOCOL, "malformed bundle: more than %d parts", PARTS_MAX);
        parts->list[parts->count++] = part;
    }
    parts->base_end = end;
    reverse(parts);
    return 0;
}

int parts_end(int fd, enum part_kind kind, int64_t start, struct err *err)
{
    char text[PART_TRAILER + 1];
    snprintf(text, sizeof text, "%s%c %016llx\n", trailer_start, kind, (unsigned long long)start);
    return io_write_all(fd, text, PART_TRAILER, err);
}

int parts_copy(int from, int to, struct err *err)
{
    struct parts parts;
    int status = parts_read(from, &parts, err);
    for (size_t i = 0; i < parts.count && status == 0; i++) {
        off_t start = lseek(to, 0, SEEK_CUR);
        if (start < 0)
            return err_errno(err, "cannot write the bundle of a submodule");
        const struct part *part = &parts.list[i];
        status = io_copy(from, part->start, part->end, to, err);
        if (status == 0)
            status = parts_end(to, part->kind, start, err);
    }
    return status;
}

int parts_read_notes(int fd, const struct part *part, struct buf *out, struct err *err)
{
    char text[PART_NOTES_MAX];
    size_t len = (size_t)(part->end - part->start);
    if (len > sizeof text || pread(fd, text, len, part->start) != (ssize_t)len)
        return err_set(err, ERR_PROTOCOL, "malformed bundle: its notes cannot be read");
    return buf_append(out, text, len);
}
