#include "runner/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/privilege.h"
#include "sandbox/sandbox.h"

void privileges_nobody(struct privileges *who)
{
    *who = (struct privileges){.uid = PRIVILEGES_NOBODY, .gid = PRIVILEGES_NOBODY};
}

int privileges_become_lone_nobody(void *unused)
{
    struct privileges nobody;
    privileges_nobody(&nobody);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    /* Sandboxes' files, where the parent has any: copies of their mounts would outlive them here. */
    while (umount2(SANDBOX_RUN_DIR "/private", MNT_DETACH) == 0)
        continue;
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return -errno;
    return privileges_drop(&nobody);
}

int privileges_of_user(struct privileges *who, uid_t uid, gid_t gid, struct err *err)
{
    *who = (struct privileges){.uid = uid, .gid = gid};
    errno = 0;
    const struct passwd *entry = getpwuid(uid);
    if (!entry)
        return errno ? err_errno(err, "cannot look up uid %u", uid) : 0;
    who->gid = entry->pw_gid;
    int count = PRIVILEGES_GROUPS_MAX;
    if (getgrouplist(entry->pw_name, entry->pw_gid, who->groups, &count) < 0)
        return err_set(err, -E2BIG, "user %u is in more than %d groups", uid,
                       PRIVILEGES_GROUPS_MAX);
    who->groups_count = (size_t)count;
    return 0;
}

/* The bounding set, so that no file and no uid 0 can bring a capability back. */
static int drop_bounding_set(void)
{
    for (unsigned long cap = 0; cap <= 63; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) < 0)
            return errno == EINVAL ? 0 : -errno; /* past the last one that the kernel has */
    return 0;
}

/* The change is only believed when it shows. */
static int check_ids(const struct privileges *who)
{
    uid_t uid[3];
    gid_t gid[3];
    if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0)
        return -errno;
    for (int i = 0; i < 3; i++)
        if (uid[i] != who->uid || gid[i] != who->gid)
            return -EPERM;
    return who->uid != 0 && setuid(0) == 0 ? -EPERM : 0;
}

int privileges_drop(const struct privileges *who)
{
    static const struct rlimit none = {0, 0};
    static const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
                                      SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                                      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    int status = drop_bounding_set();
    if (status < 0)
        return status;
    /* Groups while we still may, then gid, then uid: each takes the right to the one before. */
    if (prctl(PR_SET_SECUREBITS, bits) < 0 ||
        (!who->keeps_groups && setgroups(who->groups_count, who->groups) < 0) ||
        setresgid(who->gid, who->gid, who->gid) < 0 || setresuid(who->uid, who->uid, who->uid) < 0)
        return -errno;
    status = privilege_renounce();
    return status < 0 ? status : check_ids(who);
}
