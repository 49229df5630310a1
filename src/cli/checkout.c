#include "cli/checkout.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "cli/git.h"
#include "cli/unpushed.h"
#include "cli/words.h"

void checkout_release(struct checkout *checkout)
{
    free(checkout->repo);
    free(checkout->base);
    free(checkout->note);
    free(checkout->warning);
    unpushed_free(checkout->unpushed);
    *checkout = (struct checkout){0};
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The path in a file:// URL, percent-decoded as git does; NULL when it names another host. */
static char *file_url_path(const char *url)
{
    const char *path = url + strlen("file://");
    if (str_starts_with(path, "localhost/"))
        path += strlen("localhost");
    if (*path != '/')
        return NULL;
    char *out = str_dup(path), *to = out;
    for (const char *from = path; *from; from++) {
        bool coded = from[0] == '%' && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0;
        *to++ = coded ? (char)(hex_digit(from[1]) * 16 + hex_digit(from[2])) : *from;
        from += coded ? 2 : 0;
    }
    *to = '\0';
    return out;
}

/* LOCATION, relative to DIR (NULL: here), as an absolute path without links; NULL when it is not
 * there. Like git, it may leave ".git" at the end out. */
static char *local_path(const char *dir, const char *location)
{
    AUTO_FREE char *decoded =
        str_starts_with(location, "file://") ? file_url_path(location) : str_dup(location);
    if (!decoded)
        return NULL;
    AUTO_FREE char *path =
        decoded[0] == '/' || !dir ? str_dup(decoded) : str_format("%s/%s", dir, decoded);
    char *real = realpath(path, NULL);
    if (real)
        return real;
    AUTO_FREE char *with_suffix = str_format("%s.git", path);
    return realpath(with_suffix, NULL);
}

int checkout_named(struct checkout *checkout, const char *repo, const char *base, struct err *err)
{
    *checkout = (struct checkout){0};
    struct stat info;
    char *path = local_path(NULL, repo);
    struct repo_url url;
    if (!path && repo_url_is_remote(repo)) {
        int status = repo_url_parse(&url, repo, err);
        if (status < 0)
            return status;
        checkout->repo = str_dup(url.text);
        checkout->base = str_dup(base);
        return 0;
    }
    if (!path)
        return err_set(err, ERR_NOT_FOUND, "no repository at '%s': %s", repo, strerror(errno));
    checkout->repo = path;
    checkout->base = str_dup(base);
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return 0;
    err_set(err, ERR_NOT_FOUND, "no repository at '%s': not a directory", repo);
    checkout_release(checkout);
    return err->code;
}

int checkout_top(char **top, struct err *err)
{
    AUTO_BUF struct buf out, errors;
    buf_init(&out, PATH_MAX);
    buf_init(&errors, GIT_OUTPUT_MAX);
    static const char *const args[] = {"rev-parse", "--show-toplevel", NULL};
    int status = git_run(NULL, args, -1, &out, &errors, err);
    if (status < 0)
        return status;
    if (status == 0) {
        if (out.len)
            out.data[out.len - 1] = '\0'; /* the line's end; the name may have one, too */
        *top = str_dup(out.data);
        return 0;
    }
    AUTO_FREE char *reason = git_reason(&errors);
    if (str_starts_with(reason, "not a git repository"))
        return err_set(err, ERR_USAGE, "not in a git checkout: change into one");
    if (str_starts_with(reason, "this operation must be run in a work tree"))
        return err_set(err, ERR_USAGE,
                       "a repository without a checkout: name it, with --repo DIRECTORY");
    if (str_starts_with(reason, "detected dubious ownership"))
        return err_set(err, ERR_USAGE,
                       "%s, which is not yours: name it with --repo DIRECTORY, or let git trust it "
                       "(safe.directory)",
                       reason);
    return err_set(err, ERR_USAGE, "this checkout cannot be used: %s", reason);
}

/* The commit that REF names in the repository DIR; NULL when it names none there. */
static int resolve(const char *dir, const char *ref, char **commit, struct err *err)
{
    AUTO_FREE char *peeled = str_format("%s^{commit}", ref);
    const char *const args[] = {"rev-parse",        "--verify", "--quiet",
                                "--end-of-options", peeled,     NULL};
    int status = git_line(dir, args, commit, err);
    return status < 0 ? status : 0;
}

/* Where one stands: its branch (NULL: detached) and commit. */
static int read_head(const char *top, char **branch, char **commit, struct err *err)
{
    static const char *const args[] = {"symbolic-ref", "--quiet", "--short", "HEAD", NULL};
    int status = git_line(top, args, branch, err);
    if (status < 0)
        return status;
    status = resolve(top, "HEAD", commit, err);
    if (status < 0)
        return status;
    if (!*commit)
        return err_set(err, ERR_USAGE, "this checkout has no commit yet: make a first one");
    return 0;
}

/* What is not committed is not part of the task: say so, once. */
static int warn_of_changes(struct checkout *checkout, const char *top, struct err *err)
{
    AUTO_BUF struct buf out;
    buf_init(&out, GIT_OUTPUT_MAX);
    static const char *const args[] = {"status", "--porcelain", NULL};
    int status = git_run(top, args, -1, &out, NULL, err);
    if (status < 0)
        return status;
    size_t count = 0;
    for (const char *p = out.data; (p = strchr(p, '\n')); p++)
        count++;
    if (count)
        checkout->warning =
            str_format("warning: %zu uncommitted change%s stay%s out: the task starts from HEAD",
                       count, count == 1 ? "" : "s", count == 1 ? "s" : "");
    return 0;
}

/* Start from COMMIT, which is called BASE here: by that name when it means the same in REPO. */
static int set_base(struct checkout *checkout, const char *base, const char *commit,
                    struct err *err)
{
    AUTO_FREE char *there = NULL;
    int status = base ? resolve(checkout->repo, base, &there, err) : 0;
    if (status < 0)
        return status;
    if (there && !strcmp(there, commit)) {
        checkout->base = str_dup(base);
        return 0;
    }
    checkout->base = str_dup(commit);
    if (base) {
        char digits[8];
        short_commit(commit, digits);
        checkout->note =
            str_format("note: '%s' is %s in '%s': the task starts from commit %s, where you are",
                       base, there ? "another commit" : "no branch", checkout->repo, digits);
    }
    return 0;
}

/* The repository that a checkout was cloned from, as far as it can serve. */
struct origin {
    char *path;    /* NULL: there is none on this machine that can be used */
    char *address; /* of a remote one, or NULL */
    char *trouble; /* without both: why, when there is an `origin` at all */
};

static void origin_release(struct origin *origin)
{
    free(origin->path);
    free(origin->address);
    free(origin->trouble);
}

/* Is PATH a repository (not a directory inside one) that git lets us use? Sets the trouble if
 * not. */
static int check_origin(struct origin *origin, const char *path, struct err *err)
{
    AUTO_BUF struct buf out, errors;
    buf_init(&out, PATH_MAX);
    buf_init(&errors, GIT_OUTPUT_MAX);
    static const char *const args[] = {"rev-parse", "--show-cdup", NULL};
    int status = git_run(path, args, -1, &out, &errors, err);
    if (status < 0)
        return status;
    if (status > 0) {
        AUTO_FREE char *reason = git_reason(&errors);
        origin->trouble = str_format("its origin '%s' cannot be used: %s", path, reason);
    } else if (strcspn(out.data, "\n")) {
        origin->trouble = str_format("its origin '%s' is not a repository", path);
    } else {
        origin->path = str_dup(path);
    }
    return 0;
}

static int find_origin(struct origin *origin, const char *top, struct err *err)
{
    static const char *const args[] = {"remote", "get-url", "origin", NULL};
    AUTO_FREE char *location = NULL;
    int status = git_line(top, args, &location, err);
    if (status != 0)
        return status < 0 ? status : 0;
    AUTO_FREE char *path = local_path(top, location);
    struct stat info;
    if (path && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return check_origin(origin, path, err);
    struct repo_url url;
    struct err why;
    /* An address that cannot be used may have a password in it: it is not repeated. */
    if (!repo_url_is_remote(location))
        origin->trouble = str_format("its origin '%s' is not there", location);
    else if (repo_url_parse(&url, location, &why) < 0)
        origin->trouble = str_format("its origin cannot be used: %s", why.message);
    else
        origin->address = str_dup(url.text);
    return 0;
}

/* The origin when it has COMMIT, else the checkout at TOP with a note. */
static int choose_repository(struct checkout *checkout, const char *top, struct origin *origin,
                             const char *commit, struct err *err)
{
    AUTO_FREE char *found = NULL;
    int status = origin->path ? resolve(origin->path, commit, &found, err) : 0;
    if (status < 0)
        return status;
    if (found) {
        checkout->repo = str_dup(origin->path);
        return 0;
    }
    checkout->repo = str_dup(top);
    if (origin->path) {
        char digits[8];
        short_commit(commit, digits);
        origin->trouble =
            str_format("its origin '%s' does not have commit %s", origin->path, digits);
    }
    if (origin->trouble)
        checkout->note = str_format("note: the task works on this checkout: %s", origin->trouble);
    return 0;
}

/* BASE is unknown here: it may be a branch of the origin that was never checked out. */
static int base_of_origin(struct checkout *checkout, const char *top, const struct origin *origin,
                          const char *base, struct err *err)
{
    AUTO_FREE char *commit = NULL;
    int status = origin->path ? resolve(origin->path, base, &commit, err) : 0;
    if (status < 0)
        return status;
    if (!commit)
        return err_set(err, ERR_NOT_FOUND, "no ref '%s' in '%s'", base, top);
    checkout->repo = str_dup(origin->path);
    checkout->base = str_dup(base);
    return 0;
}

/* The branch of origin that COMMIT is in, by what the last fetch said, into *REF; NULL: none. */
static int find_tracking(const char *top, const char *commit, char **ref, struct err *err)
{
    AUTO_FREE char *contains = str_format("--contains=%s", commit);
    const char *const args[] = {
        "for-each-ref", "--count=1", "--format=%(refname)", contains, "refs/remotes/origin/", NULL};
    int status = git_line(top, args, ref, err);
    if (status == 0 && *ref && !**ref) {
        free(*ref);
        *ref = NULL;
    }
    return status < 0 ? status : 0;
}

/* Start from COMMIT of a remote origin, called BASE here: by that name when origin's branch BASE was
 * there when it was seen last. */
static int base_at_remote(struct checkout *checkout, const char *top, const char *base,
                          const char *commit, struct err *err)
{
    AUTO_FREE char *there = NULL, *tracking = NULL;
    AUTO_FREE char *name = str_format("refs/remotes/origin/%s", base ? base : "HEAD");
    char digits[8];
    int status = base ? resolve(top, name, &there, err) : 0;
    if (status < 0)
        return status;
    if (there && !strcmp(there, commit)) {
        checkout->base = str_dup(base);
        return 0;
    }
    status = find_tracking(top, commit, &tracking, err);
    if (status < 0)
        return status;
    short_commit(commit, digits);
    if (!tracking) {
        checkout->base = there ? str_dup(base) : NULL;
        checkout->unpushed = unpushed_new(top, commit, err);
        if (!checkout->unpushed)
            return err->code;
        checkout->note =
            str_format("note: %zu commit%s that origin lacks go%s along: the task "
                       "starts from %s",
                       checkout->unpushed->count, checkout->unpushed->count == 1 ? "" : "s",
                       checkout->unpushed->count == 1 ? "es" : "", digits);
        return 0;
    }
    checkout->base = str_dup(commit);
    checkout->note =
        str_format("note: the task starts from commit %s of origin, where you are", digits);
    return 0;
}

/* The checkout's origin is remote: the task works there, from where one stands. */
static int find_at_remote(struct checkout *checkout, const char *top, const struct origin *origin,
                          const char *base, struct err *err)
{
    AUTO_FREE char *branch = NULL, *commit = NULL;
    checkout->repo = str_dup(origin->address);
    checkout->from_origin = true;
    int status = base ? resolve(top, base, &commit, err) : read_head(top, &branch, &commit, err);
    if (status < 0)
        return status;
    if (base) {
        /* A name is looked up there: that is what one means by a branch of origin. */
        AUTO_FREE char *remote_name = str_format("refs/remotes/origin/%s", base);
        AUTO_FREE char *there = NULL;
        status = resolve(top, remote_name, &there, err);
        if (status < 0)
            return status;
        if (!commit || there) {
            checkout->base = str_dup(base);
            return 0;
        }
        return base_at_remote(checkout, top, NULL, commit, err);
    }
    status = base_at_remote(checkout, top, branch, commit, err);
    return status < 0 ? status : warn_of_changes(checkout, top, err);
}

static int find_here(struct checkout *checkout, const char *top, struct origin *origin,
                     const char *base, struct err *err)
{
    AUTO_FREE char *branch = NULL, *commit = NULL;
    int status = find_origin(origin, top, err);
    if (status < 0)
        return status;
    if (origin->address)
        return find_at_remote(checkout, top, origin, base, err);
    status = base ? resolve(top, base, &commit, err) : read_head(top, &branch, &commit, err);
    if (status < 0)
        return status;
    if (!commit)
        return base_of_origin(checkout, top, origin, base, err);
    status = choose_repository(checkout, top, origin, commit, err);
    if (status == 0)
        status = set_base(checkout, base ? base : branch, commit, err);
    if (status == 0 && !base)
        status = warn_of_changes(checkout, top, err);
    return status;
}

int checkout_here(struct checkout *checkout, const char *base, struct err *err)
{
    AUTO_FREE char *top = NULL;
    struct origin origin = {0};
    *checkout = (struct checkout){0};
    int status = checkout_top(&top, err);
    if (status == 0)
        status = find_here(checkout, top, &origin, base, err);
    origin_release(&origin);
    if (status < 0)
        checkout_release(checkout);
    return status;
}

char *checkout_origin(void)
{
    AUTO_FREE char *top = NULL;
    struct origin origin = {0};
    struct err ignored;
    if (checkout_top(&top, &ignored) == 0)
        find_origin(&origin, top, &ignored);
    char *address = steal_pointer(&origin.address);
    origin_release(&origin);
    return address;
}
