/* The kinds of projects that deps.c asks for. For deps.c alone. */
#ifndef CODEX_WORKSPACE_DEPS_EACH_H
#define CODEX_WORKSPACE_DEPS_EACH_H

#include "workspace/deps.h"
#include "workspace/scan.h"

/* A directory, and what may be asked about it. */
struct deps_place {
    const char *path; /* to open it by */
    const char *dir;  /* relative to the top */
    bool covered;     /* a directory above has this kind: only a lock file of its own counts */
    const struct deps_probe *probe;
    struct deps_plan *plan;
};

/* Append a command for PLACE. FOUND must be static. */
void deps_add(const struct deps_place *place, const char *found, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether the file NAME, one of deps_files, is there; it becomes part of the fingerprint. */
bool deps_has(const struct deps_place *place, const char *name);

/* The same, and its first SCAN_FILE_BYTES into TEXT. */
bool deps_read(const struct deps_place *place, const char *name, struct buf *text);

/* Every file that a kind asks for by deps_has() and deps_read(). `outermost`: of these, where one is
 * there, those of the directories below it are parts of it. */
struct deps_file {
    const char *name;
    unsigned outermost; /* a bit of its own; 0: every one counts */
};
enum { DEPS_FILES = 41 };
extern const struct deps_file deps_files[DEPS_FILES];

/* PROGRAM, or what gets it first when it is not there: "INSTALL && ". */
const char *deps_get_first(const struct deps_place *place, const char *program,
                           const char *install_and);

/* Each returns whether the place has its kind, and adds what installs it. */
bool deps_node(const struct deps_place *place);
bool deps_python(const struct deps_place *place);
bool deps_cargo(const struct deps_place *place);
bool deps_go(const struct deps_place *place);
bool deps_bundler(const struct deps_place *place);
bool deps_composer(const struct deps_place *place);
bool deps_maven(const struct deps_place *place);
bool deps_gradle(const struct deps_place *place);
bool deps_make(const struct deps_place *place);
bool deps_cmake(const struct deps_place *place);
bool deps_meson(const struct deps_place *place);

#endif
