/* A bundle's header, which a sandbox writes: whatever is taken is what the format says, and leads
 * to a pack inside the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/object_id.h"
#include "git/bundle.h"
#include "git/large_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct bundle *bundle, const uint8_t *data, size_t size)
{
    if (!object_id_valid(bundle->commit) || (*bundle->base && !object_id_valid(bundle->base)))
        abort();
    for (size_t i = 0; i < bundle->shallow_count; i++)
        if (!object_id_valid(bundle->shallow[i]))
            abort();
    if (bundle->pack_offset <= 0 || (size_t)bundle->pack_offset + 12 > size ||
        memcmp(data + bundle->pack_offset, "PACK", 4) != 0)
        abort();
}

/* Contents of Git LFS are where they are said to be, one behind the other. */
static void check_large_files(int fd, size_t size)
{
    struct parts parts;
    struct large_file file;
    struct err err;
    if (parts_read(fd, &parts, &err) < 0)
        return;
    for (size_t i = 0; i < parts.count; i++) {
        int64_t at = parts.list[i].start, before = at;
        while (large_files_next(fd, &parts.list[i], &at, &file, &err) > 0) {
            if (file.size <= 0 || at - file.size <= before || at > parts.list[i].end ||
                (size_t)at > size || strlen(file.id) != LARGE_FILE_ID_LEN)
                abort();
            before = at;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    const char *refs[] = {BUNDLE_REF_BASE, BUNDLE_REF_WORK};
    for (size_t i = 0; i < 2; i++) {
        struct bundle bundle;
        struct err err = {0};
        int status = bundle_read(fd, refs[i], &bundle, &err);
        if (status < 0 && !*err.message)
            abort();
        if (status == 0)
            check(&bundle, data, size);
        bundle_release(&bundle);
    }
    check_large_files(fd, size);
    return 0;
}
