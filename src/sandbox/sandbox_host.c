#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox.h"

/* Room for bundles and, at worst, an agent with sanitizers. */
enum { PRIVATE_SIZE = 64 << 20 };

static int copy_agent(int from, int to, struct err *err)
{
    ssize_t n;
    do
        n = sendfile(to, from, NULL, 1 << 20);
    while (n > 0);
    return n < 0 ? err_errno(err, "cannot copy codex-agent") : 0;
}

/*
 * codex-agent as a file of the private directory, so that mountinfo in a sandbox names no path of the host, and a
 * running program keeps the agent that it was started with. On a tmpfs already (the spawner's): by a mount, so that all
 * share its pages. Else a copy.
 */
static int place_agent(struct sandbox_host *host, int from, struct err *err)
{
    snprintf(host->agent, sizeof host->agent, "%s/private/codex-agent", SANDBOX_RUN_DIR);
    AUTO_FD int to = open(host->agent, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (to < 0 || fchmod(to, 0755) < 0)
        return err_errno(err, "cannot create '%s'", host->agent);
    struct statfs fs;
    if (fstatfs(from, &fs) < 0)
        return err_errno(err, "cannot read codex-agent's file system");
    if (fs.f_type == TMPFS_MAGIC)
        return mounts_bind_file(from, host->agent, err);
    return copy_agent(from, to, err);
}

static int open_host(struct sandbox_host *host, const struct sandbox_host_options *options,
                     struct err *err)
{
    if (geteuid() != 0)
        return err_set(err, ERR_SANDBOX, "sandboxes need root for now: run this as root");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(err, "cannot become a subreaper");
    int status = loop_reap_orphans(host->loop, err);
    if (status == 0)
        status = cgroup_host_read(&host->cgroups, err);
    if (status == 0)
        status = cgroup_host_check(&host->cgroups, err);
    if (status < 0)
        return status;
    AUTO_FD int agent = open(options->agent, O_RDONLY | O_CLOEXEC);
    if (agent < 0)
        return err_errno(err, "cannot open '%s'", options->agent);
    status = image_open(&host->image, options->images, options->progress, options->progress_arg, err);
    if (status == 0)
        status = mounts_make_private(SANDBOX_RUN_DIR "/private", PRIVATE_SIZE, err);
    return status < 0 ? status : place_agent(host, agent, err);
}

int sandbox_host_open(struct sandbox_host *host, struct loop *loop,
                      const struct sandbox_host_options *options, struct err *err)
{
    *host = (struct sandbox_host){.loop = loop, .image.lock_fd = -1, .runtime = options->runtime};
    int status = open_host(host, options, err);
    if (status < 0)
        sandbox_host_release(host);
    return status;
}

void sandbox_host_release(struct sandbox_host *host)
{
    image_release(&host->image);
}
