#include <string.h>
#include <unistd.h>

#include "base/object_id.h"
#include "base/refname.h"
#include "git/bundle.h"
#include "git/mirror.h"
#include "git/remote.h"
#include "git/verbs.h"

static int write_bundle(struct remote *remote, const char *commit, struct err *err)
{
    enum { BUNDLE_TIMEOUT_MS = 1800000 };
    struct bundle bundle = {0};
    memcpy(bundle.commit, commit, OBJECT_ID_SIZE);
    int status = bundle_write(&bundle, BUNDLE_REF_BASE, remote->mirror, STDOUT_FILENO,
                              BUNDLE_TIMEOUT_MS, err);
    bundle_release(&bundle);
    return status;
}

int git_remote_fetch(const struct verb_request *request, struct err *err)
{
    struct remote remote;
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = mirror_fetch(&remote, request->commit, err);
    if (status == 0)
        status = write_bundle(&remote, request->commit, err);
    remote_release(&remote);
    return status;
}

int git_remote_merged(const struct verb_request *request, struct err *err)
{
    /* A tag or a commit never comes to contain anything new. */
    if (refname_check_branch(request->base, NULL) < 0 || object_id_valid(request->base) ||
        !strncmp(request->base, "refs/", 5))
        return 0;
    struct remote remote;
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = mirror_look(&remote, request->base, request->commit, err);
    remote_release(&remote);
    return status;
}
