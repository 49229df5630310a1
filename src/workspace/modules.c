#include "workspace/modules.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/repository.h"
#include "workspace/fresh.h"

enum {
    LIST_MAX = 256 << 20, /* bytes of an index as text */
    PLACES_MAX = 64,      /* where submodules are put, each commit maybe at several */
    LEVELS_MAX = 4,
    UNPACK_TIMEOUT_MS = 1800000,
};

/* The commits that came along. */
struct modules {
    const struct step *step;
    int fd;
    struct parts parts;
    char commits[PARTS_MAX][OBJECT_ID_SIZE]; /* of the parts; "" for what is none */
    size_t places;
};

static void say(const char *path, const struct err *err)
{
    struct err line = *err;
    err_context(&line, "submodule '%s' could not be checked out", path);
    err_print(&line, "codex-agent");
}

/* What was left out on the way here. */
static void say_notes(int fd, const struct part *part)
{
    struct err err;
    AUTO_BUF struct buf text;
    buf_init(&text, PART_NOTES_MAX);
    if (parts_read_notes(fd, part, &text, &err) < 0)
        return;
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n")) && *line;)
        step_note(line);
}

static bool open_modules(struct modules *modules, const struct step *step, int fd, bool first)
{
    struct err err;
    size_t count = 0;
    *modules = (struct modules){.step = step, .fd = fd};
    if (!step_has_input(step, fd) || parts_read(fd, &modules->parts, &err) < 0)
        return false;
    for (size_t i = 0; i < modules->parts.count; i++) {
        struct bundle bundle = {0};
        const struct part *part = &modules->parts.list[i];
        if (part->kind == PART_NOTES && first)
            say_notes(fd, part);
        else if (part->kind == PART_MODULE && bundle_read_part(fd, part, &bundle, &err) == 0) {
            memcpy(modules->commits[i], bundle.commit, OBJECT_ID_SIZE);
            count++;
        }
        bundle_release(&bundle);
    }
    return count > 0;
}

static const struct part *find_part(const struct modules *modules, const char *commit)
{
    for (size_t i = 0; i < modules->parts.count; i++)
        if (!strcmp(modules->commits[i], commit))
            return &modules->parts.list[i];
    return NULL;
}

const char *modules_next(const struct buf *list, const char **at, char sha[OBJECT_ID_SIZE])
{
    static const char gitlink[] = "160000 ";
    const size_t before = sizeof gitlink - 1;
    while (*at < list->data + list->len) {
        const char *line = *at, *path = strchr(line, '\t');
        *at += strlen(line) + 1;
        if (strncmp(line, gitlink, before) || !path || path < line + before + OBJECT_ID_LEN)
            continue;
        memcpy(sha, line + before, OBJECT_ID_LEN);
        sha[OBJECT_ID_LEN] = '\0';
        return path + 1;
    }
    return NULL;
}

static int list_index(const char *git_dir, struct buf *list, struct err *err)
{
    AUTO_FREE char *index = str_format("GIT_INDEX_FILE=%s/index", git_dir);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "ls-files", "--stage", "-z", NULL);
    git_env(&git, index);
    git.out = list;
    return git_must(&git, err);
}

/* A repository at COMMIT in DIR, an empty directory. */
static int build(const struct modules *modules, const struct part *part, const char *dir,
                 struct err *err)
{
    const struct bundle_options options = {.timeout_ms = UNPACK_TIMEOUT_MS};
    AUTO_FREE char *git_dir = str_format("%s/.git", dir);
    struct bundle bundle = {0};
    int status = bundle_read_part(modules->fd, part, &bundle, err);
    if (status == 0)
        status = fresh_init(dir, "main", err);
    if (status == 0)
        status = bundle_unpack(&bundle, modules->fd, git_dir, &options, err);
    if (status == 0)
        status = fresh_head(git_dir, bundle.commit, false, err);
    if (status == 0)
        status = fresh_identity(modules->step, git_dir, err);
    if (status == 0)
        status = fresh_files(dir, git_dir, err);
    bundle_release(&bundle);
    return status;
}

/* The same where it stays empty when that fails. */
static int put(struct modules *modules, const struct part *part, const char *dir, struct err *err)
{
    struct stat st;
    if (modules->places == PLACES_MAX)
        return err_set(err, ERR_LIMIT, "there are more than %d places", PLACES_MAX);
    modules->places++;
    /* git has made it, and checked the way there: no part of it is a link. */
    if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_REFUSED, "it is no directory");
    int status = build(modules, part, dir, err);
    struct err ignored;
    if (status < 0 && io_remove_tree_at(AT_FDCWD, dir, &ignored) == 0)
        mkdir(dir, 0755);
    return status;
}

/* `git submodule` of DIR takes PATH, which is there, for one that is in use. */
static int activate(const char *dir, const char *path, struct err *err)
{
    AUTO_FREE char *git_dir = str_format("%s/.git", dir);
    AUTO_FREE char *pattern = str_format(":(literal)%s", path);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--add", "submodule.active", pattern, NULL);
    return git_must(&git, err);
}

/* To COMMIT, which is above or below where it is. */
static int move(const char *dir, const char *git_dir, const char *commit, struct err *err)
{
    struct repository_name names[] = {{.name = "HEAD"}, {.name = commit}};
    int status = repository_look_up(git_dir, names, 2, err);
    if (status < 0 || !strcmp(names[0].sha, commit))
        return status;
    if (!*names[1].sha)
        return err_set(err, ERR_NOT_FOUND, "commit %s is not here", commit);
    status = fresh_head(git_dir, commit, false, err);
    return status < 0 ? status : fresh_files(dir, git_dir, err);
}

static void check_out_level(struct modules *modules, const char *dir, int level)
{
    struct err err;
    char sha[OBJECT_ID_SIZE];
    AUTO_FREE char *git_dir = str_format("%s/.git", dir);
    AUTO_BUF struct buf list;
    buf_init(&list, LIST_MAX);
    if (list_index(git_dir, &list, &err) < 0)
        return;
    const char *path, *at = list.data;
    while ((path = modules_next(&list, &at, sha))) {
        AUTO_FREE char *below = str_format("%s/%s", dir, path);
        AUTO_FREE char *below_git = str_format("%s/.git", below);
        const struct part *part = find_part(modules, sha);
        bool is_there = access(below_git, F_OK) == 0;
        int status = is_there ? move(below, below_git, sha, &err)
                     : part   ? put(modules, part, below, &err)
                              : 1;
        if (status == 0 && !is_there)
            status = activate(dir, path, &err);
        if (status < 0)
            say(path, &err);
        if (status == 0 && level < LEVELS_MAX)
            check_out_level(modules, below, level + 1);
    }
}

void modules_check_out(const struct step *step, const char *dir, int fd, bool first)
{
    struct modules *modules = calloc(1, sizeof *modules);
    if (!modules)
        abort();
    if (open_modules(modules, step, fd, first))
        check_out_level(modules, dir, 1);
    free(modules);
}
