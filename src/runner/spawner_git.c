/* The spawner's codex-git processes. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "base/io.h"
#include "base/log.h"
#include "runner/git_jail.h"
#include "runner/spawner_internal.h"

static void remove_scratch(const char *scratch)
{
    struct err err;
    if (scratch[0] && io_remove_tree_at(AT_FDCWD, scratch, &err) < 0)
        log_warn("-", "%s", err.message);
}

static void git_ended(void *arg, pid_t pid, int wait_status)
{
    struct spawner_child *child = arg;
    remove_scratch(child->scratch);
    const struct spawn_report report = {
        .id = child->git_id, .pid = pid, .wait_status = wait_status};
    spawner_report(child->spawner, SPAWN_GIT_ENDED, &report);
    spawner_remove_child(child);
}

/* Process 1 of its pid namespace: everything that it started goes with it. */
static void git_timed_out(void *arg)
{
    struct spawner_child *child = arg;
    child->timer = NULL;
    kill(child->pid, SIGKILL);
}

static struct spawner_child *find_git(const struct spawner *spawner, uint32_t id)
{
    struct spawner_child *child = spawner->children;
    while (child && (child->helper || child->run_name[0] || child->git_id != id))
        child = child->next;
    return child;
}

void spawner_start_git(struct spawner *spawner, const struct spawn_git *git, const int *fds)
{
    char scratch[PATH_MAX] = "";
    struct err err;
    if (find_git(spawner, git->id)) {
        err_set(&err, ERR_REFUSED, "this number is in use");
        spawner_fail(spawner, NULL, git->id, &err);
        return;
    }
    if (git->as != SPAWN_GIT_AS_SUBMITTER &&
        snprintf(scratch, sizeof scratch, "%s/%u", spawner->scratch, spawner->scratch_count++) >=
            (int)sizeof scratch)
        scratch[0] = '\0'; /* cannot be made, and that is said */
    pid_t pid = git_jail_start(git, fds, spawner->options->git, scratch, &err);
    struct spawner_child *child = pid < 0 ? NULL : spawner_add_child(spawner, pid, git_ended, &err);
    if (!child) {
        remove_scratch(scratch);
        spawner_fail(spawner, NULL, git->id, &err);
        return;
    }
    child->git_id = git->id;
    snprintf(child->scratch, sizeof child->scratch, "%s", scratch);
    child->timer = loop_add_timer(spawner->loop, git->timeout_ms, git_timed_out, child);
}

void spawner_end_git(struct spawner *spawner, uint32_t id)
{
    struct spawner_child *child = find_git(spawner, id);
    if (child)
        kill(child->pid, SIGKILL);
}
