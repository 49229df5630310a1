/* The finders of tests, one a kind of project. For find.c alone. */
#ifndef CODEX_WORKSPACE_FIND_EACH_H
#define CODEX_WORKSPACE_FIND_EACH_H

#include "workspace/find.h"
#include "workspace/scan.h"

/* What a finder looks at. */
struct find_input {
    const char *dir; /* the workspace */
    const struct scan *scan;
    const struct test_probe *probe;
};

/* Each fills PLAN when it has found its kind of tests, and leaves it alone otherwise. */
void find_node(const struct find_input *input, struct test_plan *plan);
void find_python(const struct find_input *input, struct test_plan *plan);
void find_make(const struct find_input *input, struct test_plan *plan);
void find_cargo(const struct find_input *input, struct test_plan *plan);
void find_go(const struct find_input *input, struct test_plan *plan);
void find_cmake(const struct find_input *input, struct test_plan *plan);
void find_java(const struct find_input *input, struct test_plan *plan);
void find_meson(const struct find_input *input, struct test_plan *plan);

#endif
