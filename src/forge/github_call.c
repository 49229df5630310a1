#include "forge/github_call.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "forge/github_answer.h"

enum { CALL_TIMEOUT_MS = 30000, REPOSITORY_ID_MAX = 20 /* digits */ };

/* The LEN bytes at TEXT into SLUG; false when they are no "owner/name". */
static bool take_slug(const char *text, size_t len, char slug[GITHUB_SLUG_MAX])
{
    const char *slash = memchr(text, '/', len);
    if (!slash || slash == text || slash == text + len - 1 || len >= GITHUB_SLUG_MAX ||
        memchr(slash + 1, '/', len - (size_t)(slash + 1 - text)))
        return false;
    char copy[GITHUB_SLUG_MAX];
    snprintf(copy, sizeof copy, "%.*s", (int)len, text);
    if (copy[strspn(copy, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/")])
        return false;
    strcpy(slug, copy);
    return true;
}

/* "owner/name" of the repository's address; false when it is not of that form. */
static bool read_slug(const char *repo, char slug[GITHUB_SLUG_MAX])
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
    return take_slug(path, len, slug);
}

struct github_call *github_call_new(const struct forge *forge, const char *repo, const char *doing,
                                    void *arg)
{
    struct github_call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    call->github = forge->self;
    call->arg = arg;
    call->page = 1;
    call->other = call->github->calls;
    call->github->calls = call;
    call->nowhere = repo && !read_slug(repo, call->slug);
    snprintf(call->doing, sizeof call->doing, repo ? "%s '%s'" : "%s", doing,
             call->nowhere ? repo : call->slug);
    return call;
}

void github_call_free(struct github_call *call)
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

/* The repository has another name, or another owner: the server sends those who use the old one to
 * "…/repositories/<id>…" of itself (GitHub's REST API, "Follow redirects"). Its id, or NULL. */
static const char *moved_to(const struct github_call *call, const struct rest_answer *answer)
{
    static const char repositories[] = "/repositories/";
    const char *at = answer->location;
    size_t api = strlen(call->github->api);
    if ((answer->status != 301 && answer->status != 302 && answer->status != 307 &&
         answer->status != 308) ||
        call->moved || !*call->slug || !at || strncmp(at, call->github->api, api) != 0 ||
        !str_starts_with(at + api, repositories))
        return NULL;
    at += api + strlen(repositories);
    size_t digits = strspn(at, "0123456789");
    return digits && digits <= REPOSITORY_ID_MAX && (!at[digits] || strchr("/?", at[digits]))
               ? at
               : NULL;
}

static void send(struct github_call *call, const char *method, const char *url, const char *body,
                 rest_done_fn *done);

/* What is asked by its id tells its name: the same again, with that. */
static void on_name(void *arg, const struct rest_answer *answer, const struct err *why)
{
    struct github_call *call = arg;
    struct err err = {0};
    call->rest = NULL;
    json_t *root = github_read(call, answer, why, &err);
    const char *name = json_string_value(json_object_get(root, "full_name"));
    bool good = name && take_slug(name, strlen(name), call->slug);
    json_decref(root);
    if (good) {
        call->step(call);
    } else if (err.code) {
        call->next(call, answer, why);
    } else {
        err_set(&err, ERR_PROTOCOL, "it has moved, and the server does not tell where to");
        call->next(call, NULL, &err);
    }
}

static void on_answer(void *arg, const struct rest_answer *answer, const struct err *err)
{
    struct github_call *call = arg;
    call->rest = NULL;
    const char *id = answer ? moved_to(call, answer) : NULL;
    if (!id) {
        call->next(call, answer, err);
        return;
    }
    call->moved = true;
    AUTO_FREE char *url =
        str_format("%s/repositories/%.*s", call->github->api, (int)strspn(id, "0123456789"), id);
    send(call, "GET", url, NULL, on_name);
}

static void send(struct github_call *call, const char *method, const char *url, const char *body,
                 rest_done_fn *done)
{
    const struct forge_github *github = call->github;
    struct err err = {0};
    char *token = NULL;
    if (call->nowhere)
        err_set(&err, ERR_REFUSED, "the repository's address is not of the form owner/name");
    else
        github->token(github->host, &token, &err);
    if (!token) {
        call->next(call, NULL, &err);
        return;
    }
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
    call->rest = rest_start(github->rest, &request, done, call, &err);
    explicit_bzero(login, strlen(login));
    if (!call->rest)
        call->next(call, NULL, &err);
}

void github_ask(struct github_call *call, github_step_fn *step, const char *method,
                const char *path, const char *body, github_next_fn *next)
{
    call->step = step;
    call->next = next;
    AUTO_FREE char *url = *call->slug
                              ? str_format("%s/repos/%s%s", call->github->api, call->slug, path)
                              : str_format("%s%s", call->github->api, path);
    send(call, method, url, body, on_answer);
}

json_t *github_read(const struct github_call *call, const struct rest_answer *answer,
                    const struct err *why, struct err *out)
{
    if (answer)
        return github_answer_read(answer, call->doing, out);
    err_set(out, why->code, "%s: %s", call->doing, why->message);
    return NULL;
}

void github_hide_token(const struct github_call *call, struct err *err)
{
    const struct forge_github *github = call->github;
    struct err ignored = {0};
    char *token = NULL;
    if (!err->code || github->token(github->host, &token, &ignored) < 0)
        return;
    size_t len = strlen(token);
    for (char *at = err->message; len && (at = strstr(at, token));)
        memset(at, '*', len);
    github->token_free(token);
}

char *github_escape(const char *text)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 3 * strlen(text) + 1);
    buf_append_str(&out, "");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c))
            buf_append_char(&out, (char)c);
        else
            buf_appendf(&out, "%%%02X", c);
    }
    return buf_steal(&out, NULL);
}
