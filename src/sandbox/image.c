#include "sandbox/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/image_tree.h"
#include "sandbox/rootless.h"

/* Counts up whenever images are made differently, so that no older one is taken for a new. */
enum { IMAGE_RECIPE = 3 };

/* Names below IMAGES of what is being made or removed; a crash leaves them to the next maker. */
static const char making[] = ".making";
static const char removing[] = ".removing-";

/* What changes when packages come, go or are upgraded, or when npm and others install below
 * /usr. */
static const char *const watched[] = {"/var/lib/dpkg/status",
                                      "/usr",
                                      "/usr/bin",
                                      "/usr/sbin",
                                      "/usr/lib",
                                      "/usr/lib/node_modules",
                                      "/usr/lib/python3/dist-packages",
                                      "/usr/share",
                                      "/etc/alternatives",
                                      "/etc/ld.so.cache",
                                      "/etc/ssl/certs/ca-certificates.crt"};

int image_key(char key[IMAGE_KEY_SIZE], struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 16384);
    buf_appendf(&text, "recipe %d\n", IMAGE_RECIPE);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        struct stat st;
        if (stat(watched[i], &st) < 0)
            continue;
        if (buf_appendf(&text, "%s %llu %lld %lld.%09ld\n", watched[i],
                        (unsigned long long)st.st_ino,
                        (long long)(S_ISREG(st.st_mode) ? st.st_size : 0),
                        (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec) < 0)
            return err_set(err, -ERANGE, "cannot name the host image: too much to tell");
    }
    char hex[SHA256_DIGEST_STRING_LENGTH];
    SHA256Data((const uint8_t *)text.data, text.len, hex);
    memcpy(key, hex, IMAGE_KEY_SIZE - 1);
    key[IMAGE_KEY_SIZE - 1] = '\0';
    return 0;
}

int image_is_made(const char *images, struct err *err)
{
    char key[IMAGE_KEY_SIZE];
    int status = image_key(key, err);
    if (status < 0)
        return status;
    AUTO_FREE char *path = str_format("%s/host-%s", images, key);
    if (access(path, F_OK) == 0)
        return 1;
    return errno == ENOENT ? 0 : err_errno(err, "cannot look for the image '%s'", path);
}

void image_release(struct image *image)
{
    if (image->lock_fd >= 0)
        close(image->lock_fd);
    image->lock_fd = -1;
}

/* Take NAME below DIR for use. 1: it is ours; 0: it is not there. */
static int take(int dir, const char *name, struct image *image, struct err *err)
{
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open the image '%s'", name);
    if (flock(fd, LOCK_SH) < 0)
        return err_errno(err, "cannot lock the image '%s'", name);
    /* It may have been taken away between the two calls. */
    struct stat held, named;
    if (fstat(fd, &held) < 0 || fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        held.st_ino != named.st_ino)
        return 0;
    image->lock_fd = steal_fd(&fd);
    return 1;
}

/* Move the image NAME aside and remove it, unless somebody uses it. */
static int remove_unused(int dir, const char *name, struct err *err)
{
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return 0;
    char aside[NAME_MAX];
    snprintf(aside, sizeof aside, "%s%.200s", removing, name);
    if (renameat(dir, name, dir, aside) < 0)
        return err_errno(err, "cannot rename the old image '%s'", name);
    return io_remove_tree_at(dir, aside, err);
}

/* Remove what a maker or remover that died has left, and every image but KEEP that nobody uses. */
static int tidy(int dir, const char *keep, struct err *err)
{
    AUTO_DIR DIR *stream = io_list_dir(dir);
    if (!stream)
        return err_errno(err, "cannot list the images");
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        const char *name = entry->d_name;
        int status = 0;
        if (str_starts_with(name, removing) || !strcmp(name, making))
            status = io_remove_tree_at(dir, name, err);
        else if (str_starts_with(name, "host-") && strcmp(name, keep) != 0)
            status = remove_unused(dir, name, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* About how many entries an image will have: dpkg's lists hold 62 bytes a path. */
static uint64_t expected_entries(void)
{
    AUTO_DIR DIR *stream = opendir("/var/lib/dpkg/info");
    uint64_t bytes = 0;
    struct dirent *entry;
    struct stat st;
    while (stream && (entry = readdir(stream)))
        if (str_ends_with(entry->d_name, ".list") &&
            fstatat(dirfd(stream), entry->d_name, &st, 0) == 0)
            bytes += (uint64_t)st.st_size;
    return bytes / 62;
}

static int build(int dir, image_progress_fn *progress, void *arg, struct err *err)
{
    if (mkdirat(dir, making, 0700) < 0)
        return err_errno(err, "cannot create '%s'", making);
    char root[sizeof making + sizeof "/root"];
    snprintf(root, sizeof root, "%s/root", making);
    if (mkdirat(dir, root, 0755) < 0 || fchmodat(dir, root, 0755, 0) < 0)
        return err_errno(err, "cannot create '%s'", root);
    AUTO_FD int fd = openat(dir, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", root);
    struct image_tree tree = {
        .root = fd, .progress = progress, .arg = arg, .rootless = rootless_is()};
    tree.expected = progress ? expected_entries() : 0;
    int status = image_skeleton_build(&tree, err);
    if (status == 0)
        status = image_farm_build(&tree, err);
    if (status == 0)
        status = image_packages_build(&tree, err);
    if (status == 0)
        status = image_proxy_build(&tree, err);
    if (status == 0 && tree.rootless)
        status = image_owners_shift(&tree, err);
    if (status == 0 && syncfs(fd) < 0)
        status = err_errno(err, "cannot sync the image");
    return status;
}

/* Make the image NAME in DIR, unless it appeared while we waited for the right to. */
static int make(int dir, const char *name, image_progress_fn *progress, void *arg, struct err *err)
{
    AUTO_FD int lock = openat(dir, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return err_errno(err, "cannot lock the images");
    if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    int status = io_remove_tree_at(dir, making, err);
    if (status == 0)
        status = build(dir, progress, arg, err);
    if (status == 0 && renameat(dir, making, dir, name) < 0)
        status = err_errno(err, "cannot rename the new image");
    if (status < 0) {
        io_remove_tree_at(dir, making, NULL);
        return err_context(err, "cannot make the host image");
    }
    /* What cannot be tidied now is tidied by the next maker: no reason to refuse this image. */
    tidy(dir, name, NULL);
    return 0;
}

int image_open(struct image *image, const char *images, image_progress_fn *progress, void *arg,
               struct err *err)
{
    *image = (struct image){.lock_fd = -1};
    char name[sizeof "host-" + IMAGE_KEY_SIZE];
    int status = image_key(image->key, err);
    if (status < 0)
        return status;
    snprintf(name, sizeof name, "host-%s", image->key);
    if (snprintf(image->path, sizeof image->path, "%s/%s/root", images, name) >=
        (int)sizeof image->path)
        return err_set(err, -ENAMETOOLONG, "path too long");
    AUTO_FD int dir = io_open_private_dir(images, err);
    if (dir < 0)
        return dir;
    while ((status = take(dir, name, image, err)) == 0)
        if ((status = make(dir, name, progress, arg, err)) < 0)
            break;
    return status < 0 ? status : 0;
}
