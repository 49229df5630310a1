#include "attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ATTEMPT_SECONDS = 60 };

static void report(const struct attempt *attempt, int wait_status)
{
    printf("case %d %s: ", attempt->number, attempt->name);
    if (WIFSIGNALED(wait_status))
        printf("killed %s\n", sigabbrev_np(WTERMSIG(wait_status)));
    else if (WEXITSTATUS(wait_status))
        printf("refused %s\n", strerrorname_np(WEXITSTATUS(wait_status)));
    else
        printf("allowed\n");
}

static bool is_wanted(const char *name)
{
    const char *words = getenv("ATTACK_ONLY");
    const char *found = words ? words : "";
    size_t len = strlen(name);
    while ((found = strstr(found, name))) {
        bool begins = found == words || found[-1] == ' ';
        found += len;
        if (begins && (*found == ' ' || !*found))
            return true;
    }
    return !words;
}

int attempt_all(const struct attempt *attempts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(attempts[i].name))
            continue;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(ATTEMPT_SECONDS);
            errno = 0;
            _exit(attempts[i].run() < 0 ? errno : 0);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) < 0) {
            perror("cannot make an attempt");
            return 1;
        }
        report(&attempts[i], status);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

int attempt_process(void)
{
    const char *process = getenv("ATTACK_PROCESS");
    return process ? atoi(process) : 1;
}

int attempt_open_proc(const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", attempt_process(), name);
    return open(path, flags | O_CLOEXEC);
}
