#include "workspace/unfetched.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/command.h"
#include "git/large_files.h"
#include "workspace/step.h"

enum { ANSWER_MAX = 1 << 20, SHOWN = 200 };

/* Whether the submodule PATH of the work tree DIR is there. */
static bool is_fetched(const char *dir, const char *path)
{
    AUTO_FREE char *git_dir = str_format("%s/%s/.git", dir, path);
    return access(git_dir, F_OK) == 0;
}

/* How many lines git prints for the command, 0 when it fails, without those that are submodules in DIR. Those
 * that fit, each without what stands before the first space, go to NAMES. */
static size_t count_lines(struct git_command *git, const char *dir, struct buf *names)
{
    AUTO_BUF struct buf answer;
    struct err ignored;
    size_t count = 0;
    buf_init(&answer, ANSWER_MAX);
    git->out = &answer;
    if (git_run(git, &ignored) != 0)
        return 0;
    for (char *rest = answer.data, *line; (line = strsep(&rest, "\n")) && *line;) {
        const char *from = strchr(line, ' ') ? strchr(line, ' ') + 1 : line;
        if (is_fetched(dir, from))
            continue;
        count++;
        if (names->len + strlen(from) + 2 > SHOWN)
            continue;
        buf_appendf(names, "%s%s", names->len ? ", " : "", from);
    }
    return count;
}

static void say_submodules(const char *git_dir, const char *dir)
{
    AUTO_BUF struct buf names;
    struct git_command git;
    buf_init(&names, SHOWN);
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--no-includes", "--blob", "HEAD:.gitmodules", "--get-regexp",
             "^submodule\\..*\\.path$", NULL);
    size_t count = count_lines(&git, dir, &names);
    AUTO_FREE char *text = str_format("%zu submodule%s not fetched, and empty: %s", count,
                                      count == 1 ? "" : "s", names.data);
    if (count)
        step_note(text);
}

static void say_large_files(const char *git_dir)
{
    struct err ignored;
    struct large_files files = {0};
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, git_dir);
    size_t missing = 0;
    if (!large_files_are_used(git_dir, "HEAD"))
        return;
    if (large_files_find(git_dir, "HEAD", NULL, &files, &ignored) == 0)
        missing = large_files_count_missing(store, &files);
    large_files_release(&files);
    AUTO_FREE char *text = str_format(
        "%zu file%s in Git LFS not fetched: %s in %s place", missing, missing == 1 ? "" : "s",
        missing == 1 ? "a pointer is" : "pointers are", missing == 1 ? "its" : "their");
    if (missing)
        step_note(text);
}

void unfetched_say(const char *git_dir, const char *dir)
{
    say_submodules(git_dir, dir);
    say_large_files(git_dir);
}
