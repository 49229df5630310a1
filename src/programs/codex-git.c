/*
 * codex-git: git work outside the sandbox. One verb a process, started by the spawner with the
 * privileges of that verb; see docs/protocols.md.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/object_id.h"
#include "base/privilege.h"
#include "base/refname.h"
#include "git/verbs.h"
#include "programs/about.h"
#include "task/exit.h"

/* What a verb takes; also which of them it must have. */
enum option { OPT_REPO = 1, OPT_BASE = 2, OPT_BRANCH = 4, OPT_COMMIT = 8, OPT_BASE_COMMIT = 16 };

static const struct verb {
    const char *name;
    int (*run)(const struct verb_request *request, struct err *err);
    unsigned allowed;
    unsigned required;
    int last_fd; /* from 3 on, all must be open */
    const char *usage;
} verbs[] = {
    {"resolve", git_resolve, OPT_REPO | OPT_BASE | OPT_BRANCH, 0, 2,
     "[--repo PATH] [--base REF] [--branch NAME]"},
    {"fetch", git_fetch, OPT_REPO | OPT_COMMIT, OPT_REPO | OPT_COMMIT, 2,
     "--repo PATH --commit SHA"},
    {"import", git_import, OPT_COMMIT | OPT_BASE_COMMIT, OPT_COMMIT | OPT_BASE_COMMIT, 6,
     "--commit SHA --base-commit SHA"},
    {"push", git_push, OPT_REPO | OPT_COMMIT | OPT_BRANCH, OPT_REPO | OPT_COMMIT | OPT_BRANCH, 3,
     "--repo PATH --commit SHA --branch NAME"},
    {"merged", git_merged, OPT_REPO | OPT_BASE | OPT_COMMIT, OPT_REPO | OPT_BASE | OPT_COMMIT, 2,
     "--repo PATH --base REF --commit SHA"},
};

static void print_usage(FILE *out)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(out, "%s codex-git %-7s %s\n", i ? "      " : "usage:", verbs[i].name,
                verbs[i].usage);
}

/* Where the value of the option NAME goes; its bit into *BIT. NULL: no such option. */
static const char **option_place(struct verb_request *request, const char *name, unsigned *bit)
{
    const struct {
        const char *name;
        const char **place;
        unsigned bit;
    } options[] = {
        {"--repo", &request->repo, OPT_REPO},
        {"--base", &request->base, OPT_BASE},
        {"--branch", &request->branch, OPT_BRANCH},
        {"--commit", &request->commit, OPT_COMMIT},
        {"--base-commit", &request->base_commit, OPT_BASE_COMMIT},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (!strcmp(name, options[i].name)) {
            *bit = options[i].bit;
            return options[i].place;
        }
    return NULL;
}

static int parse(const struct verb *verb, char **argv, struct verb_request *request,
                 struct err *err)
{
    unsigned given = 0, bit = 0;
    for (; *argv; argv += 2) {
        const char **place = option_place(request, argv[0], &bit);
        if (!place || !(verb->allowed & bit) || given & bit || !argv[1])
            return err_set(err, ERR_USAGE, "usage: codex-git %s %s", verb->name, verb->usage);
        *place = argv[1];
        given |= bit;
    }
    if ((given & verb->required) != verb->required)
        return err_set(err, ERR_USAGE, "usage: codex-git %s %s", verb->name, verb->usage);
    if ((request->commit && !object_id_valid(request->commit)) ||
        (request->base_commit && !object_id_valid(request->base_commit)))
        return err_set(err, ERR_USAGE, "a commit is 40 hexadecimal digits");
    return request->branch ? refname_check_branch(request->branch, err) : 0;
}

/* A descriptor that is missing would be the number of the next file that is opened. */
static int check_descriptors(const struct verb *verb, struct err *err)
{
    for (int fd = 3; fd <= verb->last_fd; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            return err_set(err, ERR_USAGE, "descriptor %d is not open", fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

static int exit_code(int status)
{
    switch (status) {
    case 0:
        return GIT_EXIT_DONE;
    case ERR_USAGE:
        return GIT_EXIT_USAGE;
    case ERR_NOT_FOUND:
        return GIT_EXIT_NOT_FOUND;
    case ERR_CONFLICT:
        return GIT_EXIT_BRANCH_EXISTS;
    default:
        return GIT_EXIT_REFUSED;
    }
}

int main(int argc, char **argv)
{
    const struct verb *verb = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof verbs / sizeof verbs[0]; i++)
        if (!strcmp(argv[1], verbs[i].name))
            verb = &verbs[i];
    if (!verb && about(argc, argv, "codex-git", print_usage))
        return GIT_EXIT_DONE;
    if (!verb) {
        print_usage(stderr);
        return GIT_EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    struct verb_request request = {0};
    struct err err;
    int status = privilege_renounce();
    if (status < 0)
        err_set(&err, status, "cannot give up capabilities: %s", strerror(-status));
    else
        status = parse(verb, argv + 2, &request, &err);
    if (status == 0)
        status = check_descriptors(verb, &err);
    if (status == 0)
        status = verb->run(&request, &err);
    if (status < 0)
        err_print(&err, "codex-git");
    /* A verb that answers a question says 1 for yes: to a shell, success. */
    if (verb->run == git_merged && status >= 0)
        return status == 1 ? GIT_EXIT_DONE : GIT_EXIT_REFUSED;
    return exit_code(status);
}
