#include "git/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/object_id.h"
#include "base/process.h"
#include "base/str.h"
#include "git/remote_error.h"
#include "git/repository.h"

enum { CONNECT_SECONDS = 15, SAID_MAX = 65536 };

/* Of git's address space when it talks to a remote: lists of refs are held in memory. */
#ifdef __SANITIZE_ADDRESS__ /* whose shadow memory the credential helper could not have then */
static const uint64_t memory_max = 0;
#else
static const uint64_t memory_max = 8ULL << 30;
#endif

/* Of one file, of a repository that no person has named. */
static const uint64_t stranger_file_max = 4ULL << 30;

static const char *scheme_name(enum repo_scheme scheme)
{
    return scheme == REPO_SSH ? "ssh" : scheme == REPO_HTTP ? "http" : "https";
}

static void add_setting(struct remote *remote, char *setting)
{
    size_t i = 0;
    while (remote->settings[i])
        i++;
    remote->settings[i] = setting;
}

/* The path of a new directory that is ours alone. /run is in memory. The caller frees. */
static char *make_directory(const char *const *places, struct err *err)
{
    for (; *places; places++) {
        char *path = str_format("%s/codex-git-XXXXXX", *places);
        if (mkdtemp(path))
            return path;
        free(path);
    }
    err_errno(err, "cannot create a directory");
    return NULL;
}

char *remote_put_secret(struct remote *remote, const char *name, const char *text, struct err *err)
{
    static const char *const places[] = {"/run", "/tmp", NULL};
    if (!remote->secrets && !(remote->secrets = make_directory(places, err)))
        return NULL;
    AUTO_FREE char *path = str_format("%s/%s", remote->secrets, name);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_errno(err, "cannot create '%s'", path);
        return NULL;
    }
    size_t len = strlen(text);
    int status = io_write_all(fd, text, len, err);
    /* ssh refuses a key whose last line does not end. */
    if (status == 0 && len && text[len - 1] != '\n')
        status = io_write_all(fd, "\n", 1, err);
    return status < 0 ? NULL : steal_pointer(&path);
}

/* What the credential helper prints: gitcredentials(7). The caller wipes and frees it. */
static char *login_answer(const struct remote *remote)
{
    return str_format("username=%s\npassword=%s\n",
                      remote->access.user ? remote->access.user : "git", remote->access.token);
}

/* The setting of a helper that knows one host; NULL on failure. The caller frees it. FROM: what the shell
 * reads as its descriptor 3, else it is to be there. */
static char *helper_setting(const struct remote *remote, const char *from, struct err *err)
{
    const char *self = process_program_path();
    if (!*self) {
        err_errno(err, "cannot find myself");
        return NULL;
    }
    if (strchr(self, '\'')) {
        err_set(err, ERR_REFUSED, "a program's path with a ' in it cannot be used");
        return NULL;
    }
    return str_format("credential.helper=!'%s' credential %s %s%s%s", self,
                      scheme_name(remote->url.scheme), remote->url.site, from ? " 3<" : "",
                      from ? from : "");
}

/* The token by a helper, from a descriptor. */
static int set_up_token(struct remote *remote, struct err *err)
{
    AUTO_FREE char *setting = helper_setting(remote, NULL, err);
    if (!setting)
        return err->code;
    AUTO_FREE char *answer = login_answer(remote);
    remote->credentials = io_memfd("credentials", answer, strlen(answer), err);
    explicit_bzero(answer, strlen(answer));
    if (remote->credentials < 0)
        return remote->credentials;
    add_setting(remote, steal_pointer(&setting));
    return 0;
}

int remote_login_by_file(struct remote *remote, char **setting, struct err *err)
{
    *setting = NULL;
    if (!remote->access.token || remote->url.scheme == REPO_SSH)
        return 0;
    AUTO_FREE char *answer = login_answer(remote);
    AUTO_FREE char *path = remote_put_secret(remote, "credentials", answer, err);
    explicit_bzero(answer, strlen(answer));
    if (path)
        *setting = helper_setting(remote, path, err);
    return *setting ? 0 : err->code;
}

/* Nobody has named this host but a file in a repository: it may be one of ours. */
static int set_up_reach(struct remote *remote, verb_reach_fn *reach, struct err *err)
{
    AUTO_FREE char *pin = NULL;
    if (!reach || remote->url.scheme == REPO_SSH)
        return err_set(err, ERR_REFUSED, "'%s' cannot be fetched from by a policy",
                       remote->url.text);
    int status = reach(remote->access.internet, &remote->url, &pin, err);
    if (status < 0)
        return status;
    add_setting(remote, str_dup("http.followRedirects=false"));
    if (pin)
        add_setting(remote, str_format("http.curloptResolve=%s", pin));
    return 0;
}

static int set_up_http(struct remote *remote, struct err *err)
{
    int64_t seconds = remote->stall_ms / 1000;
    add_setting(remote, str_format("http.lowSpeedTime=%lld", (long long)(seconds ? seconds : 1)));
    if (remote->access.ca) {
        AUTO_FREE char *path = remote_put_secret(remote, "ca", remote->access.ca, err);
        if (!path)
            return err->code;
        add_setting(remote, str_format("http.sslCAInfo=%s", path));
    }
    return remote->access.token ? set_up_token(remote, err) : 0;
}

/* ssh(1) with nobody's configuration, our key and our host keys. git runs this by a shell; paths of
 * ours and numbers are all that is put in. */
static int set_up_ssh(struct remote *remote, struct err *err)
{
    const struct git_access *access = &remote->access;
    if (!access->ssh_key || !access->known_hosts)
        return err_set(err, -EACCES,
                       "there is no ssh key for %s: set ssh_key_file and known_hosts in [forge "
                       "\"%s\"] of codex.conf",
                       remote->url.host, remote->url.site);
    AUTO_FREE char *key = remote_put_secret(remote, "key", access->ssh_key, err);
    AUTO_FREE char *hosts =
        key ? remote_put_secret(remote, "known_hosts", access->known_hosts, err) : NULL;
    if (!hosts)
        return err->code;
    remote->env[1] = str_format(
        "GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes "
        "-o UserKnownHostsFile=%s -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no "
        "-o IdentityFile=%s -o IdentitiesOnly=yes -o IdentityAgent=none "
        "-o PreferredAuthentications=publickey -o ForwardAgent=no -o ClearAllForwardings=yes "
        "-o ProxyCommand=none -o PermitLocalCommand=no -o ConnectTimeout=%d "
        "-o ServerAliveInterval=%d -o ServerAliveCountMax=2 -o LogLevel=ERROR",
        hosts, key, CONNECT_SECONDS, CONNECT_SECONDS);
    remote->env[2] = str_dup("GIT_SSH_VARIANT=ssh");
    return 0;
}

int remote_open(struct remote *remote, const struct verb_request *request, int access_fd,
                struct err *err)
{
    *remote = (struct remote){.credentials = -1,
                              .mirror = str_dup(request->mirror),
                              .deadline_ms = clock_mono_ms() + request->timeout_ms,
                              .stall_ms = request->stall_ms};
    int status = repo_url_parse(&remote->url, request->repo, err);
    if (status == 0)
        status = git_access_read(access_fd, &remote->access, err);
    if (status == 0 && remote->access.internet)
        status = set_up_reach(remote, request->reach, err);
    if (status < 0)
        return status;
    remote->env[0] = str_format("GIT_ALLOW_PROTOCOL=%s", scheme_name(remote->url.scheme));
    return remote->url.scheme == REPO_SSH ? set_up_ssh(remote, err) : set_up_http(remote, err);
}

void remote_release(struct remote *remote)
{
    for (size_t i = 0; i < sizeof remote->settings / sizeof remote->settings[0]; i++)
        free(remote->settings[i]);
    for (size_t i = 0; i < sizeof remote->env / sizeof remote->env[0]; i++)
        free(remote->env[i]);
    if (remote->secrets)
        io_remove_tree_at(AT_FDCWD, remote->secrets, NULL);
    if (remote->scratch)
        io_remove_tree_at(AT_FDCWD, remote->scratch, NULL);
    free(remote->secrets);
    free(remote->scratch);
    free(remote->mirror);
    if (remote->credentials >= 0)
        close(remote->credentials);
    git_access_release(&remote->access);
}

void remote_command(struct remote *remote, struct git_command *command, const char *git_dir)
{
    git_command_init(command, git_dir, NULL);
    git_setting(command, "http.followRedirects=initial");
    git_setting(command, "http.lowSpeedLimit=1");
    git_setting(command, "push.negotiate=true");
    git_setting(command, "fetch.writeCommitGraph=false");
    for (size_t i = 0; remote->settings[i]; i++)
        git_setting(command, remote->settings[i]);
    for (size_t i = 0; i < sizeof remote->env / sizeof remote->env[0]; i++)
        if (remote->env[i])
            git_env(command, remote->env[i]);
    command->pass_fd = remote->credentials;
    command->memory_max = memory_max;
    command->file_max = remote->access.internet ? stranger_file_max : 0;
    command->stall_ms = remote->stall_ms;
}

int remote_run_said(struct remote *remote, struct git_command *command, struct buf *said,
                    struct err *err)
{
    command->errors = said;
    command->timeout_ms = remote->deadline_ms - clock_mono_ms();
    int status = command->timeout_ms <= 0 ? err_set(err, -ETIMEDOUT, "git: there was no time left")
                                          : git_run(command, err);
    return remote_explain(&remote->url, &remote->access, status, said->data, err);
}

int remote_run(struct remote *remote, struct git_command *command, struct err *err)
{
    AUTO_BUF struct buf said;
    buf_init(&said, SAID_MAX);
    return remote_run_said(remote, command, &said, err);
}

int remote_find_branch(struct remote *remote, const char *branch, char *sha, struct err *err)
{
    AUTO_FREE char *ref = str_format("refs/heads/%s", branch);
    AUTO_BUF struct buf answer;
    buf_init(&answer, SAID_MAX);
    struct git_command git;
    remote_command(remote, &git, NULL);
    git_args(&git, "ls-remote", "--quiet", remote->url.text, ref, NULL);
    git.out = &answer;
    git.dir = "/";
    int status = remote_run(remote, &git, err);
    if (status < 0)
        return status;
    /* Names that end alike are listed, too. */
    AUTO_FREE char *end = str_format("\t%s\n", ref);
    const char *found = strstr(answer.data, end);
    sha[0] = '\0';
    if (found && found - answer.data >= OBJECT_ID_LEN) {
        memcpy(sha, found - OBJECT_ID_LEN, OBJECT_ID_LEN);
        sha[OBJECT_ID_LEN] = '\0';
    }
    return 0;
}

char *remote_scratch(struct remote *remote, const char *name, struct err *err)
{
    static const char *const places[] = {"/tmp", NULL};
    if (!remote->scratch && !(remote->scratch = make_directory(places, err)))
        return NULL;
    AUTO_FREE char *path = str_format("%s/%s", remote->scratch, name);
    if (repository_init(path, err) < 0)
        return NULL;
    if (!remote->mirror)
        return steal_pointer(&path);
    AUTO_FREE char *file = str_format("%s/objects/info", path);
    AUTO_FREE char *line = str_format("%s/objects\n", remote->mirror);
    int status = io_make_dirs(file, 0755, err);
    AUTO_FREE char *alternates = str_format("%s/alternates", file);
    if (status == 0)
        status = io_replace_file_at(AT_FDCWD, alternates, line, strlen(line), 0644, err);
    return status < 0 ? NULL : steal_pointer(&path);
}

/* A commit that nobody has, to ask about. */
static int make_commit(const char *git_dir, char sha[OBJECT_ID_SIZE], struct err *err)
{
    char tree[OBJECT_ID_SIZE];
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "mktree", NULL);
    int status = git_read_id(&git, tree, err);
    if (status < 0)
        return status;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "commit-tree", "-m", "whether one may push", tree, NULL);
    git_env(&git, "GIT_AUTHOR_NAME=Codex");
    git_env(&git, "GIT_AUTHOR_EMAIL=codex@localhost");
    git_env(&git, "GIT_COMMITTER_NAME=Codex");
    git_env(&git, "GIT_COMMITTER_EMAIL=codex@localhost");
    return git_read_id(&git, sha, err);
}

int remote_check_push(struct remote *remote, struct err *err)
{
    char sha[OBJECT_ID_SIZE];
    AUTO_FREE char *git_dir = remote_scratch(remote, "check.git", err);
    int status = git_dir ? make_commit(git_dir, sha, err) : err->code;
    if (status < 0)
        return status;
    AUTO_FREE char *refspec = str_format("%s:refs/heads/codex/may-one-push", sha);
    struct git_command git;
    remote_command(remote, &git, git_dir);
    git_setting(&git, "push.negotiate=false");
    git_args(&git, "push", "--dry-run", "--porcelain", "--no-verify", remote->url.text, refspec,
             NULL);
    status = remote_run(remote, &git, err);
    return status == -EACCES ? err_context(err, "no permission to push") : status;
}

/* The value of NAME in git's question, "" when it is not there. */
static const char *asked(const char *question, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *line = question; line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, name, len) && line[len] == '=')
            snprintf(out, size, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
    return out;
}

int remote_credential_helper(const char *scheme, const char *site)
{
    char protocol[16], host[REPO_HOST_MAX + 16], bytes[16384];
    AUTO_BUF struct buf question;
    buf_init(&question, 65536);
    if (io_read_all(STDIN_FILENO, &question, NULL) < 0)
        return 1;
    asked(question.data, "protocol", protocol, sizeof protocol);
    asked(question.data, "host", host, sizeof host);
    /* An IPv6 address has brackets here, which the site without a port has not. */
    char *bare = host;
    if (*bare == '[' && bare[strlen(bare) - 1] == ']') {
        bare[strlen(bare) - 1] = '\0';
        bare++;
    }
    if (strcmp(protocol, scheme) || strcasecmp(bare, site))
        return 0;
    ssize_t n = pread(3, bytes, sizeof bytes, 0);
    if (n <= 0 || io_write_all(STDOUT_FILENO, bytes, (size_t)n, NULL) < 0)
        return 1;
    explicit_bzero(bytes, sizeof bytes);
    return 0;
}
