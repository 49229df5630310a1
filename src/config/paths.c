#include "config/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

/* The variable's value; NULL when it is not set or empty; an error when it is not absolute. */
static int variable(const char *name, const char **value, struct err *err)
{
    *value = getenv(name);
    if (*value && !**value)
        *value = NULL;
    if (*value && **value != '/')
        return err_set(err, ERR_USAGE, "%s is '%s', which is not an absolute path", name, *value);
    return 0;
}

/* A directory of the XDG base directory specification, or NULL. Root has only what is set for it:
 * its server is the machine's. */
static int xdg_dir(const char *name, const char *below_home, char **out, struct err *err)
{
    const char *value;
    *out = NULL;
    int status = variable(name, &value, err);
    if (status < 0)
        return status;
    const char *home = getenv("HOME");
    if (value)
        *out = str_dup(value);
    else if (geteuid() != 0 && home && *home == '/')
        *out = str_format("%s/%s", home, below_home);
    return 0;
}

static int find_config(char **path, const char *config_file, struct err *err)
{
    const char *value;
    int status = variable("CODEX_CONFIG", &value, err);
    if (status < 0)
        return status;
    if (config_file || value) {
        *path = str_dup(config_file ? config_file : value);
        return 0; /* named: then it must be there, which loading it finds out */
    }
    char *dir;
    status = xdg_dir("XDG_CONFIG_HOME", ".config", &dir, err);
    if (status < 0)
        return status;
    char *own = dir ? str_format("%s/codex/codex.conf", dir) : NULL;
    free(dir);
    if (own && access(own, F_OK) == 0) {
        *path = own;
        return 0;
    }
    free(own);
    *path = access("/etc/codex/codex.conf", F_OK) == 0 ? str_dup("/etc/codex/codex.conf") : NULL;
    return 0;
}

static int find_state(char **path, struct err *err)
{
    const char *value;
    int status = variable("CODEX_STATE_DIR", &value, err);
    if (status < 0)
        return status;
    if (value) {
        *path = str_dup(value);
        return 0;
    }
    if (geteuid() == 0) {
        *path = str_dup(PATHS_MACHINE_STATE);
        return 0;
    }
    char *dir;
    status = xdg_dir("XDG_STATE_HOME", ".local/state", &dir, err);
    if (status < 0)
        return status;
    if (!dir)
        return err_set(err, ERR_USAGE, "neither CODEX_STATE_DIR nor HOME is set");
    *path = str_format("%s/codex", dir);
    free(dir);
    return 0;
}

static int find_socket(struct paths *paths, const struct config *config, struct err *err)
{
    const char *value;
    int status = variable("CODEX_SOCKET", &value, err);
    if (status < 0)
        return status;
    if (value || config->socket) {
        paths->socket = str_dup(value ? value : config->socket);
        return 0;
    }
    paths->socket = str_format("%s/codexd.sock", paths->state);
    const char *state;
    status = variable("CODEX_STATE_DIR", &state, err);
    if (status == 0 && !state && geteuid() != 0 && access(paths->socket, F_OK) < 0 &&
        access(PATHS_MACHINE_STATE "/codexd.sock", F_OK) == 0) {
        free(paths->socket);
        paths->socket = str_dup(PATHS_MACHINE_STATE "/codexd.sock");
    }
    return status;
}

int paths_find(struct paths *paths, struct config *config, const char *config_file, struct err *err)
{
    *paths = (struct paths){0};
    config_init(config);
    int status = find_config(&paths->config, config_file, err);
    if (status == 0 && paths->config)
        status = config_load(config, paths->config, err);
    if (status == 0)
        status = find_state(&paths->state, err);
    if (status == 0)
        status = find_socket(paths, config, err);
    if (status < 0) {
        paths_release(paths);
        config_release(config);
    }
    return status;
}

void paths_release(struct paths *paths)
{
    free(paths->config);
    free(paths->state);
    free(paths->socket);
    *paths = (struct paths){0};
}
