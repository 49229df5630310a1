#include "programs/about.h"

#include <string.h>

bool about(int argc, char **argv, const char *program, void (*print_usage)(FILE *out))
{
    if (argc != 2)
        return false;
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
        printf("%s %s\n", program, CODEX_VERSION);
    else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        print_usage(stdout);
    else
        return false;
    return true;
}
