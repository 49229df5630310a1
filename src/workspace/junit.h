/*
 * JUnit XML files, as Maven's Surefire, Gradle and many others leave them. Untrusted: parsed by
 * expat in a stream, within bounds; a document type declaration (without which there are no
 * entities to expand, and nothing outside to load) is refused.
 */
#ifndef CODEX_WORKSPACE_JUNIT_H
#define CODEX_WORKSPACE_JUNIT_H

#include <stddef.h>
#include <time.h>

#include "workspace/reader.h"

enum {
    JUNIT_FILE_MAX = 32 << 20, /* bytes */
    JUNIT_TOTAL_MAX = 128 << 20,
    JUNIT_FILES_MAX = 5000,
    JUNIT_DEPTH_MAX = 32,       /* of elements */
    JUNIT_ENTRIES_MAX = 100000, /* of the directory tree that is looked through */
};

struct junit;

/* Read one document, piece by piece, into READING. False from where it cannot be used, and the
 * reading is broken then. A document of another kind changes nothing. */
struct junit *junit_new(struct reading *reading);
bool junit_feed(struct junit *junit, const char *bytes, size_t len);
bool junit_end(struct junit *junit);
void junit_free(struct junit *junit);

/* Read all such files below DIR that were written SINCE then: regular files named *.xml, no link
 * followed, those in node_modules and hidden directories left out. */
void junit_read_tree(const char *dir, const struct timespec *since, struct reading *reading);

#endif
