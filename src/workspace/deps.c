#include "workspace/deps.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fnv.h"
#include "base/str.h"
#include "workspace/deps_each.h"

static bool (*const kinds[])(const struct deps_place *place) = {
    deps_node,  deps_python, deps_cargo, deps_go,    deps_bundler, deps_composer,
    deps_maven, deps_gradle, deps_make,  deps_cmake, deps_meson,
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

struct search {
    const char *top;
    const struct deps_probe *probe;
    struct deps_plan *plan;
    bool for_files; /* not for commands: see deps_mix_files() */
    int directories;
};

static void mix(struct deps_plan *plan, const void *bytes, size_t len)
{
    plan->fingerprint = fnv_add(plan->fingerprint, bytes, len);
}

static void mix_string(struct deps_plan *plan, const char *s)
{
    mix(plan, s, strlen(s) + 1);
}

static void add(struct deps_plan *plan, char *line, const char *dir, const char *found)
{
    if (plan->count == DEPS_COMMANDS_MAX) {
        plan->cut = true;
        free(line);
        return;
    }
    mix_string(plan, dir);
    mix_string(plan, line);
    plan->commands[plan->count++] =
        (struct deps_command){.line = line, .dir = str_dup(dir), .found = found};
}

void deps_add(const struct deps_place *place, const char *found, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *line = NULL;
    if (vasprintf(&line, format, args) < 0)
        abort();
    va_end(args);
    add(place->plan, line, place->dir, found);
}

void deps_use(const char *line, struct deps_plan *plan)
{
    add(plan, str_dup(line), ".", NULL);
}

/* deps_mix_files() would miss another. */
static void check_known(const char *name)
{
    for (size_t i = 0; i < DEPS_FILES; i++)
        if (!strcmp(name, deps_files[i].name))
            return;
    abort();
}

bool deps_read(const struct deps_place *place, const char *name, struct buf *text)
{
    check_known(name);
    buf_clear(text);
    if (!scan_read_top(place->path, name, text))
        return false;
    mix_string(place->plan, place->dir);
    mix_string(place->plan, name);
    mix(place->plan, text->data, text->len);
    return true;
}

bool deps_has(const struct deps_place *place, const char *name)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 16 << 20); /* lock files of large projects have some megabytes */
    return deps_read(place, name, &text);
}

const char *deps_get_first(const struct deps_place *place, const char *program,
                           const char *install_and)
{
    return place->probe->program(place->probe->arg, program) ? "" : install_and;
}

/* What others wrote, or what is made from the sources. */
static bool is_skipped(const char *name)
{
    static const char *const names[] = {
        "node_modules", "venv",          "env",      "build",       "build-codex", "dist",
        "target",       "site-packages", "vendor",   "third_party", "__pycache__", "subprojects",
        "testdata",     "fixtures",      "examples", "example"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i]))
            return true;
    return name[0] == '.';
}

static int is_plain_directory(const struct dirent *entry)
{
    return entry->d_type == DT_DIR && !is_skipped(entry->d_name);
}

static void look(struct search *search, const char *dir, int depth, unsigned covered);

/* Directories below, in the order of their names. */
static void look_below(struct search *search, const char *path, const char *dir, int depth,
                       unsigned covered)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_plain_directory, alphasort);
    for (int i = 0; i < count; i++) {
        AUTO_FREE char *below = strcmp(dir, ".") != 0 ? str_format("%s/%s", dir, entries[i]->d_name)
                                                      : str_dup(entries[i]->d_name);
        if (search->directories < DEPS_DIRECTORIES_MAX)
            look(search, below, depth + 1, covered);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* Each returns what is covered for the directories below. */
static unsigned look_for_commands(const struct search *search, struct deps_place place,
                                  unsigned covered)
{
    place.probe = search->probe;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        place.covered = covered & 1U << kind;
        if (kinds[kind](&place))
            covered |= 1U << kind;
    }
    return covered;
}

static unsigned look_for_files(struct deps_place place, unsigned covered)
{
    unsigned here = 0;
    for (size_t i = 0; i < DEPS_FILES; i++)
        if (!(covered & deps_files[i].outermost) && deps_has(&place, deps_files[i].name))
            here |= deps_files[i].outermost;
    return covered | here;
}

static void look(struct search *search, const char *dir, int depth, unsigned covered)
{
    AUTO_FREE char *path = str_format("%s/%s", search->top, dir);
    const struct deps_place place = {.path = path, .dir = dir, .plan = search->plan};
    search->directories++;
    covered = search->for_files ? look_for_files(place, covered)
                                : look_for_commands(search, place, covered);
    if (depth < DEPS_DEPTH_MAX)
        look_below(search, path, dir, depth, covered);
}

static int look_from_top(struct search *search, struct err *err)
{
    AUTO_FD int top = open(search->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return err_errno(err, "cannot open '%s'", search->top);
    look(search, ".", 0, 0);
    return 0;
}

int deps_find(const char *dir, const struct deps_probe *probe, struct deps_plan *plan,
              struct err *err)
{
    return look_from_top(&(struct search){.top = dir, .probe = probe, .plan = plan}, err);
}

int deps_mix_files(const char *dir, struct deps_plan *plan, struct err *err)
{
    return look_from_top(&(struct search){.top = dir, .plan = plan, .for_files = true}, err);
}

void deps_plan_release(struct deps_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->commands[i].line);
        free(plan->commands[i].dir);
    }
    *plan = (struct deps_plan){0};
}
