#include "orchestrator/modules.h"

#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/large_files.h"
#include "orchestrator/repo.h"

void modules_init(struct modules *modules)
{
    *modules = (struct modules){0};
    buf_init(&modules->notes, PART_NOTES_MAX);
}

void modules_release(struct modules *modules)
{
    for (size_t i = 0; i < modules->count; i++) {
        free(modules->list[i].url);
        free(modules->list[i].path);
    }
    buf_release(&modules->notes);
    *modules = (struct modules){0};
}

static void leave_out(struct modules *modules, const char *path, const char *why)
{
    AUTO_FREE char *line = str_format("submodule '%s' was left out: %s\n", path, why);
    buf_append_str(&modules->notes, line); /* what does not fit is not missed */
}

void modules_leave_out(struct modules *modules, const struct module *module, bool passing,
                       const char *why)
{
    leave_out(modules, module->path, why);
    modules->incomplete |= passing;
}

static bool is_known(const struct modules *modules, const char *commit, const char *url)
{
    for (size_t i = 0; i < modules->count; i++)
        if (!strcmp(modules->list[i].commit, commit) && !strcmp(modules->list[i].url, url))
            return true;
    return false;
}

static bool is_there(const struct modules *modules, const char *commit)
{
    for (size_t i = 0; i < modules->count; i++)
        if (modules->list[i].there && !strcmp(modules->list[i].commit, commit))
            return true;
    return false;
}

size_t modules_next_missing(const struct modules *modules, size_t index)
{
    while (index < modules->count && is_there(modules, modules->list[index].commit))
        index++;
    return index;
}

static void take_module(struct modules *modules, const struct orchestrator *o, const char *repo,
                        const struct module *parent, const char *commit, const char *url,
                        const char *path)
{
    struct err err;
    AUTO_FREE char *text = NULL;
    int depth = parent ? parent->depth + 1 : 1;
    bool stranger = parent && parent->stranger;
    if (depth > MODULES_DEPTH_MAX)
        leave_out(modules, path, "it is nested too deep");
    else if (repo_check_module(o, repo, url, &text, &stranger, &err) < 0)
        leave_out(modules, path, err.message);
    else if (is_known(modules, commit, text))
        return;
    else if (modules->count == MODULES_MAX)
        leave_out(modules, path, "there are too many");
    else {
        struct module *module = &modules->list[modules->count++];
        *module = (struct module){.url = steal_pointer(&text),
                                  .path = str_dup(path),
                                  .depth = depth,
                                  .stranger = stranger};
        memcpy(module->commit, commit, OBJECT_ID_SIZE);
    }
}

/* "module <commit> <address> <path>", "note <text>" or "passing <text>"; anything else is none of ours. */
static void take_line(struct modules *modules, const struct orchestrator *o, const char *repo,
                      const struct module *parent, char *line)
{
    const char *word = strsep(&line, " ");
    bool passing = line && !strcmp(word, "passing");
    if (line && (passing || !strcmp(word, "note"))) {
        modules->incomplete |= passing;
        AUTO_FREE char *text = str_format("%s\n", line);
        buf_append_str(&modules->notes, text);
        return;
    }
    const char *commit = line ? strsep(&line, " ") : NULL;
    const char *url = line ? strsep(&line, " ") : NULL;
    if (line && !strcmp(word, "module") && object_id_valid(commit))
        take_module(modules, o, repo, parent, commit, url, line);
}

void modules_take(struct modules *modules, const struct orchestrator *o, const char *repo,
                  const struct module *parent, const char *lines)
{
    AUTO_FREE char *copy = str_dup(lines);
    char *rest = copy;
    for (char *line; (line = strsep(&rest, "\n"));)
        take_line(modules, o, repo, parent, line);
}

int modules_write_notes(const struct modules *modules, const char *path, int64_t written,
                        struct err *err)
{
    if (!modules->notes.len)
        return 0;
    AUTO_FD int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, written) < 0 || lseek(fd, written, SEEK_SET) < 0)
        return err_errno(err, "cannot open '%s'", path);
    int status = io_write_all(fd, modules->notes.data, modules->notes.len, err);
    return status < 0 ? status : parts_end(fd, PART_NOTES, written, err);
}

/* What of PART counts into the name, into HASH; false when there is nothing. */
static bool hash_part(int fd, const struct part *part, SHA2_CTX *hash)
{
    struct err ignored;
    struct bundle bundle = {0};
    struct large_file file;
    bool any = false;
    if (part->kind == PART_MODULE && bundle_read_part(fd, part, &bundle, &ignored) == 0) {
        SHA256Update(hash, (const uint8_t *)bundle.commit, sizeof bundle.commit);
        any = true;
    }
    bundle_release(&bundle);
    int64_t at = part->start;
    int count = 0; /* a submitter's own process writes it */
    while (part->kind == PART_LARGE_FILES && count++ < LARGE_FILES_MAX &&
           large_files_next(fd, part, &at, &file, &ignored) > 0) {
        SHA256Update(hash, (const uint8_t *)file.id, sizeof file.id);
        any = true;
    }
    return any;
}

void modules_name(const struct orchestrator *o, const char *task_id, char out[MODULES_NAME_SIZE])
{
    struct parts parts = {0};
    struct err ignored;
    bool any = false;
    SHA2_CTX hash;
    AUTO_FREE char *path = orchestrator_task_file(o, task_id, "base.bundle");
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    out[0] = '\0';
    if (fd < 0 || parts_read(fd, &parts, &ignored) < 0)
        return;
    SHA256Init(&hash);
    for (size_t i = 0; i < parts.count; i++)
        any |= hash_part(fd, &parts.list[i], &hash);
    if (any)
        SHA256End(&hash, out);
}
