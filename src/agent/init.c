#include "agent/init.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int agent_init_main(int argc, char **argv)
{
    if (argc != 1) {
        fprintf(stderr, "usage: codex-agent init\n");
        return 2;
    }
    /* Whoever started the sandbox supervises it: with him it ends, even when he is killed. (He runs
     * outside the pid namespace, so there is no parent's pid to compare in case he is dead already;
     * then the spawner cleans up.) */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Container root, which may be a task's set-up, cannot trace it either. */
    prctl(PR_SET_DUMPABLE, 0);
    /* Who waits for us sees the end of his pipe; and nothing that we were given can be taken from
     * us. */
    close_range(0, ~0U, 0);
    /* Blocked signals wait for sigwaitinfo(): none is lost between the reaping and the waiting. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            continue;
        siginfo_t info;
        int signal = sigwaitinfo(&all, &info);
        /* The kernel gives 0 for a sender in an outer pid namespace. */
        if (signal == SIGTERM && info.si_pid == 0)
            return 0;
    }
}
