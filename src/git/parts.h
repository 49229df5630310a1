/*
 * What comes along in the file of a base bundle, behind it: bundles of the commits of submodules,
 * and notes about what was left out.
 *
 *     base bundle
 *     part, trailer
 *     part, trailer …
 *
 * A trailer is PART_TRAILER bytes of text, "\ncodex-part M 0000000000001234\n": what kind of part it
 * ends, and the offset (hexadecimal) in the file at which that starts. So who reads the bundle alone
 * needs to know nothing of it, and parts are added without touching what is there.
 */
#ifndef CODEX_GIT_PARTS_H
#define CODEX_GIT_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum part_kind {
    PART_MODULE = 'M',      /* a bundle of BUNDLE_REF_MODULE that depends on nothing */
    PART_LARGE_FILES = 'L', /* contents of files in Git LFS: git/large_files.h */
    PART_NOTES = 'N',       /* lines of text, of at most PART_NOTES_MAX bytes */
};

enum { PARTS_MAX = 64, PART_NOTES_MAX = 32768, PART_TRAILER = 31 };

struct part {
    enum part_kind kind;
    int64_t start, end; /* offsets in the file; the trailer is not in it */
};

struct parts {
    struct part list[PARTS_MAX]; /* in the order of the file */
    size_t count;
    int64_t base_end; /* where what is before all parts ends */
};

/* Find the parts of the regular file FD; a file without any is fine. ERR_PROTOCOL for more than
 * PARTS_MAX, and for trailers that contradict the file. */
int parts_read(int fd, struct parts *parts, struct err *err);

/* End the part of FD that starts at START, at the end of the file, where FD is. */
int parts_end(int fd, enum part_kind kind, int64_t start, struct err *err);

/* Append the parts of FROM to TO, a file whose position is at its end. */
int parts_copy(int from, int to, struct err *err);

/* The text of the notes in PART into OUT. */
int parts_read_notes(int fd, const struct part *part, struct buf *out, struct err *err);

#endif
