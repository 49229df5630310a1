#include "orchestrator/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/by_age.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "config/internet.h"
#include "orchestrator/internal.h"

enum {
    BUNDLES_KEPT = 64,
    ROOM_MB = 256, /* what a task may well need until it is archived */
};

char *orchestrator_task_file(const struct orchestrator *o, const char *task_id, const char *name)
{
    return str_format("%s/server/tasks/%s/%s", o->state_dir, task_id, name);
}

char *files_work_bundle(const struct orchestrator *o, const char *task_id, uint32_t run)
{
    return str_format("%s/server/tasks/%s/work-%u.bundle", o->state_dir, task_id, run);
}

char *files_events(const struct orchestrator *o, const char *task_id, uint32_t run)
{
    return str_format("%s/server/tasks/%s/events-%u.jsonl", o->state_dir, task_id, run);
}

char *files_tests_before(const struct orchestrator *o, const char *task_id, uint32_t run)
{
    return str_format("%s/server/tasks/%s/tests-%u.before", o->state_dir, task_id, run);
}

char *files_tests_after(const struct orchestrator *o, const char *task_id, uint32_t run)
{
    return str_format("%s/server/tasks/%s/tests-%u.after", o->state_dir, task_id, run);
}

int files_make_dir(const struct orchestrator *o, const char *task_id, struct err *err)
{
    AUTO_FREE char *path = str_format("%s/server/tasks/%s", o->state_dir, task_id);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create directory '%s'", path);
    return 0;
}

int files_create(const char *path, int flags, struct err *err)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(err, "cannot remove '%s'", path);
    AUTO_FD int fd = open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0644) < 0)
        return err_errno(err, "cannot create '%s'", path);
    return steal_fd(&fd);
}

int files_publish(const char *from, const char *to, struct err *err)
{
    return rename(from, to) < 0 ? err_errno(err, "cannot rename to '%s'", to) : 0;
}

bool files_exist(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
}

int files_check_room(const struct orchestrator *o, struct err *err)
{
    struct statvfs fs;
    if (statvfs(o->state_dir, &fs) < 0)
        return err_errno(err, "cannot look at the disk of '%s'", o->state_dir);
    unsigned long long mb = (unsigned long long)fs.f_bavail * fs.f_frsize >> 20;
    if (mb >= ROOM_MB)
        return 0;
    return err_set(err, -ENOSPC, "only %llu MB are left on the disk of '%s': free at least %d MB",
                   mb, o->state_dir, ROOM_MB);
}

char *files_bundle_key(const struct orchestrator *o, uint32_t uid, const char *repo,
                       const char *commit)
{
    char hex[SHA256_DIGEST_STRING_LENGTH];
    AUTO_BUF struct buf text;
    buf_init(&text, CONFIG_INTERNET_JSON_MAX);
    buf_appendf(&text, "%s\n%lld\n", repo, (long long)o->config->large_files_bytes);
    config_internet_json(o->config, &text);
    SHA256Data((const uint8_t *)text.data, text.len, hex);
    return str_format("%u-%.32s-%s", uid, hex, commit);
}

char *files_bundle(const struct orchestrator *o, const char *key)
{
    return str_format("%s/server/bundles/%s.bundle", o->state_dir, key);
}

char *files_bundle_index(const struct orchestrator *o, const char *key)
{
    return str_format("%s/server/bundles/%s.idx", o->state_dir, key);
}

int files_link_bundle(const struct orchestrator *o, const char *key, const char *task_id,
                      const char *name, struct err *err)
{
    AUTO_FREE char *shared = files_bundle(o, key);
    AUTO_FREE char *own = orchestrator_task_file(o, task_id, name);
    if (link(shared, own) < 0 && errno != EEXIST)
        return err_errno(err, "cannot link '%s'", shared);
    utimensat(AT_FDCWD, shared, NULL, 0); /* used now: files_trim_bundles() goes by it */
    return 0;
}

static bool is_bundle(const char *name)
{
    return str_ends_with(name, ".bundle");
}

void files_trim_bundles(const struct orchestrator *o)
{
    AUTO_FREE char *path = str_format("%s/server/bundles", o->state_dir);
    AUTO_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FREE struct by_age *bundles = NULL;
    size_t count = dir < 0 ? 0 : by_age_list(dir, is_bundle, &bundles);
    for (size_t i = BUNDLES_KEPT; i < count; i++) {
        AUTO_FREE char *key = str_dup(bundles[i].name);
        key[strlen(key) - strlen(".bundle")] = '\0';
        AUTO_FREE char *index = files_bundle_index(o, key);
        unlinkat(dir, bundles[i].name, 0);
        unlink(index);
    }
}

/* Whatever is in server/NAME and has PART in its name. */
static void remove_all(const struct orchestrator *o, const char *name, const char *part)
{
    AUTO_FREE char *path = str_format("%s/server/%s", o->state_dir, name);
    AUTO_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strstr(entry->d_name, part))
            unlinkat(dirfd(dir), entry->d_name, 0);
}

void files_remove_unfinished(const struct orchestrator *o)
{
    remove_all(o, "bundles", ".tmp-");
    remove_all(o, "uploads", "bundle-");
}

/* Whether a file of an ended task has done its duty. */
static bool is_spent(const struct task *task, const char *name)
{
    bool again = task->state == TASK_FAILED && task->fault.step &&
                 !strcmp(task->fault.step, "delivering"); /* may be: 'codex deliver' */
    bool to_push = !strcmp(name, "push.bundle") || !strcmp(name, "extra.bundle");
    return !strcmp(name, "base.bundle") || !strcmp(name, "head.bundle") ||
           !strcmp(name, "known.bundle") || (!again && to_push) ||
           (task->state == TASK_COMPLETED && !strcmp(name, "work.bundle")) ||
           str_ends_with(name, ".tmp") || str_starts_with(name, "work-") ||
           str_starts_with(name, "events-") || str_starts_with(name, "tests-");
}

void files_release(const struct orchestrator *o, const struct task *task)
{
    AUTO_FREE char *path = orchestrator_task_file(o, task->id, "");
    AUTO_FREE char *work = files_work_bundle(o, task->id, task->work_run);
    AUTO_FREE char *kept = orchestrator_task_file(o, task->id, "work.bundle");
    if (task->state != TASK_COMPLETED && files_exist(work))
        rename(work, kept);
    AUTO_DIR DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (is_spent(task, entry->d_name))
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (!task->archive_path && dir)
        unlinkat(dirfd(dir), "archive.tar.zst", 0); /* cut off by the end of its run */
}
