/* Stands for codex-git in tests of the spawner: its first argument is Python to run, the others are
 * its arguments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char **line = calloc((size_t)argc + 4, sizeof *line);
    if (!line || argc < 2)
        return 2;
    line[0] = "python3";
    line[1] = "-Ic";
    line[2] = "import sys; exec(sys.argv[1])";
    memcpy(line + 3, argv + 1, (size_t)argc * sizeof *line);
    execv("/usr/bin/python3", line);
    perror("fake git");
    return 127;
}
