/* What GitHub answers: a status and a body. Whatever it is, words are one line of UTF-8 that fits, a
 * pull request's address is harmless, and an error has a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "forge/github_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_words(const struct rest_answer *answer)
{
    char words[GITHUB_WORDS_MAX];
    github_answer_words(answer, words, sizeof words);
    size_t len = strlen(words);
    for (size_t at = 0, one; at < len; at += one)
        require((one = str_utf8_length(words + at, len - at)) > 0 &&
                (unsigned char)words[at] >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 301, 401, 403, 404, 422, 429, 502};
    if (size < 1)
        return 0;
    char *body = calloc(1, size);
    if (!body)
        abort();
    memcpy(body, data + 1, size - 1);
    const struct rest_answer answer = {
        .status = statuses[data[0] % 9], .body = body, .len = size - 1, .wait_ms = data[0] % 3 - 1};
    struct err err = {0};
    check_words(&answer);
    json_t *root = github_answer_read(&answer, "cannot x", &err);
    require(!root == !!err.code && (root || *err.message));
    require(github_answer_wait_ms(&answer, &err) >= 0);
    struct github_pull pull;
    if (root && github_pull_read(root, &pull, &err) == 0) {
        require(pull.number > 0 && !strpbrk(pull.url, " \"'<>()\n") &&
                (str_starts_with(pull.url, "https://") || str_starts_with(pull.url, "http://")));
        github_pull_is_between(root, "team/calc", "feat/x", "main");
    }
    json_decref(root);
    free(body);
    return 0;
}
