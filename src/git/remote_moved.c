#include <string.h>

#include "base/object_id.h"
#include "git/mirror.h"
#include "git/moved.h"
#include "git/remote.h"
#include "git/verbs.h"

/* What the branch has got comes into the mirror: the next task starts from there. */
int git_remote_moved(const struct verb_request *request, struct err *err)
{
    char tip[OBJECT_ID_SIZE];
    struct remote remote;
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = remote_find_branch(&remote, request->base, tip, err);
    if (status == 0 && !*tip)
        status = err_set(err, ERR_NOT_FOUND, "there is no branch '%s' any more", request->base);
    if (status == 0)
        status = mirror_fetch(&remote, request->base_commit, err);
    if (status == 0)
        status = mirror_fetch(&remote, tip, err);
    if (status == 0)
        status = moved_write(remote.mirror, tip, request, REMOTE_FD_BUNDLE, err);
    remote_release(&remote);
    return status;
}
