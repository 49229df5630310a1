#include "forge/github_answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"

enum { PART_MAX = 200, BLIND_WAIT_MS = 60 * 1000 };

static void append_words(struct buf *out, const char *words)
{
    AUTO_BUF struct buf part;
    buf_init(&part, PART_MAX);
    str_append_utf8(&part, words, strlen(words));
    buf_append_str(out, part.data);
}

/* What an error body says in "message", and in the first of "errors": a string, or an object that
 * has a message or at least names a field and what is wrong with it. */
void github_answer_words(const struct rest_answer *answer, char *out, size_t size)
{
    json_error_t error;
    AUTO_BUF struct buf words;
    buf_init(&words, 4 * PART_MAX);
    buf_append_str(&words, "");
    json_t *root = json_loadb(answer->body, answer->len, 0, &error);
    const char *message = json_string_value(json_object_get(root, "message"));
    const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    const char *more = json_is_string(first) ? json_string_value(first)
                                             : json_string_value(json_object_get(first, "message"));
    const char *field = json_string_value(json_object_get(first, "field"));
    const char *code = json_string_value(json_object_get(first, "code"));
    append_words(&words, message ? message : "");
    if (words.len && (more || field))
        buf_append_str(&words, ": ");
    append_words(&words, more ? more : field ? field : "");
    if (!more && field && code) {
        buf_append_str(&words, " is ");
        append_words(&words, code);
    }
    json_decref(root);
    for (char *p = words.data; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    struct buf cut;
    buf_init(&cut, size - 1);
    str_append_utf8(&cut, words.data, words.len);
    snprintf(out, size, "%s", cut.data);
    buf_release(&cut);
}

/* GitHub answers 403 and 429 to those who ask too often, and may say when to come again. */
static bool is_rate_limit(const struct rest_answer *answer, const char *words)
{
    return answer->status == 429 ||
           (answer->status == 403 && (answer->wait_ms >= 0 || strcasestr(words, "rate limit")));
}

/* "If … not, wait for at least one minute" (GitHub's REST API, "Rate limits"). */
int64_t github_answer_wait_ms(const struct rest_answer *answer, const struct err *err)
{
    if (err->code == -EAGAIN)
        return answer->wait_ms >= 0 ? answer->wait_ms : BLIND_WAIT_MS;
    return answer->status >= 500 && answer->wait_ms > 0 ? answer->wait_ms : 0;
}

json_t *github_answer_read(const struct rest_answer *answer, const char *doing, struct err *err)
{
    char words[GITHUB_WORDS_MAX];
    github_answer_words(answer, words, sizeof words);
    const char *colon = *words ? ": " : "";
    if (answer->status >= 200 && answer->status < 300) {
        json_error_t error;
        json_t *root = json_loadb(answer->body, answer->len, 0, &error);
        if (!root)
            err_set(err, -EIO, "%s: the server's answer is no JSON", doing);
        return root;
    }
    if (is_rate_limit(answer, words))
        err_set(err, -EAGAIN, "%s: too many requests%s%s", doing, colon, words);
    else if (answer->status >= 500)
        err_set(err, -EIO, "%s: the server answers %d%s%s", doing, answer->status, colon, words);
    else if (answer->status / 100 == 3)
        err_set(err, ERR_REFUSED, "%s: it has moved (%d): give its new address", doing,
                answer->status);
    else if (answer->status == 404)
        err_set(err, ERR_NOT_FOUND, "%s: the token does not see it (404)", doing);
    else if (answer->status == 401)
        err_set(err, ERR_REFUSED, "%s: the token is refused (401)%s%s", doing, colon, words);
    else
        err_set(err, ERR_REFUSED, "%s: the server answers %d%s%s", doing, answer->status, colon,
                words);
    return NULL;
}

int github_pull_read(const json_t *json, struct github_pull *pull, struct err *err)
{
    const json_t *number = json_object_get(json, "number");
    const char *url = json_string_value(json_object_get(json, "html_url"));
    const char *state = json_string_value(json_object_get(json, "state"));
    if (!json_is_integer(number) || json_integer_value(number) < 1 || !url || !state ||
        strlen(url) >= sizeof pull->url ||
        (!str_starts_with(url, "https://") && !str_starts_with(url, "http://")) ||
        url[strspn(url,
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#@%+")])
        return err_set(err, ERR_PROTOCOL, "the server's answer is no pull request");
    *pull = (struct github_pull){.number = json_integer_value(number),
                                 .draft = json_is_true(json_object_get(json, "draft")),
                                 .open = !strcmp(state, "open"),
                                 /* In lists there is only the time. */
                                 .merged = json_is_true(json_object_get(json, "merged")) ||
                                           json_is_string(json_object_get(json, "merged_at"))};
    strcpy(pull->url, url);
    const char *commit = json_string_value(json_object_get(json_object_get(json, "head"), "sha"));
    if (commit && object_id_valid(commit))
        strcpy(pull->commit, commit);
    return 0;
}

bool github_pull_is_between(const json_t *json, const char *slug, const char *branch,
                            const char *base)
{
    const json_t *head = json_object_get(json, "head");
    const char *from = json_string_value(json_object_get(head, "ref"));
    const char *to = json_string_value(json_object_get(json_object_get(json, "base"), "ref"));
    const char *repository =
        json_string_value(json_object_get(json_object_get(head, "repo"), "full_name"));
    return from && to && repository && !strcmp(from, branch) && !strcmp(to, base) &&
           !strcasecmp(repository, slug);
}
