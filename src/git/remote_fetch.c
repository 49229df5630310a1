#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/object_id.h"
#include "base/refname.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/mirror.h"
#include "git/modules.h"
#include "git/remote.h"
#include "git/remote_large.h"
#include "git/verbs.h"

static int write_bundle(struct remote *remote, const char *commit, const char *ref, struct err *err)
{
    enum { BUNDLE_TIMEOUT_MS = 1800000 };
    struct bundle bundle = {0};
    memcpy(bundle.commit, commit, OBJECT_ID_SIZE);
    int status = bundle_write(&bundle, ref, remote->mirror, STDOUT_FILENO, BUNDLE_TIMEOUT_MS, err);
    bundle_release(&bundle);
    return status;
}

/* As a part behind what the file has. */
static int write_module(struct remote *remote, const char *commit, struct err *err)
{
    off_t start = lseek(STDOUT_FILENO, 0, SEEK_END);
    if (start < 0)
        return err_errno(err, "cannot write the bundle");
    int status = write_bundle(remote, commit, BUNDLE_REF_MODULE, err);
    if (status == 0)
        status = parts_end(STDOUT_FILENO, PART_MODULE, start, err);
    return status < 0 ? status : io_sync(STDOUT_FILENO, err);
}

/* Files in Git LFS, as a part behind the bundle. What could not be had is said, and may have come in
 * part. */
static int write_large_files(struct remote *remote, const struct verb_request *request,
                             struct buf *list, struct err *err)
{
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, remote->mirror);
    struct large_files files = {0};
    struct err why;
    if (!request->large_files_max || !large_files_are_used(remote->mirror, request->commit))
        return 0;
    int status = large_files_find(remote->mirror, request->commit, NULL, &files, &why);
    bool known = status == 0;
    if (known)
        status =
            remote_large_fetch(remote, request->commit, request->large_files_max, &files, &why);
    if (status < 0)
        buf_appendf(list, "%s files in Git LFS were left out: %s\n",
                    status == -EHOSTUNREACH ? "passing" : "note", why.message);
    bool some = known && status != ERR_LIMIT;
    status = some ? large_files_write(STDOUT_FILENO, store, &files, err) : 0;
    large_files_release(&files);
    return status < 0 ? status : io_sync(STDOUT_FILENO, err);
}

static int write_base(struct remote *remote, const struct verb_request *request, struct buf *list,
                      struct err *err)
{
    int status = write_bundle(remote, request->commit, BUNDLE_REF_BASE, err);
    return status < 0 ? status : write_large_files(remote, request, list, err);
}

int git_remote_fetch(const struct verb_request *request, struct err *err)
{
    struct remote remote;
    const char *part = request->part;
    AUTO_BUF struct buf list;
    buf_init(&list, MODULES_LIST_MAX);
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = mirror_fetch(&remote, request->commit, err);
    if (status == 0)
        status = part && !strcmp(part, "module") ? write_module(&remote, request->commit, err)
                                                 : write_base(&remote, request, &list, err);
    if (status == 0 && part) {
        modules_list(remote.mirror, request->commit, &remote.url, &list);
        status = io_write_all(REMOTE_FD_MODULES, list.data, list.len, err);
    }
    remote_release(&remote);
    return status;
}

int git_remote_merged(const struct verb_request *request, struct err *err)
{
    /* A tag or a commit never comes to contain anything new. */
    if (refname_check_branch(request->base, NULL) < 0 || !refname_is_branch(request->base))
        return 0;
    struct remote remote;
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = mirror_look(&remote, request->base, request->commit, err);
    remote_release(&remote);
    return status;
}
