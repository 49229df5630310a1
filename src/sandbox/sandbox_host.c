#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "sandbox/mounts.h"
#include "sandbox/rootless.h"
#include "sandbox/sandbox.h"

/* Room for bundles and, at worst, an agent with sanitizers. */
enum { PRIVATE_SIZE = 64 << 20 };

int sandbox_copy_agent(const char *from, const char *to, struct err *err)
{
    AUTO_FD int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return err_errno(err, "cannot open '%s'", from);
    AUTO_FD int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (out < 0 || fchmod(out, 0755) < 0)
        return err_errno(err, "cannot create '%s'", to);
    return io_copy(in, 0, -1, out, err) < 0 ? err_context(err, "'%s'", from) : 0;
}

/* Rootless we may be the task's user (sandbox_ids.c), whose the agent must not be: it becomes that of
 * an id that the sandbox then lacks. */
static int disown_agent(const char *directory, const char *agent, struct err *err)
{
    static const uid_t nobody = ROOTLESS_BASE + SANDBOX_UID;
    if (chown(agent, nobody, nobody) < 0 || chown(directory, nobody, nobody) < 0)
        return err_errno(err, "cannot give '%s' away", agent);
    return 0;
}

/*
 * codex-agent in the private directory, so that mountinfo in a sandbox names no path of the host.
 * The spawner's directory is mounted, so that all its runners share the pages. Else it is a copy.
 */
static int place_agent(struct sandbox_host *host, const struct sandbox_host_options *options,
                       struct err *err)
{
    snprintf(host->agent_dir, sizeof host->agent_dir, "%s/private/agent", SANDBOX_RUN_DIR);
    if (mkdir(host->agent_dir, 0755) < 0)
        return err_errno(err, "cannot create '%s'", host->agent_dir);
    if (options->agent_is_shared) {
        AUTO_FREE char *path = str_dup(options->agent);
        return mounts_bind(dirname(path), host->agent_dir, true, err);
    }
    char to[PATH_MAX + 16];
    snprintf(to, sizeof to, "%s/codex-agent", host->agent_dir);
    int status = sandbox_copy_agent(options->agent, to, err);
    return status == 0 && host->rootless ? disown_agent(host->agent_dir, to, err) : status;
}

/* An ordinary user has none. */
static int open_cgroups(struct sandbox_host *host, struct err *err)
{
    if (host->rootless) {
        cgroup_host_none(&host->cgroups);
        return 0;
    }
    int status = cgroup_host_read(&host->cgroups, err);
    return status < 0 ? status : cgroup_host_check(&host->cgroups, err);
}

static int open_host(struct sandbox_host *host, const struct sandbox_host_options *options,
                     struct err *err)
{
    if (geteuid() != 0)
        return err_set(err, ERR_SANDBOX, "sandboxes need root, if only of a user namespace");
    host->rootless = rootless_is();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(err, "cannot become a subreaper");
    int status = loop_reap_orphans(host->loop, err);
    if (status == 0 && host->rootless)
        status = rootless_check(err);
    if (status == 0)
        status = runtime_find(&host->runtime, options->runtime, host->rootless, err);
    if (status == 0)
        status = open_cgroups(host, err);
    if (status < 0)
        return status;
    if (access(options->agent, X_OK) < 0)
        return err_errno(err, "cannot use '%s'", options->agent);
    status =
        image_open(&host->image, options->images, options->progress, options->progress_arg, err);
    if (status == 0)
        status = mounts_make_private(SANDBOX_RUN_DIR "/private", PRIVATE_SIZE, err);
    return status < 0 ? status : place_agent(host, options, err);
}

int sandbox_host_open(struct sandbox_host *host, struct loop *loop,
                      const struct sandbox_host_options *options, struct err *err)
{
    *host = (struct sandbox_host){.loop = loop, .image.lock_fd = -1};
    int status = open_host(host, options, err);
    if (status < 0)
        sandbox_host_release(host);
    return status;
}

void sandbox_host_release(struct sandbox_host *host)
{
    image_release(&host->image);
}
