/*
 * codex-agent: everything of the platform that runs inside a sandbox, as one static program, so
 * that it runs in any image. Its first argument names the part; called as `apply_patch`, it is
 * that.
 */
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/init.h"
#include "agent/run.h"
#include "agent/tools/patch_main.h"
#include "programs/about.h"
#include "workspace/large_filter.h"
#include "workspace/steps.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name; returns the exit status */
    const char *what;
} parts[] = {
    {"init", agent_init_main, "process 1 of a sandbox: reaps, and waits"},
    {"run", agent_run_main, "the agent: works on a task with a model"},
    {"apply-patch", patch_main, "apply a patch from standard input or its argument, here"},
    {"checkout", checkout_main, "make the workspace"},
    {"setup", setup_main, "install what the repository depends on"},
    {"test", test_main, "run the repository's tests"},
    {"commit", commit_main, "make a commit and a bundle of the work"},
    {"archive", archive_main, "write the workspace as a .tar.zst"},
    {"large-files", large_filter_main, "git's filter for files in Git LFS"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: codex-agent PART [ARGUMENT]...\n");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        fprintf(out, "  %-12s %s\n", parts[i].name, parts[i].what);
}

/* The two names by which openai/codex puts it on the PATH of a model's commands. */
static bool is_apply_patch(char *path)
{
    const char *name = basename(path);
    return !strcmp(name, "apply_patch") || !strcmp(name, "applypatch");
}

int main(int argc, char **argv)
{
    if (argc && is_apply_patch(argv[0]))
        return patch_main(argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof parts[0]; i++)
        if (!strcmp(argv[1], parts[i].name))
            return parts[i].run(argc - 1, argv + 1);
    if (about(argc, argv, "codex-agent", print_usage))
        return 0;
    print_usage(stderr);
    return 2;
}
