#include "runner/clean.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "runner/run_dir.h"
#include "runner/sandbox_name.h"
#include "sandbox/rootless.h"
#include "sandbox/sandbox.h"

enum { CLEAN_MS = 10000 };

int clean_open(struct clean *clean, const char *state, struct err *err)
{
    clean->state = state;
    if (rootless_is()) {
        cgroup_host_none(&clean->cgroups);
        return 0;
    }
    return cgroup_host_read(&clean->cgroups, err);
}

struct cgroup_work {
    const struct clean *clean;
    int status; /* of the first that failed */
    struct err *err;
};

static void end_cgroup(void *arg, const char *name)
{
    struct cgroup_work *work = arg;
    char group[CGROUP_PATH_SIZE];
    snprintf(group, sizeof group, "%s/%.100s", SANDBOX_CGROUP_PARENT, name);
    int64_t deadline_ms = clock_mono_ms() + CLEAN_MS;
    struct err err;
    int status = cgroup_kill(&work->clean->cgroups, group, deadline_ms, &err);
    if (status == 0)
        status = cgroup_remove(&work->clean->cgroups, group, deadline_ms, &err);
    if (status < 0 && work->status == 0)
        work->status = err_set(work->err, status, "%s", err.message);
}

static int end_cgroups(const struct clean *clean, const char *name, struct err *err)
{
    char prefix[SANDBOX_NAME_SIZE];
    int status = sandbox_name_prefix(prefix, clean->state, name, err);
    if (status < 0)
        return status;
    struct cgroup_work work = {.clean = clean, .err = err};
    cgroup_each(&clean->cgroups, SANDBOX_CGROUP_PARENT, prefix, end_cgroup, &work);
    return work.status;
}

/* Everything in DIRECTORY but the workspace, and the name of the layer that it lies on. */
static int remove_scratch(const char *directory, struct err *err)
{
    AUTO_DIR DIR *stream = opendir(directory);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "work") ||
            !strcmp(entry->d_name, "layer"))
            continue;
        int status = io_remove_tree_at(dirfd(stream), entry->d_name, err);
        if (status < 0)
            return status;
    }
    return 0;
}

static int remove_files(const struct clean *clean, const char *name, bool over, struct err *err)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s/sandboxes/%s", clean->state, name);
    return over ? io_remove_tree_at(AT_FDCWD, directory, err) : remove_scratch(directory, err);
}

static int clean_up(const struct clean *clean, const char *name, bool is_forgotten, struct err *err)
{
    struct run_dir dir;
    int status = run_dir_take(&dir, clean->state, name, 0, err);
    if (status < 0)
        return status == ERR_CONFLICT ? 0 : status;
    bool over = run_dir_is_over(&dir) || (is_forgotten && run_dir_is_broken_off(&dir));
    status = end_cgroups(clean, name, err);
    if (status == 0)
        status = remove_files(clean, name, over, err);
    run_dir_release(&dir, over && status == 0);
    return status < 0 ? err_context(err, "cannot clean up after '%s'", name) : 0;
}

int clean_run(const struct clean *clean, const char *name, struct err *err)
{
    return run_name_is_valid(name) ? clean_up(clean, name, false, err) : 0; /* not ours */
}

int clean_forgotten_run(const struct clean *clean, const char *name, struct err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/runs/%.200s", clean->state, name);
    return access(path, F_OK) == 0 ? clean_up(clean, name, true, err) : 0;
}

static void each_in(const char *state, const char *folder, void (*fn)(void *arg, const char *name),
                    void *arg)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", state, folder);
    AUTO_DIR DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream)))
        if (run_name_is_valid(entry->d_name))
            fn(arg, entry->d_name);
}

void clean_each(const struct clean *clean, void (*fn)(void *arg, const char *name), void *arg)
{
    each_in(clean->state, "runs", fn, arg);
    each_in(clean->state, "sandboxes", fn, arg);
}
