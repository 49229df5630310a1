#include "cli/session.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "base/str.h"

int session_open(struct session *session, struct err *err)
{
    *session = (struct session){0};
    int status = paths_find(&session->paths, &session->config, NULL, err);
    if (status < 0)
        return status;
    status = api_init(&session->api, session->paths.socket, err);
    if (status < 0) {
        paths_release(&session->paths);
        config_release(&session->config);
    }
    return status;
}

int session_open_task(struct session *session, const char *id, struct err *err)
{
    int status = api_check_id(id, err);
    return status < 0 ? status : session_open(session, err);
}

void session_close(struct session *session)
{
    api_release(&session->api);
    paths_release(&session->paths);
    config_release(&session->config);
}

int session_act(const char *id, const char *action, json_t **task, struct err *err)
{
    struct session session;
    int status = session_open_task(&session, id, err);
    if (status < 0)
        return status;
    AUTO_FREE char *rest = str_format("/%s", action);
    AUTO_FREE char *target = api_task_target(id, rest);
    status = api_json(&session.api, "POST", target, NULL, task, err);
    session_close(&session);
    return status;
}

bool session_is_configured(const struct session *session)
{
    const char *variable = getenv("CODEX_SOCKET");
    return (variable && *variable) || session->config.socket;
}

pid_t session_server_pid(const struct session *session)
{
    AUTO_FREE char *path = str_format("%s/server/lock", session->paths.state);
    AUTO_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

char *program_path(const char *name)
{
    const char *const dirs[] = {process_program_dir(), CODEX_LIBEXECDIR, CODEX_SBINDIR};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        char *path = str_format("%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}
