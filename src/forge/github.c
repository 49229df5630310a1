/*
 * Pull requests at GitHub. Every call is looked up first: "is there one with this head?", then
 * created, and when the server says that there is one already, looked up again. So whatever breaks
 * in between, there is at most one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "forge/github_answer.h"
#include "forge/github_call.h"

enum {
    BODY_CHARS = 65536, /* the most that GitHub takes */
    PAGE = 30,          /* pull requests; what the server gives when it is not told */
    PAGES_MAX = 10,
};

/* ---- open */

/* ANSWER: what said so, or NULL. */
static void finish_open(struct github_call *call, const struct github_pull *pull,
                        const struct err *err, const struct rest_answer *answer)
{
    forge_opened_fn *done = call->done.opened;
    void *arg = call->arg;
    struct err kept = *err;
    github_hide_token(call, &kept);
    int64_t wait_ms = answer && !pull ? github_answer_wait_ms(answer, err) : 0;
    struct github_pull found = pull ? *pull : (struct github_pull){0};
    const struct forge_opened opened = {found.url, found.number, found.draft};
    github_call_free(call);
    done(arg, pull ? &opened : NULL, &kept, wait_ms);
}

static void look_for_it(struct github_call *call);

/* NULL when the name of a branch is not UTF-8: git allows that. */
static char *request_body(const struct github_call *call)
{
    AUTO_BUF struct buf body;
    buf_init(&body, BODY_CHARS); /* bytes are at least as many as characters */
    str_append_utf8(&body, call->body, strlen(call->body));
    json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:b}", "title", call->title, "head", call->branch,
                             "base", call->base, "body", body.data, "draft", (int)call->draft);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static void create(struct github_call *call);

static void on_created(struct github_call *call, const struct rest_answer *answer,
                       const struct err *why)
{
    struct err err = {0};
    struct github_pull pull;
    char words[GITHUB_WORDS_MAX] = "";
    if (answer && answer->status == 422)
        github_answer_words(answer, words, sizeof words);
    if (strcasestr(words, "already exists") && !call->created_once) {
        call->created_once = true;
        call->page = 1;
        look_for_it(call);
        return;
    }
    if (strcasestr(words, "draft") && call->draft) {
        call->draft = false; /* not in every plan: an ordinary one, whose title says so */
        char *title = str_format("Draft: %s", call->title);
        free(call->title);
        call->title = title;
        create(call);
        return;
    }
    json_t *root = github_read(call, answer, why, &err);
    bool good = root && github_pull_read(root, &pull, &err) == 0;
    json_decref(root);
    finish_open(call, good ? &pull : NULL, &err, answer);
}

static void create(struct github_call *call)
{
    AUTO_FREE char *body = request_body(call);
    if (!body) {
        struct err err;
        err_set(&err, ERR_REFUSED, "%s: a branch's name is not UTF-8", call->doing);
        finish_open(call, NULL, &err, NULL);
        return;
    }
    github_ask(call, create, "POST", "/pulls", body, on_created);
}

/* The one that is open: its branch is ours. Else one of this very commit that was merged or closed:
 * that was an answer, and is not asked again. Others are of an earlier branch of the same name. */
static bool choose(const struct github_call *call, const json_t *list, struct github_pull *out)
{
    bool found = false;
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item) {
        struct github_pull pull;
        struct err ignored;
        if (github_pull_read(item, &pull, &ignored) < 0 ||
            !github_pull_is_between(item, call->slug, call->branch, call->base))
            continue;
        bool ours = pull.open || !strcmp(pull.commit, call->commit);
        if (ours && (!found || (pull.open && !out->open)))
            *out = pull;
        found |= ours;
    }
    return found;
}

static void on_listed(struct github_call *call, const struct rest_answer *answer,
                      const struct err *why)
{
    struct err err = {0};
    struct github_pull pull;
    json_t *root = github_read(call, answer, why, &err);
    bool found = choose(call, root, &pull);
    bool more = json_array_size(root) >= PAGE && call->page < PAGES_MAX;
    json_decref(root);
    if (found)
        finish_open(call, &pull, &err, answer);
    else if (err.code)
        finish_open(call, NULL, &err, answer);
    else if (more) {
        call->page++;
        look_for_it(call);
    } else if (call->created_once) {
        err_set(&err, -EIO, "%s: there is one already, and it cannot be found", call->doing);
        finish_open(call, NULL, &err, NULL);
    } else {
        create(call);
    }
}

static void look_for_it(struct github_call *call)
{
    AUTO_FREE char *owner = str_format("%.*s", (int)strcspn(call->slug, "/"), call->slug);
    AUTO_FREE char *branch = github_escape(call->branch);
    AUTO_FREE char *base = github_escape(call->base);
    AUTO_FREE char *path = str_format("/pulls?state=all&head=%s:%s&base=%s&per_page=%d&page=%d",
                                      owner, branch, base, PAGE, call->page);
    github_ask(call, look_for_it, "GET", path, NULL, on_listed);
}

static void open_request(const struct forge *forge, const struct task *task,
                         const struct pull_request *request, forge_opened_fn *done, void *arg)
{
    struct github_call *call =
        github_call_new(forge, task->repo, "cannot open a pull request in", arg);
    call->done.opened = done;
    call->base = str_dup(task->base);
    call->branch = str_dup(task->branch);
    call->title = str_dup(request->title);
    call->body = str_dup(request->body);
    call->draft = request->draft;
    snprintf(call->commit, sizeof call->commit, "%s", task->commit);
    look_for_it(call);
}

/* ---- state */

static void on_state(struct github_call *call, const struct rest_answer *answer,
                     const struct err *why)
{
    struct err err = {0};
    struct github_pull pull;
    json_t *root = github_read(call, answer, why, &err);
    bool good = root && github_pull_read(root, &pull, &err) == 0;
    json_decref(root);
    github_hide_token(call, &err);
    forge_state_fn *done = call->done.state;
    void *arg = call->arg;
    github_call_free(call);
    done(arg, !good ? NULL : pull.merged ? "merged" : pull.open ? "open" : "closed", &err);
}

static void ask_state(struct github_call *call)
{
    AUTO_FREE char *path = str_format("/pulls/%lld", (long long)call->number);
    github_ask(call, ask_state, "GET", path, NULL, on_state);
}

static void find_state(const struct forge *forge, const struct task *task, forge_state_fn *done,
                       void *arg)
{
    struct github_call *call =
        github_call_new(forge, task->repo, "cannot look at the pull request in", arg);
    call->done.state = done;
    call->number = task->pull_request.number;
    ask_state(call);
}

void forge_github_init(struct forge *out, struct forge_github *github)
{
    github->calls = NULL;
    *out = (struct forge){.name = "github",
                          .self = github,
                          .try_token = github_try_token,
                          .check = github_check,
                          .open = open_request,
                          .state = find_state};
}

void forge_github_release(struct forge_github *github)
{
    while (github->calls)
        github_call_free(github->calls);
}
