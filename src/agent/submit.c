/*
 * submit: the title, description and branch that the model's work goes out under. Kept in
 * submit.json in the agent's state directory; `codex-agent commit` takes them from there.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/tool.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/refname.h"

/* `commit` hands all of this on in at most 64 KiB of JSON, where a character may take two bytes. */
enum { TITLE_MAX_BYTES = 200, BODY_MAX_BYTES = 24 << 10, FILE_MAX_BYTES = 64 << 10 };

static const char SUBMIT_FILE[] = "submit.json";

static const char description[] =
    "Records the title and description of your work: the commit and the pull request get them. "
    "Call it once your work is complete and tested, before your final answer; it does not end your "
    "turn, and a later call replaces an earlier one.";

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"title\":{\"type\":\"string\",\"description\":"
    "\"What the change does, in one line of at most 72 characters, in the imperative.\"},"
    "\"body\":{\"type\":\"string\",\"description\":"
    "\"Markdown: what was changed and why, how it was tested, and what a reviewer should know.\"},"
    "\"branch\":{\"type\":\"string\",\"description\":"
    "\"Optional name for the branch, such as feat/add-pagination.\"}},"
    "\"required\":[\"title\",\"body\"],\"additionalProperties\":false}";

struct submit {
    int dir_fd;
};

struct submission {
    const char *title, *body, *branch; /* branch: NULL when none was given */
};

static bool has_control(const char *s, const char *allowed)
{
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if ((*p < ' ' || *p == 0x7f) && !strchr(allowed, *p))
            return true;
    return false;
}

static int check(const struct submission *submission, struct err *err)
{
    if (submission->title[strspn(submission->title, " ")] == '\0')
        return err_set(err, ERR_USAGE, "'title' is empty");
    if (strlen(submission->title) > TITLE_MAX_BYTES)
        return err_set(err, ERR_USAGE, "'title' is longer than %d bytes", TITLE_MAX_BYTES);
    if (has_control(submission->title, ""))
        return err_set(err, ERR_USAGE, "'title' must be one line without control characters");
    if (strlen(submission->body) > BODY_MAX_BYTES)
        return err_set(err, ERR_USAGE, "'body' is longer than %d bytes", BODY_MAX_BYTES);
    if (has_control(submission->body, "\n\r\t"))
        return err_set(err, ERR_USAGE, "'body' must not hold control characters");
    if (submission->branch && refname_check_branch(submission->branch, err) < 0)
        return err_context(err, "'branch' cannot be used");
    return 0;
}

static int read_arguments(const struct tool_call *call, struct submission *out, struct err *err)
{
    *out = (struct submission){NULL, NULL, NULL};
    int status = tool_arg_string(call, "title", true, &out->title, err);
    if (status == 0)
        status = tool_arg_string(call, "body", true, &out->body, err);
    if (status == 0)
        status = tool_arg_string(call, "branch", false, &out->branch, err);
    if (status == 0 && out->branch && !*out->branch)
        out->branch = NULL; /* models fill in what they leave out */
    return status < 0 ? status : check(out, err);
}

static int save(int dir_fd, const struct submission *submission, struct err *err)
{
    AUTO_BUF struct buf json;
    buf_init(&json, FILE_MAX_BYTES);
    buf_append_str(&json, "{\"title\":");
    json_text_cstring(&json, submission->title);
    buf_append_str(&json, ",\"body\":");
    json_text_cstring(&json, submission->body);
    buf_append_str(&json, ",\"branch\":");
    json_text_cstring(&json, submission->branch);
    if (buf_append_str(&json, "}\n") < 0)
        return err_set(err, ERR_LIMIT, "'body' is too long");
    return io_replace_file_at(dir_fd, SUBMIT_FILE, json.data, json.len, 0600, err);
}

static void submit(void *state, struct tool_call *call)
{
    const struct submit *group = state;
    struct submission submission;
    struct err err;
    if (read_arguments(call, &submission, &err) < 0 || save(group->dir_fd, &submission, &err) < 0) {
        tool_call_finishf(call, false, "%s", err.message);
        return;
    }
    tool_call_finishf(call, true, "Recorded. End your turn with a final answer when all is done.");
}

static const struct tool tools[] = {
    {.name = "submit",
     .kind = TOOL_FUNCTION,
     .description = description,
     .schema = schema,
     .start = submit},
};

int submit_tools_open(const struct tool_host *host, int state_dir_fd, struct tool_group *out,
                      struct err *err)
{
    struct submit *group = calloc(1, sizeof *group);
    if (!group)
        abort();
    group->dir_fd = state_dir_fd;
    *out = (struct tool_group){.tools = tools, .count = 1, .state = group, .free = free};
    return 0;
}
