/*
 * codex-runner: the sandbox manager. Its first option says in which of its roles it was started:
 *
 *   --image DIR     make the host image below DIR, and print where it is
 *   --sandbox       one command in a sandbox, for a person
 *   --spawner       start runners and codex-git for codexd
 *   --run           one run of a task; started by the spawner
 *   --check         what sandboxes need of this machine; for `codex doctor`
 *   --rootless      whether an ordinary user can have sandboxes here; says why not
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "programs/about.h"
#include "runner/check.h"
#include "runner/interactive.h"
#include "runner/run.h"
#include "runner/spawner.h"
#include "sandbox/image.h"
#include "sandbox/rootless.h"

enum { EXIT_BAD_USAGE = 2 };

/* With --internet: a gateway.json. */
enum { SANDBOX_FD_GATEWAY = 3 };

static const char usage_text[] =
    "usage: codex-runner --image DIR\n"
    "       codex-runner --sandbox [--write] [--root] [--workdir DIR] [--memory SIZE] [--cpus N]\n"
    "                    [--pids N] [--timeout DURATION] [--runtime PROGRAM] [--internet]\n"
    "                    --state DIR --images DIR -- COMMAND [ARGUMENT]...\n"
    "       codex-runner --spawner --state DIR --images DIR [--runtime PROGRAM] [--agent PROGRAM]\n"
    "                    [--gateway PROGRAM] [--git PROGRAM]\n"
    "                    (codexd starts it, with a socket as descriptor 3)\n"
    "       codex-runner --check --state DIR --images DIR [--runtime PROGRAM]\n";

static void print_usage(FILE *out)
{
    fputs(usage_text, out);
}

static int usage(void)
{
    print_usage(stderr);
    return EXIT_BAD_USAGE;
}

static int bad_value(const char *option, const char *value)
{
    fprintf(stderr, "codex-runner: bad value '%s' for --%s\n", value, option);
    return EXIT_BAD_USAGE;
}

static void print_progress(void *arg, unsigned percent, uint64_t entries)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rmaking the image: %u%% (%llu files)", percent,
                (unsigned long long)entries);
}

static int image_main(int argc, char **argv)
{
    if (argc != 3)
        return usage();
    struct image image;
    struct err err;
    int status = image_open(&image, argv[2], print_progress, NULL, &err);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (status < 0) {
        fprintf(stderr, "codex-runner: %s\n", err.message);
        return 1;
    }
    printf("%s\n", image.path);
    image_release(&image);
    return 0;
}

enum option_id {
    OPTION_SANDBOX = 1,
    OPTION_WRITE,
    OPTION_ROOT,
    OPTION_WORKDIR,
    OPTION_MEMORY,
    OPTION_CPUS,
    OPTION_PIDS,
    OPTION_TIMEOUT,
    OPTION_RUNTIME,
    OPTION_STATE,
    OPTION_IMAGES,
    OPTION_AGENT,
    OPTION_INTERNET,
};

static const struct option sandbox_options[] = {
    {"sandbox", no_argument, NULL, OPTION_SANDBOX},
    {"write", no_argument, NULL, OPTION_WRITE},
    {"root", no_argument, NULL, OPTION_ROOT},
    {"workdir", required_argument, NULL, OPTION_WORKDIR},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"cpus", required_argument, NULL, OPTION_CPUS},
    {"pids", required_argument, NULL, OPTION_PIDS},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"runtime", required_argument, NULL, OPTION_RUNTIME},
    {"state", required_argument, NULL, OPTION_STATE},
    {"images", required_argument, NULL, OPTION_IMAGES},
    {"agent", required_argument, NULL, OPTION_AGENT},
    {"internet", no_argument, NULL, OPTION_INTERNET},
    {0},
};

/* Take one option with its value into OPTIONS; false when the value is bad. */
static bool take_sandbox_option(struct interactive_options *options, int id, const char *value)
{
    int64_t number;
    switch (id) {
    case OPTION_WRITE:
        return options->write = true;
    case OPTION_ROOT:
        return options->root = true;
    case OPTION_WORKDIR:
        options->workdir = value;
        return true;
    case OPTION_MEMORY:
        return str_parse_size(value, &options->limits.memory_bytes) == 0 &&
               options->limits.memory_bytes >= SANDBOX_MEMORY_MIN;
    case OPTION_CPUS:
        return str_parse_milli(value, 1024 * 1000, &options->limits.cpu_milli) == 0 &&
               options->limits.cpu_milli >= 10;
    case OPTION_PIDS:
        if (str_parse_int(value, SANDBOX_PIDS_MIN, SANDBOX_PIDS_MAX, &number) < 0)
            return false;
        options->limits.pids = (uint32_t)number;
        return true;
    case OPTION_TIMEOUT:
        options->timeout_ms = clock_parse_duration_ms(value);
        return options->timeout_ms > 0;
    case OPTION_RUNTIME:
        options->runtime = value;
        return true;
    case OPTION_STATE:
        options->state = value;
        return true;
    case OPTION_IMAGES:
        options->images = value;
        return true;
    case OPTION_AGENT:
        options->agent = value;
        return true;
    case OPTION_INTERNET:
        options->gateway_config = SANDBOX_FD_GATEWAY;
        return true;
    }
    return true;
}

static int sandbox_main(int argc, char **argv)
{
    char agent[4096], gateway[4096];
    snprintf(agent, sizeof agent, "%s/codex-agent", process_program_dir());
    snprintf(gateway, sizeof gateway, "%s/codex-gateway", process_program_dir());
    struct interactive_options options = {
        .runtime = "crun",
        .agent = agent,
        .gateway = gateway,
        .gateway_config = -1,
        .workdir = ".",
        .limits = {.memory_bytes = SANDBOX_MEMORY_DEFAULT, .pids = SANDBOX_PIDS_DEFAULT},
    };
    int id, index;
    while ((id = getopt_long(argc, argv, "+", sandbox_options, &index)) != -1) {
        if (id == '?')
            return usage();
        if (!take_sandbox_option(&options, id, optarg))
            return bad_value(sandbox_options[index].name, optarg);
    }
    bool lacks_config =
        options.gateway_config >= 0 && fcntl(options.gateway_config, F_SETFD, FD_CLOEXEC) < 0;
    if (lacks_config || !options.state || !options.images || !argv[optind])
        return usage();
    options.argv = (const char *const *)argv + optind;
    return interactive_run(&options);
}

/* What --spawner, --run and --check are told: where everything is. */
struct places {
    const char *state, *images, *runtime, *agent, *gateway, *git;
};

/* false: bad usage. Programs that are not named lie beside this one; STORAGE keeps their paths. */
static bool take_places(int argc, char **argv, struct places *places, char storage[3][4096])
{
    static const struct option options[] = {
        {"spawner", no_argument, NULL, 'S'},      {"run", no_argument, NULL, 'R'},
        {"check", no_argument, NULL, 'C'},        {"state", required_argument, NULL, 's'},
        {"images", required_argument, NULL, 'i'}, {"runtime", required_argument, NULL, 'r'},
        {"agent", required_argument, NULL, 'a'},  {"gateway", required_argument, NULL, 'w'},
        {"git", required_argument, NULL, 'g'},    {0},
    };
    static const char *const names[] = {"codex-agent", "codex-gateway", "codex-git"};
    for (int i = 0; i < 3; i++)
        snprintf(storage[i], 4096, "%s/%s", process_program_dir(), names[i]);
    *places = (struct places){
        .runtime = "crun", .agent = storage[0], .gateway = storage[1], .git = storage[2]};
    int id;
    while ((id = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        const char **place = id == 's'   ? &places->state
                             : id == 'i' ? &places->images
                             : id == 'r' ? &places->runtime
                             : id == 'a' ? &places->agent
                             : id == 'w' ? &places->gateway
                             : id == 'g' ? &places->git
                                         : NULL;
        if (id == '?')
            return false;
        if (place)
            *place = optarg;
    }
    return places->state && places->images && optind == argc;
}

static int spawner_role(int argc, char **argv)
{
    struct places places;
    static char storage[3][4096];
    if (!take_places(argc, argv, &places, storage))
        return usage();
    const struct spawner_options options = {.state = places.state,
                                            .images = places.images,
                                            .runtime = places.runtime,
                                            .agent = places.agent,
                                            .gateway = places.gateway,
                                            .git = places.git};
    return spawner_main(&options);
}

static int run_role(int argc, char **argv)
{
    struct places places;
    static char storage[3][4096];
    if (!take_places(argc, argv, &places, storage))
        return usage();
    const struct run_options options = {.state = places.state,
                                        .images = places.images,
                                        .runtime = places.runtime,
                                        .agent = places.agent,
                                        .gateway = places.gateway};
    return run_main(&options);
}

static int check_role(int argc, char **argv)
{
    struct places places;
    static char storage[3][4096];
    if (!take_places(argc, argv, &places, storage))
        return usage();
    const struct check_options options = {
        .state = places.state, .images = places.images, .runtime = places.runtime};
    return check_main(&options);
}

static int rootless_role(int argc, char **argv)
{
    struct err err;
    if (rootless_check(&err) == 0)
        return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}

/* Root comes first, if only of a user namespace. */
static int start_role(int (*run)(int argc, char **argv), int argc, char **argv)
{
    struct err err;
    if (rootless_enter(argv, &err) == 0)
        return run(argc, argv);
    fprintf(stderr, "%s%s\n", run == rootless_role ? "" : "codex: ", err.message);
    return run == sandbox_main ? INTERACTIVE_NO_SANDBOX : 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } roles[] = {{"--image", image_main},     {"--sandbox", sandbox_main},
                 {"--spawner", spawner_role}, {"--run", run_role},
                 {"--check", check_role},     {"--rootless", rootless_role}};
    process_reserve_stdio();
    if (about(argc, argv, "codex-runner", print_usage))
        return 0;
    log_open("codex-runner");
    prctl(PR_SET_NAME, "codex-runner"); /* the spawner runs us by /proc/self/exe */
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof roles[0]; i++)
        if (!strcmp(argv[1], roles[i].name))
            return start_role(roles[i].run, argc, argv);
    return usage();
}
