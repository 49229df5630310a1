/* What is found out about GitHub before work begins: the token, the repository, the base, the right. */
#include "forge/github_call.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fnv.h"
#include "base/refname.h"
#include "base/str.h"
#include "forge/github_answer.h"

enum {
    TRIALS = sizeof((struct forge_github *)0)->trials / sizeof(struct github_trial),
    TRIAL_LASTS_MS = 10 * 60 * 1000,
};

/* ---- token */

static void finish_check(struct github_call *call, const struct err *err)
{
    forge_checked_fn *done = call->done.checked;
    void *arg = call->arg;
    struct err kept = *err;
    github_hide_token(call, &kept);
    github_call_free(call);
    done(arg, &kept);
}

static void on_links(struct github_call *call, const struct rest_answer *answer,
                     const struct err *why)
{
    struct err err = {0};
    json_t *root = github_read(call, answer, why, &err);
    if (root && !json_is_string(json_object_get(root, "current_user_url")))
        err_set(&err, ERR_PROTOCOL, "%s: what answers there is not GitHub's API", call->doing);
    json_decref(root);
    finish_check(call, &err);
}

/* The list of the API's addresses: small, open to every kind of token, refused to none but wrong
 * ones. */
static void ask_links(struct github_call *call)
{
    github_ask(call, ask_links, "GET", "/", NULL, on_links);
}

void github_try_token(const struct forge *forge, forge_checked_fn *done, void *arg)
{
    struct github_call *call = github_call_new(forge, NULL, "the token cannot be used", arg);
    call->done.checked = done;
    ask_links(call);
}

/* ---- check */

/* The repository and the token, as one number. False when there is no token. */
static bool trial_key(const struct github_call *call, uint64_t *key)
{
    const struct forge_github *github = call->github;
    struct err ignored;
    char *token = NULL;
    if (github->token(github->host, &token, &ignored) < 0)
        return false;
    *key = fnv_add(fnv_start, call->slug, strlen(call->slug) + 1);
    *key = fnv_add(*key, token, strlen(token));
    github->token_free(token);
    return true;
}

/* Many tasks that are handed in at once must not look like an attempt at flooding. */
static bool was_tried(const struct github_call *call)
{
    const struct github_trial *trials = call->github->trials;
    uint64_t key;
    if (!trial_key(call, &key))
        return false;
    for (size_t i = 0; i < TRIALS; i++)
        if (trials[i].key == key && clock_mono_ms() < trials[i].until_ms)
            return true;
    return false;
}

static void remember_trial(const struct github_call *call)
{
    struct github_trial *oldest = call->github->trials;
    uint64_t key;
    if (!trial_key(call, &key))
        return;
    for (size_t i = 1; i < TRIALS; i++)
        if (call->github->trials[i].until_ms < oldest->until_ms)
            oldest = &call->github->trials[i];
    *oldest = (struct github_trial){key, clock_mono_ms() + TRIAL_LASTS_MS};
}

static void on_tried(struct github_call *call, const struct rest_answer *answer,
                     const struct err *why)
{
    struct err err = {0};
    char words[GITHUB_WORDS_MAX] = "";
    if (answer && (answer->status == 422 || answer->status / 100 == 2)) {
        remember_trial(call);
        finish_check(call, &err);
        return;
    }
    json_decref(github_read(call, answer, why, &err));
    if (err.code == -EAGAIN) {
        err.code = 0; /* too many requests of this kind: that is no word about permission */
    } else if (answer &&
               (err.code == ERR_NOT_FOUND || (err.code == ERR_REFUSED && answer->status == 403))) {
        github_answer_words(answer, words, sizeof words);
        err_set(&err, ERR_REFUSED,
                "%s: the token may not (%d%s%s); give it the permission 'Pull requests: write'",
                call->doing, answer->status, *words ? ": " : "", words);
    }
    finish_check(call, &err);
}

/* Whether the token may open pull requests is told by no answer but that to opening one. From a
 * branch into itself there is nothing to merge: whoever may is told just that (422). */
static void try_to_open(struct github_call *call)
{
    json_t *json = json_pack("{s:s,s:s,s:s}", "title", "May pull requests be opened?", "head",
                             call->base, "base", call->base);
    AUTO_FREE char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!body) { /* git allows that */
        struct err err;
        err_set(&err, ERR_REFUSED, "%s: the name of the branch is not UTF-8", call->doing);
        finish_check(call, &err);
        return;
    }
    github_ask(call, try_to_open, "POST", "/pulls", body, on_tried);
}

static void on_base(struct github_call *call, const struct rest_answer *answer,
                    const struct err *why)
{
    struct err err = {0};
    json_t *root = github_read(call, answer, why, &err);
    if (!root && err.code == ERR_NOT_FOUND)
        err_set(
            &err, ERR_REFUSED,
            "a pull request needs a branch to go to, and '%s' is none there: name one by --base",
            call->base);
    json_decref(root);
    if (err.code || (!call->anew && was_tried(call)))
        finish_check(call, &err);
    else
        try_to_open(call);
}

static void ask_base(struct github_call *call)
{
    AUTO_FREE char *base = github_escape(call->base);
    AUTO_FREE char *path = str_format("/branches/%s", base);
    github_ask(call, ask_base, "GET", path, NULL, on_base);
}

static void on_repository(struct github_call *call, const struct rest_answer *answer,
                          const struct err *why)
{
    struct err err = {0};
    json_t *root = github_read(call, answer, why, &err);
    const json_t *permissions = json_object_get(root, "permissions");
    if (!root)
        ; /* told already */
    else if (json_is_false(json_object_get(permissions, "push")))
        err_set(&err, ERR_REFUSED, "%s: the token may not push to it", call->doing);
    else if (json_is_true(json_object_get(root, "archived")))
        err_set(&err, ERR_REFUSED, "%s: it is archived", call->doing);
    else if (json_is_true(json_object_get(root, "disabled")))
        err_set(&err, ERR_REFUSED, "%s: it is disabled", call->doing);
    else if (json_is_false(json_object_get(root, "has_pull_requests")))
        err_set(&err, ERR_REFUSED, "%s: it has them turned off", call->doing);
    json_decref(root);
    if (err.code)
        finish_check(call, &err);
    else
        ask_base(call);
}

static void ask_repository(struct github_call *call)
{
    github_ask(call, ask_repository, "GET", "", NULL, on_repository);
}

void github_check(const struct forge *forge, const char *repo, const char *base, bool anew,
                  forge_checked_fn *done, void *arg)
{
    struct github_call *call = github_call_new(forge, repo, "cannot open pull requests in", arg);
    call->done.checked = done;
    call->base = str_dup(base);
    call->anew = anew;
    if (refname_is_branch(base)) {
        ask_repository(call);
        return;
    }
    struct err err;
    err_set(&err, ERR_REFUSED,
            "a pull request needs a branch to go to, and '%s' is none: name one by --base", base);
    finish_check(call, &err);
}
