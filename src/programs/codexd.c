/*
 * codexd: the server. Starts as root, opens what needs root (socket, lock, keys, the spawner),
 * becomes the user of [server] for good, and only then serves. Started by an ordinary user it stays
 * that, and the spawner makes do with what he has (sandbox/rootless.h).
 *
 * When the spawner ends, codexd ends too, with status 1: it has no rights left to start another
 * one. Runs go on; the codexd that a supervisor (or the next `codex`) starts finds them.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "config/paths.h"
#include "programs/about.h"
#include "programs/codexd_setup.h"
#include "secrets/secrets.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
/* A process that is not dumpable cannot be looked into, not even by its own leak checker. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

struct server {
    struct paths paths;
    struct config config;
    struct secrets secrets;
    struct service_user user;
    int lock_fd, socket_fd, spawner_fd;
    struct loop *loop;
    struct store *store;
    struct spawner *spawner;
    struct orchestrator *orchestrator;
    struct api *api;
};

static const char usage_text[] =
    "usage: codexd [--config FILE]\n"
    "The server of Codex. Runs in the foreground and logs to standard error.\n\n"
    "  --config FILE   instead of $CODEX_CONFIG and codex.conf\n"
    "  --version, --help\n";

static void print_usage(FILE *out)
{
    fputs(usage_text, out);
}

/* Exit status, or -1 to go on. */
static int parse_arguments(int argc, char **argv, const char **config_file)
{
    enum { OPTION_CONFIG = 1 };
    static const struct option options[] = {
        {"config", required_argument, NULL, OPTION_CONFIG},
        {0},
    };
    int option;
    if (about(argc, argv, "codexd", print_usage))
        return 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPTION_CONFIG:
            *config_file = optarg;
            break;
        default:
            print_usage(stderr);
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    print_usage(stderr);
    return 2;
}

static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* Everything that needs root; the last thing is to stop being it. */
static int set_up(struct server *server, const char *config_file, struct err *err)
{
    int status = paths_find(&server->paths, &server->config, config_file, err);
    if (status == 0)
        status = setup_user(&server->user, &server->config, err);
    if (status == 0)
        status = setup_state(&server->paths, &server->config, &server->user, err);
    if (status == 0)
        status = server->lock_fd = setup_lock(&server->paths, &server->user, err);
    if (status >= 0)
        status = server->socket_fd = setup_socket(&server->paths, &server->user, err);
    if (status >= 0)
        status = secrets_load(&server->secrets, &server->config, err);
    if (status >= 0)
        status = server->spawner_fd = setup_spawner(&server->paths, &server->config, err);
    return status < 0 ? status : service_user_become(&server->user, err);
}

static void on_stop(void *arg, int signal)
{
    log_info("-", "stopping; tasks go on");
    loop_stop(((struct server *)arg)->loop, 0);
}

static void on_spawner_gone(void *arg, const struct err *err)
{
    log_error("-", "%s: codexd ends, runs go on; start it again", err->message);
    loop_stop(((struct server *)arg)->loop, 1);
}

static int open_rooms(struct server *server, struct err *err)
{
    AUTO_FREE char *database = str_format("%s/server/codex.db", server->paths.state);
    int status = setup_own_state(&server->paths, err);
    if (status < 0)
        return status;
    AUTO_FREE char *secrets = str_format("%s/server/secrets", server->paths.state);
    status = secrets_open_vault(&server->secrets, secrets, err);
    if (status < 0)
        return status;
    server->loop = loop_new(err);
    if (!server->loop)
        return err->code;
    server->store = store_open(database, err);
    if (!server->store)
        return err->code;
    server->spawner = spawner_new(server->loop, server->spawner_fd, on_spawner_gone, server, err);
    if (!server->spawner)
        return err->code;
    struct orchestrator_options options = {.loop = server->loop,
                                           .store = server->store,
                                           .config = &server->config,
                                           .secrets = &server->secrets,
                                           .spawner = server->spawner,
                                           .state_dir = server->paths.state};
    server->orchestrator = orchestrator_new(&options, err);
    if (!server->orchestrator)
        return err->code;
    struct api_options api = {.loop = server->loop,
                              .store = server->store,
                              .orchestrator = server->orchestrator,
                              .config = &server->config,
                              .secrets = &server->secrets,
                              .state_dir = server->paths.state,
                              .version = CODEX_VERSION,
                              .listen_fd = server->socket_fd};
    orchestrator_look(server->orchestrator);
    server->api = api_new(&api, err);
    return server->api ? 0 : err->code;
}

static int serve(struct server *server, struct err *err)
{
    int status = open_rooms(server, err);
    if (status == 0)
        status = loop_add_signal(server->loop, SIGTERM, on_stop, server, err);
    if (status == 0)
        status = loop_add_signal(server->loop, SIGINT, on_stop, server, err);
    if (status == 0)
        status = orchestrator_start(server->orchestrator, err);
    if (status < 0)
        return status;
    log_info("-", "serving on %s as %s, state in %s", server->paths.socket, server->user.name,
             server->paths.state);
    return loop_run(server->loop, err);
}

static void shut_down(struct server *server)
{
    api_free(server->api);
    orchestrator_free(server->orchestrator);
    spawner_free(server->spawner);
    store_close(server->store);
    loop_free(server->loop);
    secrets_release(&server->secrets);
    config_release(&server->config);
    paths_release(&server->paths);
}

int main(int argc, char **argv)
{
    const char *config_file = NULL;
    process_reserve_stdio();
    int exit_status = parse_arguments(argc, argv, &config_file);
    if (exit_status >= 0)
        return exit_status;
    log_open("codexd");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* the terminal that it was started from may go */
    /* What the spawner inherits: its sandboxes' users must get through its directories. */
    umask(022);
    close_range(3, ~0U, 0); /* whoever started us may have left something open */
    raise_file_limit();
    struct server server = {.lock_fd = -1, .socket_fd = -1, .spawner_fd = -1};
    struct err err = {0};
    if (set_up(&server, config_file, &err) < 0) {
        err_print(&err, "codexd");
        return 1;
    }
    umask(077);
    int status = serve(&server, &err);
    if (status < 0)
        err_print(&err, "codexd");
    shut_down(&server);
    return status == 0 ? 0 : 1;
}
