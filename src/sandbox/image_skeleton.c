/* The rest of an image: directories, users, name service, certificates, the loader's files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "sandbox/image_tree.h"
#include "sandbox/sandbox.h"

enum { SHADOW_GID = 42 }; /* Debian's, static: base-passwd */

static const struct {
    const char *path;
    mode_t mode;
    uid_t uid;
} directories[] = {
    {"/boot", 0755, 0},
    {"/dev", 0755, 0},
    {"/etc", 0755, 0},
    {"/home", 0755, 0},
    {"/media", 0755, 0},
    {"/mnt", 0755, 0},
    {"/opt", 0755, 0},
    {"/proc", 0555, 0},
    {"/root", 0700, 0},
    {"/run", 0755, 0},
    {"/srv", 0755, 0},
    {"/sys", 0555, 0},
    {"/tmp", 01777, 0},
    {"/var", 0755, 0},
    {"/var/tmp", 01777, 0},
    {"/var/lib", 0755, 0},
    {"/var/cache", 0755, 0},
    {"/var/log", 0755, 0},
    {"/usr/local", 0755, 0},
    {"/usr/local/bin", 0755, 0},
    {"/usr/local/etc", 0755, 0},
    {"/usr/local/games", 0755, 0},
    {"/usr/local/include", 0755, 0},
    {"/usr/local/lib", 0755, 0},
    {"/usr/local/sbin", 0755, 0},
    {"/usr/local/share", 0755, 0},
    {"/usr/local/src", 0755, 0},
    {"/usr/src", 0755, 0},
    {SANDBOX_HOME, 0755, SANDBOX_UID},
    {SANDBOX_WORKSPACE, 0755, SANDBOX_UID},
    {SANDBOX_STATE_DIR, 0700, 0},
};

static const struct {
    const char *path, *text;
} files[] = {
    {"/etc/hostname", "codex\n"},
    {"/etc/hosts", "127.0.0.1 localhost codex\n::1 localhost ip6-localhost ip6-loopback\n"},
    /* Nothing answers there, so that a look-up fails at once instead of waiting for a timeout. */
    {"/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"},
    {"/etc/nsswitch.conf",
     "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
     "networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n"},
    {"/etc/timezone", "Etc/UTC\n"},
    {"/etc/machine-id", ""},
    {"/etc/fstab", ""},
};

static const struct {
    const char *path, *target;
} links[] = {
    {"/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"},
    {"/etc/mtab", "../proc/self/mounts"},
    {"/var/run", "/run"},
    {"/var/lock", "/run/lock"},
    /* Models run it as a command, anywhere in a script. */
    {"/usr/local/bin/apply_patch", SANDBOX_AGENT_DIR "/codex-agent"},
    {"/usr/local/bin/applypatch", SANDBOX_AGENT_DIR "/codex-agent"},
};

/* Of the host, as they are: made by packages' scripts, so no package owns them. */
static const char *const copies[] = {"/etc/ca-certificates.conf",
                                     "/etc/environment",
                                     "/etc/inputrc",
                                     "/etc/ld.so.cache",
                                     "/etc/locale.gen",
                                     "/etc/networks",
                                     "/etc/profile",
                                     "/etc/shells",
                                     "/etc/dpkg/origins/default",
                                     "/etc/python3/debian_config"};
static const char *const copied_directories[] = {
    "/etc/alternatives", "/etc/ld.so.conf.d", "/etc/ssl/certs", "/etc/ssl/certs/java",
    "/etc/fonts/conf.d", "/etc/xml",          "/etc/sgml"};

/*
 * The lines of the host's FILE (passwd or group) for system accounts: the id is the third field and
 * below 1000, or 65534. The host's own `codex` stays out, ours takes its name.
 */
static int append_system_accounts(struct buf *out, const char *file, struct err *err)
{
    AUTO_FILE FILE *in = fopen(file, "re");
    if (!in)
        return err_errno(err, "cannot open '%s'", file);
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, in) > 0) {
        const char *second = strchr(line, ':');
        const char *third = second ? strchr(second + 1, ':') : NULL;
        if (!third || str_starts_with(line, "codex:"))
            continue;
        long id = strtol(third + 1, NULL, 10);
        if ((id < 0 || id >= SANDBOX_UID) && id != 65534)
            continue;
        /* Of a group the members go, who may be people. */
        const char *fourth = strchr(third + 1, ':');
        bool is_group = str_ends_with(file, "group");
        if (is_group && fourth ? buf_appendf(out, "%.*s\n", (int)(fourth + 1 - line), line) < 0
                               : buf_append_str(out, line) < 0)
            return err_set(err, -E2BIG, "'%s' is too large", file);
    }
    return 0;
}

static int put_accounts(struct image_tree *tree, struct err *err)
{
    AUTO_BUF struct buf passwd, group;
    buf_init(&passwd, 1 << 20);
    buf_init(&group, 1 << 20);
    int status = append_system_accounts(&passwd, "/etc/passwd", err);
    if (status == 0)
        status = append_system_accounts(&group, "/etc/group", err);
    if (status < 0)
        return status;
    buf_appendf(&passwd, "codex:x:%d:%d:Codex:" SANDBOX_HOME ":/bin/bash\n", SANDBOX_UID,
                SANDBOX_GID);
    buf_appendf(&group, "codex:x:%d:\n", SANDBOX_GID);
    status = image_tree_write(tree, "/etc/passwd", 0644, 0, 0, passwd.data, err);
    if (status == 0)
        status = image_tree_write(tree, "/etc/group", 0644, 0, 0, group.data, err);
    if (status == 0)
        status = image_tree_write(tree, "/etc/shadow", 0640, 0, SHADOW_GID,
                                  "root:*:19000:0:99999:7:::\ncodex:*:19000:0:99999:7:::\n", err);
    return status < 0 ? status
                      : image_tree_write(tree, "/etc/gshadow", 0640, 0, SHADOW_GID,
                                         "root:*::\ncodex:!::\n", err);
}

static int put_copies(struct image_tree *tree, struct err *err)
{
    int status = 0;
    for (size_t i = 0; i < sizeof copies / sizeof copies[0] && status == 0; i++)
        status = image_tree_copy(tree, copies[i], err);
    for (size_t i = 0; i < sizeof copied_directories / sizeof copied_directories[0] && status == 0;
         i++)
        status = image_tree_copy_entries(tree, copied_directories[i], err);
    return status;
}

/* The user's shell starts as a new user's would. */
static int put_home(struct image_tree *tree, struct err *err)
{
    static const char *const dotfiles[] = {".bashrc", ".profile"};
    for (size_t i = 0; i < sizeof dotfiles / sizeof dotfiles[0]; i++) {
        char from[64], to[64];
        snprintf(from, sizeof from, "/etc/skel/%s", dotfiles[i]);
        snprintf(to, sizeof to, SANDBOX_HOME "/%s", dotfiles[i]);
        AUTO_BUF struct buf text;
        buf_init(&text, 1 << 20);
        if (io_read_file(from, &text, NULL) < 0)
            continue;
        int status = image_tree_write(tree, to, 0644, SANDBOX_UID, SANDBOX_GID, text.data, err);
        if (status < 0)
            return status;
    }
    return 0;
}

int image_skeleton_build(struct image_tree *tree, struct err *err)
{
    int status = 0;
    for (size_t i = 0; i < sizeof directories / sizeof directories[0] && status == 0; i++)
        status = image_tree_make_dir(tree, directories[i].path, directories[i].mode,
                                     directories[i].uid, directories[i].uid, err);
    for (size_t i = 0; i < sizeof links / sizeof links[0] && status == 0; i++)
        status = image_tree_make_link(tree, links[i].path, links[i].target, err);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == 0; i++)
        status = image_tree_write(tree, files[i].path, 0644, 0, 0, files[i].text, err);
    if (status == 0)
        status = put_accounts(tree, err);
    if (status == 0)
        status = put_copies(tree, err);
    return status < 0 ? status : put_home(tree, err);
}
