#include "orchestrator/upload.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "orchestrator/files.h"
#include "orchestrator/internal.h"

enum { KEPT_MS = 10 * 60 * 1000, OF_ONE_USER = 4, ALL_MAX = 16 };

struct upload {
    struct orchestrator *o;
    char id[UPLOAD_ID_SIZE];
    uint32_t uid;
    char *path;
    struct loop_source *timer;
    struct upload *next;
};

static void upload_free(struct upload *upload)
{
    struct upload **at = &upload->o->uploads;
    while (*at != upload)
        at = &(*at)->next;
    *at = upload->next;
    unlink(upload->path);
    loop_remove(upload->timer);
    free(upload->path);
    free(upload);
}

void upload_free_all(struct orchestrator *o)
{
    while (o->uploads)
        upload_free(o->uploads);
}

static void on_timer(void *arg)
{
    struct upload *upload = arg;
    upload->timer = NULL;
    upload_free(upload);
}

static int check_count(const struct orchestrator *o, uint32_t uid, struct err *err)
{
    int all = 0, own = 0;
    for (const struct upload *other = o->uploads; other; other = other->next) {
        all++;
        own += other->uid == uid;
    }
    return all < ALL_MAX && own < OF_ONE_USER
               ? 0
               : err_set(err, ERR_REFUSED,
                         "too many bundles wait for their tasks: try again in ten minutes");
}

static int write_file(const char *path, const void *bytes, size_t len, struct err *err)
{
    AUTO_FD int fd = files_create(path, O_WRONLY, err);
    int status = fd < 0 ? fd : io_write_all(fd, bytes, len, err);
    if (status < 0)
        unlink(path);
    return status;
}

int orchestrator_upload(struct orchestrator *o, uint32_t uid, const void *bytes, size_t len,
                        char *id, struct err *err)
{
    int status = check_count(o, uid, err);
    if (status == 0)
        status = files_check_room(o, err);
    if (status < 0)
        return status;
    strcpy(id, "bundle-");
    str_random_id(id + strlen(id), UPLOAD_ID_SIZE - 1 - strlen(id));
    AUTO_FREE char *path = str_format("%s/server/uploads/%s", o->state_dir, id);
    status = write_file(path, bytes, len, err);
    if (status < 0)
        return status;
    struct upload *upload = calloc(1, sizeof *upload);
    if (!upload)
        abort();
    *upload = (struct upload){.o = o, .uid = uid, .path = steal_pointer(&path), .next = o->uploads};
    memcpy(upload->id, id, UPLOAD_ID_SIZE);
    upload->timer = loop_add_timer(o->loop, KEPT_MS, on_timer, upload);
    o->uploads = upload;
    return 0;
}

static struct upload *find(struct orchestrator *o, uint32_t uid, const char *id)
{
    struct upload *upload = o->uploads;
    while (upload && (upload->uid != uid || strcmp(upload->id, id) != 0))
        upload = upload->next;
    return upload;
}

int upload_check(struct orchestrator *o, uint32_t uid, const char *id, struct err *err)
{
    return find(o, uid, id) ? 0
                            : err_set(err, ERR_NOT_FOUND,
                                      "there is no such bundle of yours (any more): hand it in "
                                      "again");
}

int upload_claim(struct orchestrator *o, uint32_t uid, const char *id, const char *path,
                 struct err *err)
{
    int status = upload_check(o, uid, id, err);
    if (status < 0)
        return status;
    struct upload *upload = find(o, uid, id);
    status = files_publish(upload->path, path, err);
    upload_free(upload);
    return status;
}
