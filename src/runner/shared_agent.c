#include "runner/shared_agent.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/io.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox.h"

#define SHARED_AGENT_DIR SANDBOX_RUN_DIR "/agent"

/* Room for a few versions with sanitizers; a tmpfs takes only what is in it. */
enum { SHARED_AGENT_SIZE = 256 << 20 };

int shared_agent_open(struct shared_agent *agent, const char *source, struct err *err)
{
    *agent = (struct shared_agent){.source = source};
    return mounts_make_private(SHARED_AGENT_DIR, SHARED_AGENT_SIZE, err);
}

static void version_path(char path[PATH_MAX], unsigned number, const char *name)
{
    snprintf(path, PATH_MAX, "%s/%u%s", SHARED_AGENT_DIR, number, name);
}

static void remove_unused(struct shared_agent *agent)
{
    for (int i = 0; i < SHARED_AGENT_VERSIONS_MAX; i++) {
        unsigned number = agent->versions[i].number;
        if (!number || agent->versions[i].users || number == agent->current)
            continue;
        char path[PATH_MAX];
        version_path(path, number, "");
        io_remove_tree_at(AT_FDCWD, path, NULL);
        agent->versions[i].number = 0;
    }
}

static int add_version(struct shared_agent *agent, const struct stat *st, struct err *err)
{
    int slot = 0;
    while (slot < SHARED_AGENT_VERSIONS_MAX && agent->versions[slot].number)
        slot++;
    if (slot == SHARED_AGENT_VERSIONS_MAX)
        return err_set(err, ERR_LIMIT, "runners of %d different builds are running", slot);
    char path[PATH_MAX];
    unsigned number = agent->current + 1;
    version_path(path, number, "");
    if (mkdir(path, 0755) < 0)
        return err_errno(err, "cannot create '%s'", path);
    version_path(path, number, "/codex-agent");
    int status = sandbox_copy_agent(agent->source, path, err);
    if (status < 0) {
        version_path(path, number, "");
        io_remove_tree_at(AT_FDCWD, path, NULL);
        return status;
    }
    agent->versions[slot].number = agent->current = number;
    agent->st = *st;
    remove_unused(agent);
    return 0;
}

static int is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int shared_agent_take(struct shared_agent *agent, char path[PATH_MAX], struct err *err)
{
    struct stat st;
    if (stat(agent->source, &st) < 0)
        return err_errno(err, "cannot use '%s'", agent->source);
    if (!agent->current || !is_same(&st, &agent->st)) {
        int status = add_version(agent, &st, err);
        if (status < 0)
            return status;
    }
    for (int i = 0; i < SHARED_AGENT_VERSIONS_MAX; i++)
        if (agent->versions[i].number == agent->current)
            agent->versions[i].users++;
    version_path(path, agent->current, "/codex-agent");
    return (int)agent->current;
}

void shared_agent_give_back(struct shared_agent *agent, unsigned number)
{
    for (int i = 0; i < SHARED_AGENT_VERSIONS_MAX; i++)
        if (agent->versions[i].number == number && agent->versions[i].users)
            agent->versions[i].users--;
    remove_unused(agent);
}
