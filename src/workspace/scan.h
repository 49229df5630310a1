/*
 * What the files of a workspace look like: one bounded walk for everything that the finders of
 * tests ask about files below the top directory.
 */
#ifndef CODEX_WORKSPACE_SCAN_H
#define CODEX_WORKSPACE_SCAN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    SCAN_DEPTH_MAX = 12,
    SCAN_ENTRIES_MAX = 50000,
    SCAN_FILES_READ_MAX = 500,
    SCAN_FILE_BYTES = 65536, /* read of one file; also of a file of the top directory */
    SCAN_START_MAX = 256,
};

struct scan {
    bool conftest;      /* a conftest.py anywhere */
    bool python_tests;  /* test_*.py or *_test.py */
    bool python_prefix; /* of the first kind: what unittest finds by itself */
    bool uses_pytest;   /* a test file imports pytest, or has tests outside of a TestCase */
    bool uses_unittest; /* a test file imports unittest or has a TestCase */
    char python_start[SCAN_START_MAX]; /* where unittest's discovery begins, relative; "." is the
                                          top */
    bool go_tests;
    bool java_tests; /* by the names that Surefire and Gradle's users go by; also Kotlin's */
    bool meson_tests;
    /* private */
    int entries, files_read;
};

/* Walk the directory DIR, in the order of names. Past a bound the rest is left out: what was seen
 * by then decides. */
int scan_tree(const char *dir, struct scan *scan, struct err *err);

/* The file NAME of the directory DIR into OUT, up to OUT's maximum; false when it is no regular
 * file, a link that leads out of DIR, or cannot be read. Never blocks. */
bool scan_read(int dir, const char *name, struct buf *out);

/* The same by the path of the directory. */
bool scan_read_top(const char *dir, const char *name, struct buf *out);

/* Whether NAME is a regular file, or a link to one, in the directory DIR. */
bool scan_has(const char *dir, const char *name);

/* Whether there is anything of that NAME in the directory DIR, also a link that leads nowhere. */
bool scan_exists(const char *dir, const char *name);

/* Whether TEXT has a line that starts with PREFIX. */
bool scan_has_line(const char *text, const char *prefix);

#endif
