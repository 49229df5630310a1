/*
 * codex-git: git work outside the sandbox. One verb a process, started by the spawner with the
 * privileges of that verb; see docs/protocols.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/object_id.h"
#include "base/privilege.h"
#include "base/refname.h"
#include "base/str.h"
#include "git/remote.h"
#include "git/verbs.h"
#include "programs/about.h"
#include "programs/reach.h"
#include "task/exit.h"

/* What a verb takes; also which of them it must have. */
enum option {
    OPT_REPO = 1,
    OPT_BASE = 2,
    OPT_BRANCH = 4,
    OPT_COMMIT = 8,
    OPT_BASE_COMMIT = 16,
    OPT_MIRROR = 32,
    OPT_TIMEOUT = 64,
    OPT_STALL = 128,
    OPT_BASE_INDEX = 256,
    OPT_PART = 512, /* of fetch, with an address alone */
    OPT_LARGE_FILES = 1024,
    OPT_REMOTE = OPT_MIRROR | OPT_TIMEOUT | OPT_STALL, /* with an address as --repo alone */
    OPT_EXTRA = OPT_BASE_COMMIT,                       /* of push, likewise */
};

typedef int verb_fn(const struct verb_request *request, struct err *err);

static const struct verb {
    const char *name;
    verb_fn *run;
    unsigned allowed;
    unsigned required;
    int last_fd; /* from 3 on, all must be open */
    const char *usage;
    verb_fn *run_remote; /* when --repo is the address of a remote repository; NULL: never */
    int last_remote_fd;
} verbs[] = {
    {"resolve", git_resolve, OPT_REPO | OPT_BASE | OPT_BRANCH, 0, 2,
     "[--repo REPO] [--base REF] [--branch NAME]", git_remote_resolve, REMOTE_FD_ACCESS},
    {"fetch", git_fetch, OPT_REPO | OPT_COMMIT | OPT_LARGE_FILES, OPT_REPO | OPT_COMMIT, 2,
     "--repo REPO --commit SHA [--large-files BYTES] [--part base|module]", git_remote_fetch,
     REMOTE_FD_ACCESS},
    {"index", git_index, 0, 0, 4, "", NULL, 0},
    {"import", git_import, OPT_COMMIT | OPT_BASE_COMMIT | OPT_BASE_INDEX,
     OPT_COMMIT | OPT_BASE_COMMIT, 6, "--commit SHA --base-commit SHA [--base-index 7]", NULL, 0},
    {"adopt", git_adopt, OPT_COMMIT | OPT_BASE_COMMIT, OPT_COMMIT | OPT_BASE_COMMIT, 6,
     "--commit SHA --base-commit SHA", NULL, 0},
    {"push", git_push, OPT_REPO | OPT_COMMIT | OPT_BRANCH, OPT_REPO | OPT_COMMIT | OPT_BRANCH, 3,
     "--repo REPO --commit SHA --branch NAME", git_remote_push, REMOTE_FD_BUNDLE},
    {"merged", git_merged, OPT_REPO | OPT_BASE | OPT_COMMIT, OPT_REPO | OPT_BASE | OPT_COMMIT, 2,
     "--repo REPO --base REF --commit SHA", git_remote_merged, REMOTE_FD_ACCESS},
    {"moved", git_moved, OPT_REPO | OPT_BASE | OPT_BASE_COMMIT | OPT_COMMIT,
     OPT_REPO | OPT_BASE | OPT_BASE_COMMIT, 3,
     "--repo REPO --base BRANCH --base-commit SHA [--commit SHA]", git_remote_moved,
     REMOTE_FD_BUNDLE},
    {"merge", git_merge, OPT_COMMIT | OPT_BASE_INDEX, OPT_COMMIT, 5,
     "--commit SHA [--base-index 6]", NULL, 0},
};

static void print_usage(FILE *out)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(out, "%s codex-git %-7s %s\n", i ? "      " : "usage:", verbs[i].name,
                verbs[i].usage);
    fputs("REPO is a path, or an address with --mirror DIR --timeout MS --stall MS\n", out);
}

/* What is on the command line, numbers still as text. */
struct arguments {
    struct verb_request request;
    const char *timeout, *stall, *base_index, *large_files;
    bool remote;
};

/* Where the value of the option NAME goes; its bit into *BIT. NULL: no such option. */
static const char **option_place(struct arguments *arguments, const char *name, unsigned *bit)
{
    struct verb_request *request = &arguments->request;
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
        {"--mirror", &request->mirror, OPT_MIRROR},
        {"--timeout", &arguments->timeout, OPT_TIMEOUT},
        {"--stall", &arguments->stall, OPT_STALL},
        {"--part", &request->part, OPT_PART},
        {"--large-files", &arguments->large_files, OPT_LARGE_FILES},
        {"--base-index", &arguments->base_index, OPT_BASE_INDEX},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (!strcmp(name, options[i].name)) {
            *bit = options[i].bit;
            return options[i].place;
        }
    return NULL;
}

static int bad_usage(const struct verb *verb, struct err *err)
{
    return err_set(err, ERR_USAGE, "usage: codex-git %s %s%s", verb->name, verb->usage,
                   verb->run_remote ? " [--mirror DIR --timeout MS --stall MS]" : "");
}

static int check_values(const struct verb *verb, struct arguments *arguments, struct err *err)
{
    enum { MS_MAX = 1000000000 };
    struct verb_request *request = &arguments->request;
    if (arguments->remote &&
        (str_parse_int(arguments->timeout, 1, MS_MAX, &request->timeout_ms) < 0 ||
         str_parse_int(arguments->stall, 1, MS_MAX, &request->stall_ms) < 0))
        return bad_usage(verb, err);
    if (arguments->large_files &&
        str_parse_int(arguments->large_files, 0, INT64_MAX, &request->large_files_max) < 0)
        return bad_usage(verb, err);
    if (request->part && strcmp(request->part, "base") != 0 && strcmp(request->part, "module") != 0)
        return bad_usage(verb, err);
    if (arguments->base_index) {
        int64_t number; /* which one that is, the usage says */
        request->base_index = verb->last_fd + 1;
        if (str_parse_int(arguments->base_index, 0, INT_MAX, &number) < 0 ||
            number != request->base_index)
            return bad_usage(verb, err);
    }
    if ((request->commit && !object_id_valid(request->commit)) ||
        (request->base_commit && !object_id_valid(request->base_commit)))
        return err_set(err, ERR_USAGE, "a commit is 40 hexadecimal digits");
    return request->branch ? refname_check_branch(request->branch, err) : 0;
}

static int parse(const struct verb *verb, char **argv, struct arguments *arguments, struct err *err)
{
    unsigned given = 0, bit = 0, allowed = verb->allowed, required = verb->required;
    if (verb->run_remote)
        allowed |= OPT_REMOTE | (verb->run == git_push    ? OPT_EXTRA
                                 : verb->run == git_fetch ? OPT_PART
                                                          : 0);
    for (; *argv; argv += 2) {
        const char **place = option_place(arguments, argv[0], &bit);
        if (!place || !(allowed & bit) || given & bit || !argv[1])
            return bad_usage(verb, err);
        *place = argv[1];
        given |= bit;
    }
    const char *repo = arguments->request.repo;
    arguments->remote = verb->run_remote && repo && repo_url_is_remote(repo);
    if (arguments->remote)
        required |= OPT_REMOTE;
    if ((given & required) != required || (!arguments->remote && given & allowed & ~verb->allowed))
        return bad_usage(verb, err);
    return check_values(verb, arguments, err);
}

/* A descriptor that is missing would be the number of the next file that is opened. */
static int check_descriptors(int last, struct err *err)
{
    for (int fd = 3; fd <= last; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            return err_set(err, ERR_USAGE, "descriptor %d is not open", fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

static int last_descriptor(const struct verb *verb, const struct arguments *arguments)
{
    const struct verb_request *request = &arguments->request;
    if (!arguments->remote)
        return request->base_index ? request->base_index : verb->last_fd;
    if (verb->run == git_push && request->base_commit)
        return REMOTE_FD_EXTRA;
    return request->part ? REMOTE_FD_MODULES : verb->last_remote_fd;
}

static int exit_code(int status, bool remote)
{
    if (remote && status == -EACCES)
        return GIT_EXIT_DENIED;
    if (remote && status == -EHOSTUNREACH)
        return GIT_EXIT_UNREACHABLE;
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

static int run(const struct verb *verb, char **argv, bool *remote, struct err *err)
{
    struct arguments arguments = {.request.reach = reach_by_policy};
    int status = privilege_renounce();
    if (status < 0)
        return err_set(err, status, "cannot give up capabilities: %s", strerror(-status));
    status = parse(verb, argv, &arguments, err);
    *remote = arguments.remote;
    if (status == 0)
        status = check_descriptors(last_descriptor(verb, &arguments), err);
    if (status < 0)
        return status;
    return *remote ? verb->run_remote(&arguments.request, err) : verb->run(&arguments.request, err);
}

int main(int argc, char **argv)
{
    const struct verb *verb = NULL;
    /* How git calls us back: see remote_credential_helper(). */
    if (argc == 5 && !strcmp(argv[1], "credential"))
        return strcmp(argv[4], "get") ? 0 : remote_credential_helper(argv[2], argv[3]);
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
    struct err err;
    bool remote = false;
    int status = run(verb, argv + 2, &remote, &err);
    if (status < 0)
        err_print(&err, "codex-git");
    /* A verb that answers a question says 1 for yes: to a shell, success. */
    if (verb->run == git_merged && status >= 0)
        return status == 1 ? GIT_EXIT_DONE : GIT_EXIT_REFUSED;
    return exit_code(status, remote);
}
