#include "git/remote_large.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

enum { SAID_MAX = 65536, PROGRESS_MAX = 64 << 20 };

/* git-lfs-config(5). No transfer by another program, nothing changed at the forge but contents, and what
 * it says of its progress tells that it is at work. */
static const char settings[] = "[lfs]\n"
                               "\tbasictransfersonly = true\n"
                               "\tlocksverify = false\n"
                               "\tdialtimeout = 15\n"
                               "\ttlstimeout = 15\n"
                               "\tactivitytimeout = 30\n"
                               "\tforceprogress = true\n"
                               "\tfetchrecentrefsdays = 0\n"
                               "[lfs \"transfer\"]\n"
                               "\tmaxretries = 3\n"
                               "\tmaxretrydelay = 5\n";

/* The reason comes first, and then what all of it came to. */
static void find_words(const char *said, char *out, size_t size)
{
    static const char before[] = "batch response: ";
    if (str_starts_with(said, before))
        said += sizeof before - 1;
    snprintf(out, size, "%.*s", (int)strcspn(said, "\r\n"), said);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

/* Whether another time may help: Go's words for networks, and git-lfs's for a server in trouble. */
static bool may_pass(const char *said)
{
    static const char *const phrases[] = {"dial tcp",       "i/o timeout",  "connection re",
                                          ": EOF",          "Fatal error",  "timeout",
                                          "unexpected EOF", "Server error", "Rate limit"};
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (strstr(said, phrases[i]))
            return true;
    return false;
}

static int explain(const struct remote *remote, int status, const char *said, struct err *err)
{
    char words[300] = "";
    if (status <= 0 && status != -ETIMEDOUT)
        return status < 0 ? err_context(err, "Git LFS") : 0;
    if (status == -ETIMEDOUT)
        return err_set(err, -EHOSTUNREACH, "Git LFS of %s cannot be reached, or broke off",
                       remote->url.site);
    if (strstr(said, "'lfs' is not a git command"))
        return err_set(err, ERR_REFUSED, "the program git-lfs is not installed here");
    find_words(said, words, sizeof words);
    return err_set(err, may_pass(said) ? -EHOSTUNREACH : ERR_REFUSED, "Git LFS of %s: %s",
                   remote->url.site, *words ? words : "it failed");
}

/* Run `git lfs ARGS…` (NULL at the end) with INPUT (NULL: none) in GIT_DIR. */
static int run(struct remote *remote, const char *git_dir, const char *const *args,
               const struct buf *input, uint64_t file_max, struct err *err)
{
    AUTO_FREE char *login = NULL;
    AUTO_FREE char *path = remote_put_secret(remote, "lfs.config", settings, err);
    int status = path ? remote_login_by_file(remote, &login, err) : err->code;
    if (status < 0)
        return status;
    AUTO_FREE char *config = str_format("GIT_CONFIG_GLOBAL=%s", path);
    AUTO_FREE char *address = str_format("remote.origin.url=%s", remote->url.text);
    AUTO_FREE char *logs = str_format("%s/" LARGE_FILES_DIRECTORY "/logs", git_dir);
    AUTO_BUF struct buf said, progress;
    buf_init(&said, SAID_MAX);
    buf_init(&progress, PROGRESS_MAX);
    struct git_command git;
    remote_command(remote, &git, git_dir);
    git_env(&git, config);
    git_setting(&git, address);
    if (login)
        git_setting(&git, login);
    git_args(&git, "lfs", NULL);
    for (; *args; args++)
        git_args(&git, *args, NULL);
    if (input) {
        git.input = input->data;
        git.input_len = input->len;
    }
    git.dir = git_dir;
    git.errors = &said;
    git.out = &progress;
    git.file_max = file_max;
    git.timeout_ms = remote->deadline_ms - clock_mono_ms();
    status = git.timeout_ms <= 0 ? err_set(err, -ETIMEDOUT, "there was no time left")
                                 : git_run(&git, err);
    io_remove_tree_at(AT_FDCWD, logs, NULL);
    return explain(remote, status, said.data, err);
}

int remote_large_fetch(struct remote *remote, const char *commit, int64_t size_max,
                       const struct large_files *files, struct err *err)
{
    const char *const args[] = {"fetch", "origin", commit, NULL};
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, remote->mirror);
    if (files->size > size_max)
        return err_set(err, ERR_LIMIT,
                       "they have %lld bytes together, and large_files in [git] is %lld",
                       (long long)files->size, (long long)size_max);
    if (!large_files_count_missing(store, files))
        return 0;
    int status = run(remote, remote->mirror, args, NULL, (uint64_t)size_max, err);
    if (status == 0 && large_files_count_missing(store, files))
        return err_set(err, ERR_NOT_FOUND, "Git LFS of %s does not have all of them",
                       remote->url.site);
    return status;
}

int remote_large_push(struct remote *remote, const char *git_dir, const struct large_files *files,
                      struct err *err)
{
    const char *const args[] = {"push", "--object-id", "origin", "--stdin", NULL};
    AUTO_BUF struct buf ids;
    buf_init(&ids, (size_t)LARGE_FILES_MAX * LARGE_FILE_ID_SIZE);
    for (size_t i = 0; i < files->count; i++)
        buf_appendf(&ids, "%s\n", files->list[i].id);
    return ids.len ? run(remote, git_dir, args, &ids, 0, err) : 0;
}
