#include "git/submodules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/command.h"

enum { SETTINGS_MAX = 1 << 20 };

/* The url and update settings of COMMIT's .gitmodules, as "key\nvalue\0" each; none when there is
 * no such file. */
static int read_settings(const char *git_dir, const char *commit, struct buf *out, struct err *err)
{
    AUTO_FREE char *blob = str_format("%s:.gitmodules", commit);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "cat-file", "-e", blob, NULL);
    int code = git_run(&git, err);
    if (code != 0)
        return code < 0 ? code : 0;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--null", "--no-includes", "--blob", blob, "--get-regexp",
             "^submodule\\..*\\.(url|update)$", NULL);
    git.out = out;
    code = git_run(&git, err);
    return code == 0 || code == 1 ? 0 : code < 0 ? code : -EIO;
}

static bool dangerous(const char *value)
{
    return strstr(value, "::") || value[0] == '-' || value[0] == '!' || value[0] == '/' ||
           strncasecmp(value, "file:", 5) == 0;
}

/* Whether SETTINGS has the entry "key\nvalue". */
static bool has_entry(const struct buf *settings, const char *entry)
{
    for (const char *p = settings->data; p < settings->data + settings->len; p += strlen(p) + 1)
        if (!strcmp(p, entry))
            return true;
    return false;
}

int submodules_check(const char *git_dir, const char *base, const char *commit, struct err *err)
{
    AUTO_BUF struct buf before, after;
    buf_init(&before, SETTINGS_MAX);
    buf_init(&after, SETTINGS_MAX);
    int status = read_settings(git_dir, commit, &after, err);
    if (status < 0 || !after.len)
        return status;
    status = read_settings(git_dir, base, &before, err);
    if (status < 0)
        return status;
    for (const char *p = after.data; p < after.data + after.len; p += strlen(p) + 1) {
        const char *value = strchr(p, '\n');
        if (value && dangerous(value + 1) && !has_entry(&before, p))
            return err_set(err, ERR_REFUSED, ".gitmodules: '%.*s' may not be '%.100s'",
                           (int)strcspn(p, "\n"), p, value + 1);
    }
    return 0;
}
