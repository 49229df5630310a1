#include "workspace/step.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/object_id.h"
#include "base/privilege.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "task/exit.h"

enum {
    TASK_MAX = 8 << 20, /* bytes of task.json */
    READ_SIZE = 65536,
    NAME_MAX_BYTES = 512,      /* of what becomes part of a line or a path component */
    COMMAND_MAX_BYTES = 65536, /* of the test or set-up command */
};

static const int64_t day_ms = 86400000;

struct member {
    const char *name;
    const char **out;
    size_t max;
    bool required;
    bool one_line;
};

static int read_string(const json_t *json, const struct member *member, struct err *err)
{
    const json_t *value = json_object_get(json, member->name);
    if (!value || json_is_null(value))
        return member->required ? err_set(err, ERR_USAGE, "'%s' is missing", member->name) : 0;
    const char *s = json_string_value(value);
    if (!s || !*s || strlen(s) > member->max || (member->one_line && !str_is_one_line(s)))
        return err_set(err, ERR_USAGE, "'%s' must be a string of 1 to %zu bytes%s", member->name,
                       member->max, member->one_line ? " in one line" : "");
    *member->out = s;
    return 0;
}

static int read_number(const json_t *json, const char *name, int64_t min, int64_t max, int64_t *out,
                       struct err *err)
{
    const json_t *value = json_object_get(json, name);
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max)
        return err_set(err, ERR_USAGE, "'%s' must be a number from %lld to %lld", name,
                       (long long)min, (long long)max);
    *out = json_integer_value(value);
    return 0;
}

/* An absolute path of at least two components, the last one not "." or "..". */
static bool workdir_sane(const char *path)
{
    const char *last = strrchr(path, '/');
    return path[0] == '/' && last != path && last[1] && strcmp(last, "/.") != 0 &&
           strcmp(last, "/..") != 0;
}

static int read_members(struct step *step, struct err *err)
{
    const json_t *author = json_object_get(step->json, "author");
    const struct member members[] = {
        {"workdir", &step->workdir, 4000, true, true},
        {"base", &step->base, NAME_MAX_BYTES, true, true},
        {"base_commit", &step->base_commit, OBJECT_ID_LEN, true, true},
        {"prompt", &step->prompt, TASK_MAX, false, false},
        {"test_command", &step->test_command, COMMAND_MAX_BYTES, false, false},
        {"setup_command", &step->setup_command, COMMAND_MAX_BYTES, false, false},
    };
    const struct member author_members[] = {
        {"name", &step->author_name, NAME_MAX_BYTES, true, true},
        {"email", &step->author_email, NAME_MAX_BYTES, true, true},
    };
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof members / sizeof members[0]; i++)
        status = read_string(step->json, &members[i], err);
    for (size_t i = 0; status == 0 && i < sizeof author_members / sizeof author_members[0]; i++)
        if ((status = read_string(author, &author_members[i], err)) < 0)
            return err_context(err, "'author'");
    if (status == 0)
        status =
            read_number(step->json, "test_timeout_ms", 1, 30 * day_ms, &step->test_timeout_ms, err);
    if (status == 0)
        status = read_number(step->json, "commit_time", 0, 1LL << 40, &step->commit_time, err);
    if (status < 0)
        return status;
    if (!workdir_sane(step->workdir))
        return err_set(err, ERR_USAGE, "'workdir' must be an absolute path below a directory");
    if (!object_id_valid(step->base_commit))
        return err_set(err, ERR_USAGE, "'base_commit' must be 40 hexadecimal digits");
    return 0;
}

/* From its start, whatever its position: the same open file may serve several steps. */
static int read_task(struct buf *text, struct err *err)
{
    char *room;
    while ((room = buf_reserve(text, READ_SIZE))) {
        ssize_t n = pread(STEP_FD_TASK, room, READ_SIZE, (off_t)text->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot read it from standard input");
        if (n == 0)
            return 0;
        buf_wrote(text, (size_t)n);
    }
    return err_set(err, ERR_USAGE, "larger than %d bytes", TASK_MAX);
}

static int parse_task(struct step *step, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, TASK_MAX);
    int status = read_task(&text, err);
    if (status < 0)
        return status;
    json_error_t error;
    step->json = json_loadb(text.data, text.len, 0, &error);
    if (!step->json)
        return err_set(err, ERR_USAGE, "line %d: %s", error.line, error.text);
    return read_members(step, err);
}

static int take_note_of_descriptors(struct step *step, struct err *err)
{
    for (int fd = 0; fd <= STEP_FD_LAST; fd++) {
        int flags = fcntl(fd, F_GETFD);
        step->given[fd] = flags >= 0;
        if (flags >= 0)
            fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
        else if (open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
            return err_errno(err, "cannot open '/dev/null'");
    }
    if (!step->given[STEP_FD_RESULT])
        return err_set(err, ERR_USAGE, "descriptor %d, for the result, is not open",
                       STEP_FD_RESULT);
    return 0;
}

int step_begin(struct step *step, struct err *err)
{
    *step = (struct step){.prompt = "",
                          .author_name = "Codex",
                          .author_email = "codex@localhost",
                          .test_timeout_ms = 1800000};
    signal(SIGPIPE, SIG_IGN);
    int status = take_note_of_descriptors(step, err);
    if (status == 0 && (status = parse_task(step, err)) < 0)
        err_context(err, "task.json");
    return status;
}

void step_release(struct step *step)
{
    json_decref(step->json);
    *step = (struct step){0};
}

bool step_has_input(const struct step *step, enum step_fd fd)
{
    struct stat st;
    return step->given[fd] && fstat(fd, &st) == 0 && !(S_ISREG(st.st_mode) && st.st_size == 0);
}

int step_drop(struct err *err)
{
    if (geteuid() != 0)
        return 0;
    int status = privilege_drop(SANDBOX_UID, SANDBOX_GID);
    if (status < 0)
        return err_set(err, status, "cannot become user %d: %s", SANDBOX_UID, strerror(-status));
    return 0;
}

uid_t step_user(void)
{
    return geteuid() == 0 ? SANDBOX_UID : geteuid();
}

int step_write_result(const struct buf *result, struct err *err)
{
    if (io_write_all(STEP_FD_RESULT, result->data, result->len, err) < 0)
        return err_context(err, "result");
    return 0;
}

void step_note(const char *text)
{
    enum { NOTE_MAX = 32768 };
    AUTO_BUF struct buf valid, safe;
    buf_init(&valid, NOTE_MAX);
    buf_init(&safe, 4 * NOTE_MAX);
    str_append_utf8(&valid, text, strlen(text));
    str_append_terminal_safe(&safe, valid.data);
    fprintf(stderr, "note: %s\n", safe.data);
}

char *step_parent(const struct step *step)
{
    const char *slash = strrchr(step->workdir, '/');
    return str_format("%.*s", (int)(slash - step->workdir), step->workdir);
}

int step_main(int argc, char **argv, int (*run)(struct step *step, struct err *err), int failure)
{
    char who[64];
    snprintf(who, sizeof who, "codex-agent %s", argv[0]);
    bool as_root = argc == 2 && !strcmp(argv[1], "--as-root");
    if (argc != 1 && !as_root) {
        fprintf(stderr, "usage: %s [--as-root] <task.json\n", who);
        return STEP_EXIT_USAGE;
    }
    struct step step;
    struct err err;
    int status = step_begin(&step, &err);
    step.as_root = as_root;
    /* Of one user with the task's commands: they shall not look into it, or write its result. */
    if (status == 0 && as_root && (geteuid() != 0 || prctl(PR_SET_DUMPABLE, 0) < 0))
        status = err_set(&err, ERR_USAGE, "--as-root is for the container's root");
    if (status < 0)
        failure = STEP_EXIT_USAGE;
    else
        status = run(&step, &err);
    if (status < 0)
        err_print(&err, who);
    step_release(&step);
    return status < 0 ? failure : status;
}
