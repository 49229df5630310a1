/*
 * What the installed packages own outside /usr, from dpkg's database: empty directories, links,
 * their unmodified configuration files (a modified one may hold a secret), and the database itself,
 * so that dpkg and apt work inside.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <md5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sandbox/image_tree.h"

static const char database[] = "/var/lib/dpkg";

/* Whether a package's PATH is left to others: the farm, the sandbox's own mounts, other people. */
static bool is_elsewhere(const char *path)
{
    static const char *const others[] = {"/usr",   "/bin",    "/sbin", "/lib",  "/lib32",
                                         "/lib64", "/libx32", "/dev",  "/proc", "/sys",
                                         "/run",   "/tmp",    "/home", "/root", "/boot"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t len = strlen(others[i]);
        if (!strncmp(path, others[i], len) && (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return path[0] != '/' || path[1] == '\0' || path[1] == '.';
}

static int put_owned_path(struct image_tree *tree, const char *path, struct err *err)
{
    struct stat st;
    if (is_elsewhere(path) || lstat(path, &st) < 0)
        return 0;
    if (S_ISDIR(st.st_mode)) {
        bool system_owned = st.st_uid < 1000 && st.st_gid < 1000;
        return image_tree_make_dir(tree, path, st.st_mode & 07777, system_owned ? st.st_uid : 0,
                                   system_owned ? st.st_gid : 0, err);
    }
    /* Files below /etc come as configuration files, with their checksum. */
    if (S_ISREG(st.st_mode) && str_starts_with(path, "/etc/"))
        return 0;
    return image_tree_copy(tree, path, err);
}

static int put_owned_by_package(struct image_tree *tree, const char *list, struct err *err)
{
    AUTO_FILE FILE *file = fopen(list, "re");
    if (!file)
        return err_errno(err, "cannot open '%s'", list);
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    ssize_t n;
    while ((n = getline(&line, &size, file)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        int status = put_owned_path(tree, line, err);
        if (status < 0)
            return status;
    }
    return 0;
}

static int put_owned(struct image_tree *tree, struct err *err)
{
    char info[PATH_MAX];
    snprintf(info, sizeof info, "%s/info", database);
    AUTO_DIR DIR *stream = opendir(info);
    if (!stream)
        return err_errno(err, "cannot open '%s' (the host image needs a Debian host)", info);
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        char list[PATH_MAX];
        if (!str_ends_with(entry->d_name, ".list"))
            continue;
        if (snprintf(list, sizeof list, "%s/%s", info, entry->d_name) >= (int)sizeof list)
            continue;
        int status = put_owned_by_package(tree, list, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* LINE is " /etc/name md5" (then perhaps " obsolete"), from a Conffiles field. */
static int put_conffile(struct image_tree *tree, char *line, struct err *err)
{
    char *path = line + 1;
    char *space = strchr(path, ' ');
    if (!space || is_elsewhere((*space = '\0', path)))
        return 0;
    char *expected = space + 1;
    expected[strcspn(expected, " \n")] = '\0';
    char actual[MD5_DIGEST_STRING_LENGTH];
    if (!MD5File(path, actual) || strcmp(actual, expected) != 0)
        return 0;
    return image_tree_copy(tree, path, err);
}

static int put_conffiles(struct image_tree *tree, struct err *err)
{
    char status_file[PATH_MAX];
    snprintf(status_file, sizeof status_file, "%s/status", database);
    AUTO_FILE FILE *file = fopen(status_file, "re");
    if (!file)
        return err_errno(err, "cannot open '%s'", status_file);
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    bool in_field = false;
    while (getline(&line, &size, file) > 0) {
        if (line[0] != ' ') {
            in_field = str_starts_with(line, "Conffiles:");
            continue;
        }
        int status = in_field ? put_conffile(tree, line, err) : 0;
        if (status < 0)
            return status;
    }
    return 0;
}

/* dpkg replaces the files of info/ by rename and never writes into them: links do. */
static int put_info(struct image_tree *tree, struct err *err)
{
    const char *name;
    AUTO_FD int parent = image_tree_open_parent(tree, "/var/lib/dpkg/info/x", &name, err);
    if (parent < 0)
        return parent;
    AUTO_DIR DIR *stream = opendir("/var/lib/dpkg/info");
    if (!stream)
        return err_errno(err, "cannot open '%s/info'", database);
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        struct stat st;
        if (fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode) || !image_tree_is_public(&st))
            continue;
        image_tree_count(tree);
        int status = image_tree_link(dirfd(stream), parent, entry->d_name, &st, err);
        if (status < 0)
            return status;
    }
    return 0;
}

static int put_database(struct image_tree *tree, struct err *err)
{
    static const char *const parts[] = {"/var/lib/dpkg", "/var/lib/dpkg/alternatives",
                                        "/var/lib/dpkg/triggers"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        int status = image_tree_copy_entries(tree, parts[i], err);
        if (status < 0)
            return status;
    }
    int status = image_tree_make_dir(tree, "/var/lib/dpkg/updates", 0755, 0, 0, err);
    return status < 0 ? status : put_info(tree, err);
}

int image_packages_build(struct image_tree *tree, struct err *err)
{
    int status = put_owned(tree, err);
    if (status == 0)
        status = put_conffiles(tree, err);
    return status < 0 ? status : put_database(tree, err);
}
