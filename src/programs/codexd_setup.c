#include "programs/codexd_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"

/* Beside codexd in a build directory, else where it is installed. */
static char *find_runner(void)
{
    char *beside = str_format("%s/codex-runner", process_program_dir());
    if (access(beside, X_OK) == 0)
        return beside;
    free(beside);
    return str_dup(CODEX_LIBEXECDIR "/codex-runner");
}

/* Whether an ordinary user can have sandboxes here; else the reason, before anything is made. */
static int try_rootless(struct err *err)
{
    AUTO_FREE char *runner = find_runner();
    const char *const argv[] = {runner, "--rootless", NULL};
    AUTO_BUF struct buf said;
    buf_init(&said, sizeof err->message);
    int status = process_run(argv, -1, &said, err);
    said.data[strcspn(said.data, "\n")] = '\0';
    return status <= 0 ? status : err_set(err, ERR_SANDBOX, "%s", said.data);
}

int setup_user(struct service_user *user, const struct config *config, struct err *err)
{
    if (geteuid() != 0) {
        int status = service_user_self(user, err);
        return status < 0 ? status : try_rootless(err);
    }
    int status = service_user_find(user, config->user, err);
    if (status == ERR_NOT_FOUND)
        return err_set(err, status,
                       "there is no user '%s' to become: run 'make setup', or set user in [server]",
                       config->user);
    if (status == 0 && user->uid == 0)
        return err_set(err, ERR_REFUSED,
                       "codexd does not serve as root: set user in [server] to another user");
    return status;
}

/* A directory as it is to be. What is there and belongs to somebody else is not taken over: it may
 * be another server's. */
static int make_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err)
{
    int status = io_make_owned_dir(path, uid, gid, mode, err);
    if (status < 0)
        return status;
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat found;
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return err_set(err, -ENOTDIR, "'%s' is not a directory", path);
    if (fd < 0 || fstat(fd, &found) < 0)
        return err_errno(err, "cannot open directory '%s'", path);
    if (found.st_uid != uid)
        return err_set(err, ERR_REFUSED, "'%s' belongs to uid %u, not to uid %u", path,
                       (unsigned)found.st_uid, (unsigned)uid);
    if ((found.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        return err_errno(err, "cannot set the mode of '%s'", path);
    return 0;
}

/* In a child that has become USER: 0 or errno. */
static int try_to_enter(const char *path, const struct service_user *user)
{
    if (service_user_become(user, NULL) < 0)
        return EPERM;
    return chdir(path) < 0 || access(".", R_OK | W_OK) < 0 ? errno : 0;
}

static int check_entrance(const char *path, const struct service_user *user, struct err *err)
{
    pid_t pid = fork();
    if (pid < 0)
        return err_errno(err, "cannot fork");
    if (pid == 0)
        _exit(try_to_enter(path, user));
    int status = process_wait(pid);
    if (status < 0 || !WIFEXITED(status))
        return err_set(err, -EIO, "cannot find out whether '%s' can enter '%s'", user->name, path);
    if (WEXITSTATUS(status) == 0)
        return 0;
    errno = WEXITSTATUS(status);
    return err_errno(err,
                     "user '%s' cannot enter '%s' (open the directories above it to others, or set "
                     "CODEX_STATE_DIR)",
                     user->name, path);
}

int setup_state(const struct paths *paths, const struct config *config,
                const struct service_user *user, struct err *err)
{
    const struct {
        const char *name;
        uid_t uid;
        gid_t gid;
        mode_t mode;
    } dirs[] = {
        {"", geteuid(), getegid(), 0755},
        {"/runs", geteuid(), getegid(), 0755},
        {"/sandboxes", geteuid(), getegid(), 0700},
        {"/server", user->uid, user->gid, 0700},
    };
    int status = io_make_dirs(paths->state, 0755, err);
    for (size_t i = 0; status == 0 && i < sizeof dirs / sizeof dirs[0]; i++) {
        AUTO_FREE char *path = str_format("%s%s", paths->state, dirs[i].name);
        status = make_dir(path, dirs[i].uid, dirs[i].gid, dirs[i].mode, err);
    }
    if (status < 0)
        return status;
    if (!config->images) {
        AUTO_FREE char *images = str_format("%s/images", paths->state);
        status = make_dir(images, geteuid(), getegid(), 0700, err);
    }
    AUTO_FREE char *server = str_format("%s/server", paths->state);
    return status < 0 ? status : check_entrance(server, user, err);
}

int setup_own_state(const struct paths *paths, struct err *err)
{
    static const char *const names[] = {"secrets", "bundles", "mirrors", "uploads", "tasks"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        AUTO_FREE char *path = str_format("%s/server/%s", paths->state, names[i]);
        int status = io_make_dirs(path, 0700, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* With the user's rights and as his file: what lies in his directory need not be what we left. */
static int open_as(const struct service_user *user, const char *path)
{
    setfsgid(user->gid);
    setfsuid(user->uid);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    setfsuid(geteuid());
    setfsgid(getegid());
    return fd;
}

int setup_lock(const struct paths *paths, const struct service_user *user, struct err *err)
{
    AUTO_FREE char *path = str_format("%s/server/lock", paths->state);
    AUTO_FD int fd = open_as(user, path);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &lock) == 0)
        return steal_fd(&fd);
    if (errno != EACCES && errno != EAGAIN)
        return err_errno(err, "cannot lock '%s'", path);
    if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return err_set(err, ERR_CONFLICT, "another codexd on '%s' has just ended: try again",
                       paths->state);
    return err_set(err, ERR_CONFLICT, "codexd runs already on '%s': it is process %d", paths->state,
                   (int)lock.l_pid);
}

/* The socket of a codexd that is gone may be taken away; one that somebody listens on may not. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct err *err)
{
    struct stat found;
    if (lstat(path, &found) < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot look at '%s'", path);
    if (!S_ISSOCK(found.st_mode))
        return err_set(err, -EEXIST, "'%s' is there and is not a socket", path);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, "cannot create a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        return err_set(err, ERR_CONFLICT, "another server listens on '%s'", path);
    return unlink(path) < 0 ? err_errno(err, "cannot remove '%s'", path) : 0;
}

int setup_socket(const struct paths *paths, const struct service_user *user, struct err *err)
{
    const char *path = paths->socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >=
        (int)sizeof address.sun_path)
        return err_set(err, -ENAMETOOLONG,
                       "the path of the socket is longer than %zu bytes: set CODEX_SOCKET",
                       sizeof address.sun_path - 1);
    int status = remove_stale(path, &address, err);
    if (status < 0)
        return status;
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, "cannot create a socket");
    /* Root's own until it has its group; an ordinary user's stays his alone. */
    mode_t before = umask(geteuid() == 0 ? 0117 : 0177);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    umask(before);
    if (bound < 0)
        return err_errno(err, "cannot bind '%s'", path);
    if (lchown(path, geteuid(), user->gid) < 0 || listen(fd, SOMAXCONN) < 0)
        return err_errno(err, "cannot listen on '%s'", path);
    return steal_fd(&fd);
}

int setup_spawner(const struct paths *paths, const struct config *config, struct err *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return err_errno(err, "cannot create a socket pair");
    AUTO_FD int ours = ends[0], theirs = ends[1];
    AUTO_FREE char *runner = find_runner();
    AUTO_FREE char *images =
        config->images ? str_dup(config->images) : str_format("%s/images", paths->state);
    const char *path = getenv("PATH");
    AUTO_FREE char *environment =
        str_format("PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    const char *const argv[] = {runner, "--spawner", "--state",       paths->state, "--images",
                                images, "--runtime", config->runtime, NULL};
    const char *const envp[] = {environment, NULL};
    const struct process_fd fds[] = {{theirs, 3}, {STDERR_FILENO, 1}, {STDERR_FILENO, 2}};
    struct process_options options = {.argv = argv,
                                      .envp = envp,
                                      .fds = fds,
                                      .fds_count = sizeof fds / sizeof fds[0],
                                      .cwd = "/",
                                      .new_session = true};
    pid_t pid = process_spawn(&options, err);
    if (pid < 0)
        return err_context(err, "cannot start the spawner");
    return steal_fd(&ours);
}
