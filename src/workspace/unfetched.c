#include "workspace/unfetched.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/command.h"
#include "workspace/step.h"

enum { ANSWER_MAX = 1 << 20, SHOWN = 200 };

/* Whether the submodule PATH of the work tree DIR is there. */
static bool is_fetched(const char *dir, const char *path)
{
    AUTO_FREE char *git_dir = str_format("%s/%s/.git", dir, path);
    return access(git_dir, F_OK) == 0;
}

/* How many lines git prints for the command, 0 when it fails. Those that fit, each without what
 * stands before the first SKIP, go to NAMES. DIR: those that are submodules in it are none. */
static size_t count_lines(struct git_command *git, char skip, const char *dir, struct buf *names)
{
    AUTO_BUF struct buf answer;
    struct err ignored;
    size_t count = 0;
    buf_init(&answer, ANSWER_MAX);
    git->out = &answer;
    if (git_run(git, &ignored) != 0)
        return 0;
    for (char *rest = answer.data, *line; (line = strsep(&rest, "\n")) && *line;) {
        const char *from = skip && strchr(line, skip) ? strchr(line, skip) + 1 : line;
        if (dir && is_fetched(dir, from))
            continue;
        count++;
        if (names->len + strlen(from) + 2 > SHOWN)
            continue;
        buf_appendf(names, "%s%s", names->len ? ", " : "", from);
    }
    return count;
}

static void say(size_t count, const char *what, const char *lacks, const struct buf *names)
{
    if (!count)
        return;
    AUTO_FREE char *text =
        str_format("%zu %s%s %s: %s", count, what, count == 1 ? "" : "s", lacks, names->data);
    step_note(text);
}

static void say_submodules(const char *git_dir, const char *dir)
{
    AUTO_BUF struct buf names;
    struct git_command git;
    buf_init(&names, SHOWN);
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--no-includes", "--blob", "HEAD:.gitmodules", "--get-regexp",
             "^submodule\\..*\\.path$", NULL);
    size_t count = count_lines(&git, ' ', dir, &names);
    say(count, "submodule", "not fetched, and empty", &names);
}

static void say_large_files(const char *git_dir)
{
    AUTO_BUF struct buf names;
    struct git_command git;
    buf_init(&names, SHOWN);
    git_command_init(&git, git_dir, NULL);
    /* The attributes of any directory; a path is printed as "HEAD:path". */
    git_args(&git, "grep", "--files-with-matches", "-e", "filter=lfs", "HEAD", "--",
             ":(top,glob)**/.gitattributes", NULL);
    size_t count = count_lines(&git, ':', NULL, &names);
    say(count, "attribute file",
        "put files into Git LFS, which are not fetched: pointers are in "
        "their place",
        &names);
}

void unfetched_say(const char *git_dir, const char *dir)
{
    say_submodules(git_dir, dir);
    say_large_files(git_dir);
}
