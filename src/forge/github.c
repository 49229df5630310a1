/*
 * Pull requests at GitHub. Every call is looked up first: "is there one with this head?", then
 * created, and when the server says that there is one already, looked up again. So whatever breaks
 * in between, there is at most one.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/object_id.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "forge/forge.h"
#include "forge/github_answer.h"

enum {
    CALL_TIMEOUT_MS = 30000,
    SLUG_MAX = 200,     /* "owner/name" */
    BODY_CHARS = 65536, /* the most that GitHub takes */
};

struct github_call {
    struct forge_github *github;
    struct rest_call *rest;
    char slug[SLUG_MAX];
    char *base, *branch; /* check, open */
    char *title, *body;  /* open */
    char commit[OBJECT_ID_SIZE];
    bool draft;
    bool created_once; /* the server said that there is one already: it is only looked for */
    char doing[SLUG_MAX + 100];
    void (*next)(struct github_call *call, const struct rest_answer *answer, const struct err *err);
    union {
        forge_checked_fn *checked;
        forge_opened_fn *opened;
        forge_state_fn *state;
    } done;
    void *arg;
    struct github_call *other;
};

/* "owner/name" of the repository's address; false when it is not of that form. */
static bool read_slug(const char *repo, char slug[SLUG_MAX])
{
    struct repo_url url;
    struct err ignored;
    if (repo_url_parse(&url, repo, &ignored) < 0)
        return false;
    const char *path = strstr(url.text, "://");
    path = path ? strchr(path + 3, '/') : strchr(url.text, ':');
    if (!path)
        return false;
    path += 1;
    path += *path == '/';
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        len--;
    if (len > 4 && !strncmp(path + len - 4, ".git", 4))
        len -= 4;
    const char *slash = memchr(path, '/', len);
    if (!slash || slash == path || slash == path + len - 1 || len >= SLUG_MAX ||
        memchr(slash + 1, '/', len - (size_t)(slash + 1 - path)))
        return false;
    snprintf(slug, SLUG_MAX, "%.*s", (int)len, path);
    return !slug[strspn(slug,
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/")];
}

static struct github_call *call_new(const struct forge *forge, const char *repo, void *arg)
{
    struct github_call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    call->github = forge->self;
    call->arg = arg;
    call->other = call->github->calls;
    call->github->calls = call;
    if (!read_slug(repo, call->slug))
        call->slug[0] = '\0';
    return call;
}

static void call_free(struct github_call *call)
{
    struct github_call **at = &call->github->calls;
    while (*at != call)
        at = &(*at)->other;
    *at = call->other;
    rest_drop(call->rest);
    free(call->base);
    free(call->branch);
    free(call->title);
    free(call->body);
    free(call);
}

/* For a URL's path or query (RFC 3986); branches have slashes, which GitHub takes as they are. */
static char *escaped(const char *text)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 3 * strlen(text) + 1);
    buf_append_str(&out, "");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~/", c))
            buf_append_char(&out, (char)c);
        else
            buf_appendf(&out, "%%%02X", c);
    }
    return buf_steal(&out, NULL);
}

static void on_answer(void *arg, const struct rest_answer *answer, const struct err *err)
{
    struct github_call *call = arg;
    call->rest = NULL;
    call->next(call, answer, err);
}

/* Send METHOD PATH with BODY (NULL: none); the answer goes to NEXT, and so does a failure to
 * send. */
static void ask(struct github_call *call, const char *method, const char *path, const char *body,
                void (*next)(struct github_call *call, const struct rest_answer *answer,
                             const struct err *err))
{
    const struct forge_github *github = call->github;
    struct err err = {0};
    char *token = NULL;
    if (!*call->slug)
        err_set(&err, ERR_REFUSED, "the repository's address is not of the form owner/name");
    else
        github->token(github->host, &token, &err);
    call->next = next;
    if (!token) {
        next(call, NULL, &err);
        return;
    }
    AUTO_FREE char *url = str_format("%s/repos/%s%s", github->api, call->slug, path);
    AUTO_FREE char *login = str_format("Authorization: Bearer %s", token);
    github->token_free(token);
    const struct rest_request request = {
        .method = method,
        .url = url,
        .headers = {login, "Accept: application/vnd.github+json, application/json;q=0.9",
                    "X-GitHub-Api-Version: 2022-11-28", "Content-Type: application/json",
                    "User-Agent: codex"},
        .body = body,
        .ca = github->ca,
        .timeout_ms = CALL_TIMEOUT_MS};
    call->rest = rest_start(github->rest, &request, on_answer, call, &err);
    explicit_bzero(login, strlen(login));
    if (!call->rest)
        next(call, NULL, &err);
}

/* The JSON of ANSWER; NULL with a reason in OUT, also when there is no answer, for WHY. */
static json_t *read_answer(const struct github_call *call, const struct rest_answer *answer,
                           const struct err *why, struct err *out)
{
    if (answer)
        return github_answer_read(answer, call->doing, out);
    err_set(out, why->code, "%s: %s", call->doing, why->message);
    return NULL;
}

/* ---- check */

static void finish_check(struct github_call *call, const struct err *err)
{
    forge_checked_fn *done = call->done.checked;
    void *arg = call->arg;
    struct err kept = *err;
    call_free(call);
    done(arg, &kept);
}

static void on_base(struct github_call *call, const struct rest_answer *answer,
                    const struct err *why)
{
    struct err err = {0};
    json_t *root = read_answer(call, answer, why, &err);
    if (!root && err.code == ERR_NOT_FOUND)
        err_set(
            &err, ERR_REFUSED,
            "a pull request needs a branch to go to, and '%s' is none there: name one by --base",
            call->base);
    json_decref(root);
    finish_check(call, &err);
}

static void on_repository(struct github_call *call, const struct rest_answer *answer,
                          const struct err *why)
{
    struct err err = {0};
    json_t *root = read_answer(call, answer, why, &err);
    const json_t *permissions = json_object_get(root, "permissions");
    if (root && !json_is_true(json_object_get(permissions, "push")))
        err_set(&err, ERR_REFUSED, "%s: the token may not push to it", call->doing);
    else if (root && json_is_true(json_object_get(root, "archived")))
        err_set(&err, ERR_REFUSED, "%s: it is archived", call->doing);
    json_decref(root);
    if (err.code) {
        finish_check(call, &err);
        return;
    }
    AUTO_FREE char *base = escaped(call->base);
    AUTO_FREE char *path = str_format("/branches/%s", base);
    ask(call, "GET", path, NULL, on_base);
}

static void check(const struct forge *forge, const char *repo, const char *base,
                  forge_checked_fn *done, void *arg)
{
    struct github_call *call = call_new(forge, repo, arg);
    call->done.checked = done;
    call->base = str_dup(base);
    snprintf(call->doing, sizeof call->doing, "cannot open pull requests in '%s'", call->slug);
    /* codex-git gives branches by their short names; all else starts with refs/ or is an id. */
    if (!str_starts_with(base, "refs/") && !object_id_valid(base)) {
        ask(call, "GET", "", NULL, on_repository);
        return;
    }
    struct err err;
    err_set(&err, ERR_REFUSED,
            "a pull request needs a branch to go to, and '%s' is none: name one by --base", base);
    finish_check(call, &err);
}

/* ---- open */

static void finish_open(struct github_call *call, const struct github_pull *pull,
                        const struct err *err, int64_t wait_ms)
{
    forge_opened_fn *done = call->done.opened;
    void *arg = call->arg;
    struct err kept = *err;
    struct github_pull found = pull ? *pull : (struct github_pull){0};
    const struct forge_opened opened = {found.url, found.number, found.draft};
    call_free(call);
    done(arg, pull ? &opened : NULL, &kept, wait_ms);
}

static void look_for_it(struct github_call *call);

static char *request_body(const struct github_call *call)
{
    AUTO_BUF struct buf body;
    buf_init(&body, BODY_CHARS); /* bytes are at least as many as characters */
    str_append_utf8(&body, call->body, strlen(call->body));
    json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:b}", "title", call->title, "head", call->branch,
                             "base", call->base, "body", body.data, "draft", (int)call->draft);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        abort(); /* all of it is UTF-8: titles, bodies and names are checked where they come in */
    return text;
}

static void create(struct github_call *call);

static void on_created(struct github_call *call, const struct rest_answer *answer,
                       const struct err *why)
{
    struct err err = {0};
    struct github_pull pull;
    char words[512] = "";
    if (answer && answer->status == 422)
        github_answer_words(answer, words, sizeof words);
    if (strcasestr(words, "already exists") && !call->created_once) {
        call->created_once = true;
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
    json_t *root = read_answer(call, answer, why, &err);
    bool good = root && github_pull_read(root, &pull, &err) == 0;
    json_decref(root);
    finish_open(call, good ? &pull : NULL, &err,
                answer && answer->wait_ms > 0 ? answer->wait_ms : 0);
}

static void create(struct github_call *call)
{
    AUTO_FREE char *body = request_body(call);
    ask(call, "POST", "/pulls", body, on_created);
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
        if (github_pull_read(item, &pull, &ignored) < 0)
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
    json_t *root = read_answer(call, answer, why, &err);
    bool found = choose(call, root, &pull);
    json_decref(root);
    if (found)
        finish_open(call, &pull, &err, 0);
    else if (err.code)
        finish_open(call, NULL, &err, answer && answer->wait_ms > 0 ? answer->wait_ms : 0);
    else if (call->created_once) {
        err_set(&err, -EIO, "%s: there is one already, and it cannot be found", call->doing);
        finish_open(call, NULL, &err, 0);
    } else {
        create(call);
    }
}

static void look_for_it(struct github_call *call)
{
    AUTO_FREE char *owner = str_format("%.*s", (int)strcspn(call->slug, "/"), call->slug);
    AUTO_FREE char *branch = escaped(call->branch);
    AUTO_FREE char *base = escaped(call->base);
    AUTO_FREE char *path = str_format("/pulls?state=all&head=%s:%s&base=%s", owner, branch, base);
    ask(call, "GET", path, NULL, on_listed);
}

static void open_request(const struct forge *forge, const struct task *task,
                         const struct pull_request *request, forge_opened_fn *done, void *arg)
{
    struct github_call *call = call_new(forge, task->repo, arg);
    call->done.opened = done;
    call->base = str_dup(task->base);
    call->branch = str_dup(task->branch);
    call->title = str_dup(request->title);
    call->body = str_dup(request->body);
    call->draft = request->draft;
    snprintf(call->commit, sizeof call->commit, "%s", task->commit);
    snprintf(call->doing, sizeof call->doing, "cannot open a pull request in '%s'", call->slug);
    look_for_it(call);
}

/* ---- state */

static void on_state(struct github_call *call, const struct rest_answer *answer,
                     const struct err *why)
{
    struct err err = {0};
    struct github_pull pull;
    json_t *root = read_answer(call, answer, why, &err);
    bool good = root && github_pull_read(root, &pull, &err) == 0;
    json_decref(root);
    forge_state_fn *done = call->done.state;
    void *arg = call->arg;
    call_free(call);
    done(arg, !good ? NULL : pull.merged ? "merged" : pull.open ? "open" : "closed", &err);
}

static void ask_state(const struct forge *forge, const struct task *task, forge_state_fn *done,
                      void *arg)
{
    struct github_call *call = call_new(forge, task->repo, arg);
    call->done.state = done;
    snprintf(call->doing, sizeof call->doing, "cannot look at the pull request in '%s'",
             call->slug);
    AUTO_FREE char *path = str_format("/pulls/%lld", (long long)task->pull_request.number);
    ask(call, "GET", path, NULL, on_state);
}

void forge_github_init(struct forge *out, struct forge_github *github)
{
    github->calls = NULL;
    *out = (struct forge){
        .name = "github", .self = github, .check = check, .open = open_request, .state = ask_state};
}

void forge_github_release(struct forge_github *github)
{
    while (github->calls)
        call_free(github->calls);
}
