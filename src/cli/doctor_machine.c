/* This installation: programs, the state directory, users, PATH. */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "cli/format.h"

enum { DISK_LOW = 1 << 30, PROGRAM_OUTPUT_MAX = 65536, GROUPS_MAX = 1024 };

char *program_says(const char *const *argv)
{
    AUTO_BUF struct buf out;
    struct err err;
    buf_init(&out, PROGRAM_OUTPUT_MAX);
    if (process_run(argv, -1, &out, &err) != 0)
        return NULL;
    return str_format("%.*s", (int)strcspn(out.data, "\n"), out.data);
}

void doctor_programs(json_t *list, const char *runtime)
{
    const char *const runtime_argv[] = {runtime, "--version", NULL};
    static const char *const git_argv[] = {"git", "--version", NULL};
    AUTO_FREE char *runtime_version = program_says(runtime_argv);
    AUTO_FREE char *git_version = program_says(git_argv);
    if (runtime_version)
        check_add(list, "runtime", FOUND_OK, NULL, "%s", runtime_version);
    else
        check_add(list, "runtime", FOUND_TROUBLE,
                  "apt-get install crun, or name another in [sandbox] runtime",
                  "'%s' cannot be run", runtime);
    if (git_version)
        check_add(list, "git", FOUND_OK, NULL, "%s", git_version);
    else
        check_add(list, "git", FOUND_TROUBLE, "apt-get install git", "git cannot be run");
}

/* The nearest directory at or above PATH that there is. The caller frees. */
static char *existing_parent(const char *path)
{
    char *dir = str_dup(path);
    while (access(dir, F_OK) < 0) {
        char *slash = strrchr(dir, '/');
        if (!slash || slash == dir) {
            free(dir);
            return str_dup("/");
        }
        *slash = '\0';
    }
    return dir;
}

/* The first directory on the way to PATH that others may not pass; NULL when there is none. The
 * caller frees. */
static char *closed_parent(const char *path)
{
    char *dir = str_dup(path);
    for (char *slash = dir; slash && *slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        struct stat info;
        if (stat(dir, &info) == 0 && !(info.st_mode & S_IXOTH))
            return dir;
        if (slash)
            *slash = '/';
    }
    free(dir);
    return NULL;
}

/* A user of another's server needs no state directory. */
static bool is_somebody_elses(const struct session *session)
{
    AUTO_FREE char *own = str_format("%s/codexd.sock", session->paths.state);
    return geteuid() != 0 && strcmp(session->paths.socket, own) != 0;
}

void doctor_state(json_t *list, const struct session *session)
{
    if (is_somebody_elses(session))
        return;
    const char *state = session->paths.state;
    AUTO_FREE char *dir = existing_parent(state);
    AUTO_FREE char *closed = closed_parent(state);
    struct statvfs disk;
    char free_space[FORMAT_SIZE] = "?";
    bool low = false;
    if (statvfs(dir, &disk) == 0) {
        uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        format_bytes((int64_t)bytes, free_space);
        low = bytes < DISK_LOW;
    }
    if (closed) {
        AUTO_FREE char *remedy = str_format("chmod o+x '%s', or another CODEX_STATE_DIR", closed);
        check_add(list, "state directory", FOUND_TROUBLE, remedy,
                  "'%s': the user '%s' cannot pass '%s'", state, session->config.user, closed);
    } else {
        check_add(list, "state directory", FOUND_OK, NULL, "'%s'%s", state,
                  access(state, F_OK) == 0 ? "" : ", made when codexd starts");
    }
    check_add(list, "disk", low ? FOUND_TROUBLE : FOUND_OK, low ? "make room there" : NULL,
              "%s free at '%s'", free_space, dir);
    doctor_idmap(list, dir);
}

void doctor_users(json_t *list, const struct config *config)
{
    const struct passwd *service = getpwnam(config->user);
    if (!service) {
        AUTO_FREE char *remedy = str_format(
            "make setup, or: useradd --system --user-group --no-create-home %s", config->user);
        check_add(list, "service user", FOUND_TROUBLE, remedy, "there is no user '%s'",
                  config->user);
        return;
    }
    check_add(list, "service user", FOUND_OK, NULL, "'%s' (uid %u)", config->user,
              (unsigned)service->pw_uid);
    if (geteuid() == 0)
        return;
    gid_t groups[GROUPS_MAX];
    int count = getgroups(GROUPS_MAX, groups);
    bool member = getegid() == service->pw_gid;
    for (int i = 0; i < count; i++)
        member = member || groups[i] == service->pw_gid;
    AUTO_FREE char *remedy =
        str_format("sudo usermod -aG %s $USER, and log in again", config->user);
    check_add(list, "group", member ? FOUND_OK : FOUND_WARNING, member ? NULL : remedy,
              member ? "you are in the group of '%s'"
                     : "you are not in the group of '%s', which may use its server",
              config->user);
}

char *path_next(const char **position, const char *name)
{
    while (*position && **position) {
        size_t len = strcspn(*position, ":");
        AUTO_FREE char *program = len ? str_format("%.*s/%s", (int)len, *position, name)
                                      : str_dup(name); /* an empty entry is the current directory */
        *position += (*position)[len] ? len + 1 : len;
        struct stat info;
        if (stat(program, &info) == 0 && S_ISREG(info.st_mode) && access(program, X_OK) == 0)
            return steal_pointer(&program);
    }
    return NULL;
}

void doctor_path(json_t *list)
{
    const char *position = getenv("PATH");
    AUTO_FREE char *first = path_next(&position, "codex");
    AUTO_FREE char *first_real = first ? realpath(first, NULL) : NULL;
    AUTO_FREE char *ours = realpath("/proc/self/exe", NULL);
    if (first_real && ours && strcmp(first_real, ours) != 0) {
        AUTO_FREE char *remedy = str_format("call this one by its path, or put '%s' first in PATH",
                                            process_program_dir());
        check_add(list, "command", FOUND_WARNING, remedy, "'codex' is another program here: '%s'",
                  first);
    } else {
        check_add(list, "command", FOUND_OK, NULL, "'%s'%s", ours ? ours : "?",
                  first ? "" : ", not on PATH");
    }
}

/* Is PATH in the host image? It has /usr without /usr/local, and the links from / into it. */
static bool is_in_image(const char *path)
{
    return str_starts_with(path, "/usr/") && !str_starts_with(path, "/usr/local/");
}

void doctor_toolchains(json_t *list)
{
    static const char *const tools[] = {"python3", "node", "npm",    "go",   "cargo",  "rustc",
                                        "java",    "mvn",  "gradle", "ruby", "bundle", "php",
                                        "dotnet",  "deno", "bun",    "gcc",  "make",   "cmake"};
    size_t outside = 0;
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
        const char *position = getenv("PATH");
        AUTO_FREE char *first = path_next(&position, tools[i]);
        AUTO_FREE char *real = first ? realpath(first, NULL) : NULL;
        if (!real || is_in_image(real))
            continue;
        AUTO_FREE char *inside = str_format("/usr/bin/%s", tools[i]);
        bool other = access(inside, X_OK) == 0;
        AUTO_FREE char *remedy =
            str_format("install Debian's package of %s, for tasks that need it", tools[i]);
        outside++;
        check_add(list, "toolchain", FOUND_WARNING, other ? NULL : remedy,
                  "'%s' is not in sandboxes%s%s", first, other ? "; they have " : "",
                  other ? inside : "");
    }
    if (!outside)
        check_add(list, "toolchain", FOUND_OK, NULL, "what is on PATH is in sandboxes, too");
}
