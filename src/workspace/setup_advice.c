#include "workspace/setup_advice.h"

#include <stdlib.h>
#include <string.h>

static bool has_any(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcasestr(text, *words))
            return true;
    return false;
}

/* As npm, pip, cargo, go, apt, curl and Maven say that they reached nobody. */
static bool is_about_network(const char *output)
{
    static const char *const words[] = {"ENOTFOUND",
                                        "ECONNREFUSED",
                                        "EAI_AGAIN",
                                        "ETIMEDOUT",
                                        "Could not resolve",
                                        "name resolution",
                                        "Name or service not known",
                                        "Network is unreachable",
                                        "no such host",
                                        "UnknownHostException",
                                        "Connection refused",
                                        "Tunnel connection failed",
                                        "CONNECT tunnel failed",
                                        "403 Forbidden",
                                        NULL};
    return has_any(output, words);
}

static bool is_about_disk(const char *output)
{
    static const char *const words[] = {"No space left on device", "ENOSPC", NULL};
    return has_any(output, words);
}

static bool is_about_lock(const char *output)
{
    static const char *const words[] = {"lock file", "lockfile", "package-lock.json", "Cargo.lock",
                                        NULL};
    return has_any(output, words);
}

static const char *what_to_try(const struct supervised_end *end, const char *output)
{
    if (end->timed_out)
        return "it took too long: raise test_timeout in codex.conf, or install less with --setup";
    if (end->exit_code == 127)
        return "a program is not in the sandbox: install it on this machine, or in a line "
               "'setup = …' of .codex/environment.conf";
    if (is_about_disk(output))
        return "the sandbox's disk is full: disk in [sandbox] of codex.conf limits it";
    if (is_about_network(output))
        return "an address could not be reached from the sandbox: see [internet] in codex.conf(5)";
    if (is_about_lock(output))
        return "does the lock file fit? run the command in a fresh clone of yours and commit what "
               "it changes";
    return "does it work in a fresh clone of yours? what to run instead is said by --setup, or "
           "'setup = …' in .codex/environment.conf; --setup true runs nothing";
}

void setup_advice(const struct deps_command *command, const struct supervised_end *end,
                  const char *output_tail, struct buf *out)
{
    buf_appendf(out, "'%.200s'", command->line);
    if (strcmp(command->dir, ".") != 0)
        buf_appendf(out, " in '%.200s'", command->dir);
    if (command->found)
        buf_appendf(out, " (for %s)", command->found);
    if (end->timed_out)
        buf_append_str(out, " was ended at its time limit");
    else if (end->signal)
        buf_appendf(out, " was killed by signal %d", end->signal);
    else
        buf_appendf(out, " failed with status %d", end->exit_code);
    buf_appendf(out, ": %s", what_to_try(end, output_tail));
}
