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
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "base/str.h"
#include "cli/doctor.h"
#include "cli/format.h"

enum {
    DISK_LOW = 1 << 30,
    INODES_LOW = 20000, /* a sandbox and its archive make many small files */
    PROGRAM_OUTPUT_MAX = 65536,
    GROUPS_MAX = 1024,
};

char *program_says(const char *const *argv)
{
    AUTO_BUF struct buf out;
    struct err err;
    buf_init(&out, PROGRAM_OUTPUT_MAX);
    if (process_run(argv, -1, &out, &err) != 0)
        return NULL;
    return str_format("%.*s", (int)strcspn(out.data, "\n"), out.data);
}

void doctor_runtime(json_t *list, const char *runtime)
{
    const char *const argv[] = {runtime, "--version", NULL};
    AUTO_FREE char *version = program_says(argv);
    if (version)
        check_add(list, "runtime", FOUND_OK, NULL, "%s", version);
    else
        check_add(list, "runtime", FOUND_TROUBLE,
                  "apt-get install crun, or name another in [sandbox] runtime",
                  "'%s' cannot be run", runtime);
}

/* safe.directory, without which a repository of another user is not read, came in 2.35.2. */
void doctor_git(json_t *list)
{
    static const char *const argv[] = {"git", "--version", NULL};
    static const char remedy[] = "apt-get install git";
    AUTO_FREE char *version = program_says(argv);
    int major = 0, minor = 0;
    if (!version)
        check_add(list, "git", FOUND_TROUBLE, remedy, "git cannot be run");
    else if (sscanf(version, "git version %d.%d", &major, &minor) == 2 &&
             (major < 2 || (major == 2 && minor < 36)))
        check_add(list, "git", FOUND_TROUBLE, remedy, "%s is older than 2.36", version);
    else
        check_add(list, "git", FOUND_OK, NULL, "%s", version);
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

bool doctor_is_guest(const struct session *session)
{
    AUTO_FREE char *own = str_format("%s/codexd.sock", session->paths.state);
    return geteuid() != 0 && strcmp(session->paths.socket, own) != 0;
}

/* Whether the user can come to DIRECTORY: tried in a child that becomes him; 0 or errno. */
static int try_as(const struct passwd *user, const char *directory)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0 ||
            chdir(directory) < 0)
            _exit(errno & 0x7f);
        _exit(0);
    }
    int status = pid < 0 ? -errno : process_wait(pid);
    return status < 0 ? -status : WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static void check_state_directory(json_t *list, const struct session *session, const char *dir)
{
    const char *state = session->paths.state, *user = session->config.user;
    AUTO_FREE char *closed = closed_parent(state);
    const struct passwd *service = getpwnam(user);
    bool root = geteuid() == 0; /* an ordinary user's codexd goes where he does */
    int why = root && service         ? try_as(service, dir)
              : root                  ? (closed ? EACCES : 0)
              : access(dir, X_OK) < 0 ? errno
                                      : 0;
    if (why) {
        AUTO_FREE char *remedy =
            str_format("chmod o+x '%s', or another CODEX_STATE_DIR", closed ? closed : dir);
        check_add(list, "state directory", FOUND_TROUBLE, remedy,
                  "'%s': the user '%s' cannot pass '%s' (%s)", state, user, closed ? closed : dir,
                  strerror(why));
    } else {
        check_add(list, "state directory", FOUND_OK, NULL, "'%s'%s", state,
                  access(state, F_OK) == 0 ? "" : ", made when codexd starts");
    }
}

static void check_disk(json_t *list, const char *dir)
{
    struct statvfs disk;
    char space[FORMAT_SIZE], inodes[FORMAT_SIZE];
    if (statvfs(dir, &disk) < 0) {
        check_add(list, "disk", FOUND_UNKNOWN, NULL, "cannot look at '%s': %s", dir,
                  strerror(errno));
        return;
    }
    uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    bool counted = disk.f_files != 0; /* btrfs has as many as it wants */
    format_bytes((int64_t)bytes, space);
    format_count((int64_t)disk.f_favail, inodes);
    if (bytes < DISK_LOW)
        check_add(list, "disk", FOUND_TROUBLE, "make room there", "only %s free at '%s'", space,
                  dir);
    else if (counted && disk.f_favail < INODES_LOW)
        check_add(list, "disk", FOUND_TROUBLE,
                  "remove small files there, or use a file system with more inodes",
                  "room for only %s more files at '%s'", inodes, dir);
    else
        check_add(list, "disk", FOUND_OK, NULL, "%s and room for %s files free at '%s'", space,
                  counted ? inodes : "any number of", dir);
}

void doctor_state(json_t *list, const struct session *session)
{
    if (doctor_is_guest(session)) /* who needs no state directory */
        return;
    AUTO_FREE char *dir = existing_parent(session->paths.state);
    check_state_directory(list, session, dir);
    check_disk(list, dir);
}

void doctor_users(json_t *list, const struct session *session)
{
    const struct config *config = &session->config;
    if (geteuid() != 0 && !doctor_is_guest(session)) {
        check_add(list, "service user", FOUND_OK, NULL,
                  "you (uid %u): a codexd that you start serves you alone", (unsigned)geteuid());
        return;
    }
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
    check_add(list, "subuids", FOUND_OK, NULL,
              "not needed: codexd starts as root, and sandboxes have ids of their own");
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
        check_add(list, "command", FOUND_WARNING, remedy, "'codex' is another program here%s: '%s'",
                  strstr(first_real, "/node_modules/") ? " (npm's)" : "", first);
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

void doctor_machine(json_t *list, const struct session *session)
{
    AUTO_FREE char *program = program_path("codex-runner");
    AUTO_FREE char *images = session->config.images ? str_dup(session->config.images)
                                                    : str_format("%s/images", session->paths.state);
    if (!program) {
        check_add(list, "machine", FOUND_TROUBLE, "install the whole of it: make install",
                  "cannot find the program codex-runner beside codex or in '%s'", CODEX_LIBEXECDIR);
        return;
    }
    const char *const argv[] = {program,    "--check", "--state",   session->paths.state,
                                "--images", images,    "--runtime", session->config.runtime,
                                NULL};
    AUTO_BUF struct buf out;
    struct err err;
    buf_init(&out, PROGRAM_OUTPUT_MAX);
    int status = process_run(argv, -1, &out, &err);
    for (char *rest = out.data, *line; status == 0 && (line = strsep(&rest, "\n"));) {
        json_t *finding = json_loads(line, 0, NULL);
        if (finding)
            json_array_append_new(list, finding);
    }
    if (status != 0)
        check_add(list, "machine", FOUND_TROUBLE, "see what it says",
                  "it could not be looked at: %.*s",
                  (int)strcspn(status < 0 ? err.message : out.data, "\n"),
                  status < 0 ? err.message : out.data);
}
