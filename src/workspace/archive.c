#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "task/exit.h"
#include "workspace/pack.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/walk.h"

enum { COMPLAINTS_MAX = 100 }; /* lines about what was left out; then only their number */

struct archiving {
    struct pack *pack;
    uint64_t files, left_out;
};

static void left_out(void *arg, const char *path, const char *why)
{
    struct archiving *archiving = arg;
    struct err line;
    if (archiving->left_out++ >= COMPLAINTS_MAX)
        return;
    err_set(&line, 0, "'%.500s' is left out: %s", path, why);
    err_print(&line, "codex-agent archive");
}

static int add(void *arg, const struct walk_entry *entry, struct err *err)
{
    struct archiving *archiving = arg;
    int status = pack_add(archiving->pack, entry, err);
    if (status == 0)
        left_out(archiving, entry->path, err->message);
    else if (status > 0)
        archiving->files++;
    return status < 0 ? status : 0;
}

static int write_result(const struct archiving *archiving, uint64_t size_bytes, struct err *err)
{
    AUTO_BUF struct buf json;
    buf_init(&json, 256);
    buf_appendf(&json, "{\"files\":%llu,\"size_bytes\":%llu,\"left_out\":%llu}",
                (unsigned long long)archiving->files, (unsigned long long)size_bytes,
                (unsigned long long)archiving->left_out);
    return step_write_result(&json, err);
}

static int archive_all(int top, const char *name, struct archiving *archiving, struct err *err)
{
    const struct walk_callbacks callbacks = {add, left_out, archiving};
    uint64_t size_bytes;
    int status = walk_tree(top, name, &callbacks, err);
    if (status == 0)
        status = pack_finish(archiving->pack, &size_bytes, err);
    if (archiving->left_out > COMPLAINTS_MAX)
        fprintf(stderr, "codex-agent archive: %llu more are left out\n",
                (unsigned long long)archiving->left_out - COMPLAINTS_MAX);
    return status < 0 ? status : write_result(archiving, size_bytes, err);
}

static int archive(struct step *step, struct err *err)
{
    AUTO_FD int top = open(step->workdir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return err_errno(err, "cannot open '%s'", step->workdir);
    struct archiving archiving = {.pack = pack_new(STEP_FD_DATA, err)};
    if (!archiving.pack)
        return err->code;
    int status = archive_all(top, strrchr(step->workdir, '/') + 1, &archiving, err);
    pack_free(archiving.pack);
    return status < 0 ? status : STEP_EXIT_DONE;
}

int archive_main(int argc, char **argv)
{
    return step_main(argc, argv, archive, STEP_EXIT_FAILED);
}
