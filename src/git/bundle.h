/*
 * Bundles: how commits travel between repositories that do not see each other. The format is git's
 * (gitformat-bundle(5), version 2): a few lines of text, then a pack.
 *
 * A base bundle has refs/codex/base, and nothing that it depends on. A work bundle has
 * refs/codex/work and depends on the base commit; one of what the base branch has got since has
 * refs/codex/moved, and depends on it, too. When the repository is a shallow clone, the base
 * bundle also names the commits whose parents are missing, as refs/codex/shallow/N. A module bundle,
 * of a submodule's commit, has refs/codex/module and depends on nothing; it comes behind a base
 * bundle in the same file (git/parts.h).
 *
 * Bundles are read at offsets, so that one open file can serve several processes at once.
 */
#ifndef CODEX_GIT_BUNDLE_H
#define CODEX_GIT_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/object_id.h"
#include "git/parts.h"

#define BUNDLE_REF_BASE    "refs/codex/base"
#define BUNDLE_REF_WORK    "refs/codex/work"
#define BUNDLE_REF_MOVED   "refs/codex/moved"
#define BUNDLE_REF_MODULE  "refs/codex/module"
#define BUNDLE_REF_SHALLOW "refs/codex/shallow/"

enum { BUNDLE_SHALLOW_MAX = 1000 };

struct bundle {
    char commit[OBJECT_ID_SIZE];
    char base[OBJECT_ID_SIZE];       /* what it depends on; "" for nothing */
    char (*shallow)[OBJECT_ID_SIZE]; /* commits whose parents are missing */
    size_t shallow_count;
    /* of a bundle that was read */
    int64_t pack_offset, pack_end; /* in the file */
    uint32_t objects;              /* as the pack's header claims */
};

/* Read the header of the bundle FD, a regular file. REF: the one that it must have. Anything that
 * the above does not say is ERR_PROTOCOL. Release it also after a failure. */
int bundle_read(int fd, const char *ref, struct bundle *bundle, struct err *err);
void bundle_release(struct bundle *bundle);

/* The same of a PART_MODULE. */
int bundle_read_part(int fd, const struct part *part, struct bundle *bundle, struct err *err);

/* Add a shallow commit; ERR_LIMIT past BUNDLE_SHALLOW_MAX. */
int bundle_add_shallow(struct bundle *bundle, const char *sha, struct err *err);

/* How a pack is taken. */
struct bundle_options {
    bool strict;         /* refuse objects that git-fsck(1) calls an error */
    bool durable;        /* wait for the disk; for repositories that outlive the task */
    uint64_t size_max;   /* bytes of the pack; 0: no limit */
    uint64_t memory_max; /* bytes of git's address space; 0: no limit */
    int64_t timeout_ms;
};

/* Put the objects of the bundle FD into the repository GIT_DIR, and remember what is shallow. */
int bundle_unpack(const struct bundle *bundle, int fd, const char *git_dir,
                  const struct bundle_options *options, struct err *err);

/* The same by INDEX, without a look at a single object: for a bundle that is unpacked again and again.
 * As without one when INDEX is 0, or of another bundle (also of one with the same commits). */
int bundle_take(const struct bundle *bundle, int fd, int index, const char *git_dir,
                const struct bundle_options *options, struct err *err);

/* Write the pack index of the bundle FD, which depends on nothing, to the file INDEX: the time that
 * bundle_unpack() takes. GIT_DIR: an empty repository, which has the objects afterwards. */
int bundle_index(const struct bundle *bundle, int fd, int index, const char *git_dir,
                 const struct bundle_options *options, struct err *err);

/* Write to FD, as REF, what BUNDLE's commit in GIT_DIR has and its base has not. */
int bundle_write(const struct bundle *bundle, const char *ref, const char *git_dir, int fd,
                 int64_t timeout_ms, struct err *err);

#endif
