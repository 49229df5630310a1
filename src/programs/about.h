/* What every program answers about itself. */
#ifndef CODEX_PROGRAMS_ABOUT_H
#define CODEX_PROGRAMS_ABOUT_H

#include <stdbool.h>
#include <stdio.h>

/* Is the one argument --help, -h, --version or -V? Then answer on standard output, and the program
 * ends with status 0. */
bool about(int argc, char **argv, const char *program, void (*print_usage)(FILE *out));

#endif
