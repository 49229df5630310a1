/*
 * Stands for codex-agent in tests of the runner: its init is the real one; every other part runs a
 * function of the bash script on descriptor 0: step_<part>. So a test writes what each step does,
 * instead of a task.json.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/init.h"

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "init"))
        return agent_init_main(argc - 1, argv + 1);
    if (argc == 2)
        execl("/bin/bash", "bash", "-c", ". /dev/fd/0; step_\"$0\"", argv[1], (char *)NULL);
    perror("fake agent");
    return 127;
}
