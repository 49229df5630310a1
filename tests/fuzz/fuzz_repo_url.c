/* Addresses of repositories: what passes is one word that neither git, ssh nor a shell could take for
 * anything else, has one form, and that form stands for itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/repo_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct repo_url url, again;
    struct err err = {0};
    char *text = calloc(1, size + 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    if (repo_url_parse(&url, text, &err) < 0) {
        require(*err.message && !strpbrk(err.message, "\n\r\x1b"));
        free(text);
        return 0;
    }
    require(url.text[0] != '-' && url.host[0] != '-' && url.user[0] != '-' && *url.host);
    require(strspn(url.text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             "/._~-+@,=:%[]") == strlen(url.text));
    require(repo_url_is_remote(url.text));
    require(url.scheme == REPO_SSH || !*url.user);
    require(url.scheme != REPO_SSH || *url.user);
    require(repo_url_parse(&again, url.text, &err) == 0 && !strcmp(again.text, url.text) &&
            !strcmp(again.site, url.site) && again.scheme == url.scheme);
    free(text);
    return 0;
}
