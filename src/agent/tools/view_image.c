/* The view_image tool: an image of the file system, shown to the model. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/tool.h"
#include "agent/tools/user_child.h"
#include "base/cleanup.h"
#include "base/str.h"

enum {
    TIMEOUT_MS = 20000,
    WHY_MAX_BYTES = 1024,
    PATH_SHOWN_MAX = 300,
};

static const char description[] =
    "Look at an image file: a screenshot, a diagram, a rendered page. PNG, JPEG, GIF and WebP, up "
    "to 3.75 MiB. The image itself becomes part of the conversation: view what matters, once.";

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\","
    "\"description\":\"Path of the file, relative to the working directory or absolute\"}},"
    "\"required\":[\"path\"],\"additionalProperties\":false}";

/* The first byte of the child's report. */
enum { REPORT_IMAGE = 'i', REPORT_FAILED = 'f' };

struct view_tool {
    const struct tool_host *host;
    struct user_child *child; /* the tool is exclusive: at most one */
    struct tool_call *call;
    const char *path; /* the call's */
};

/* ---- in the child */

static void fail(struct buf *report, const char *path, const char *why)
{
    buf_clear(report);
    buf_appendf(report, "%ccannot view '%.*s': %s", REPORT_FAILED, PATH_SHOWN_MAX, path, why);
}

/* Why FILE is not one to read; NULL: it is. */
static const char *refusal(int fd, const struct stat *file)
{
    if (fd < 0)
        return strerror(errno);
    if (!S_ISREG(file->st_mode))
        return "it is not a regular file";
    if (!file->st_size)
        return "it is empty";
    return file->st_size > IMAGE_MAX_BYTES
               ? "it is larger than 3.75 MiB: make a smaller version first, and view that"
               : NULL;
}

static void read_image(void *arg, struct buf *report)
{
    const struct view_tool *tool = arg;
    struct stat file = {0};
    AUTO_FD int fd = -1;
    if (chdir(tool->host->workdir) == 0)
        fd = open(tool->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &file) < 0)
        file.st_mode = 0;
    const char *why = refusal(fd, &file);
    buf_append_char(report, REPORT_IMAGE);
    char *room = why ? NULL : buf_reserve(report, (size_t)file.st_size);
    ssize_t n = 1;
    for (size_t len = 0; room && n > 0 && len < (size_t)file.st_size; len += (size_t)n) {
        n = read(fd, room + len, (size_t)file.st_size - len);
        buf_wrote(report, n > 0 ? (size_t)n : 0);
    }
    if (!why && n < 0)
        why = strerror(errno);
    if (!why && !image_media_type(report->data + 1, report->len - 1))
        why = "it is no PNG, JPEG, GIF or WebP";
    if (why)
        fail(report, tool->path, why);
}

/* ---- in the agent */

/* BYTES come from the user's process: they are judged again. */
static void show(struct tool_call *call, const char *path, const char *bytes, size_t len)
{
    struct image image = {.media_type = image_media_type(bytes, len)};
    AUTO_BUF struct buf base64;
    buf_init(&base64, IMAGE_MAX_BYTES / 3 * 4);
    if (!image.media_type || image_base64(&base64, bytes, len) < 0) {
        tool_call_finishf(call, false, "cannot view '%.*s'", PATH_SHOWN_MAX, path);
        return;
    }
    image.base64 = base64.data;
    image.base64_len = base64.len;
    AUTO_FREE char *text =
        str_format("%.*s: %s, %zu bytes", PATH_SHOWN_MAX, path, image.media_type, len);
    tool_call_finish_image(call, text, &image);
}

static void on_done(void *arg, int wait_status, const struct buf *report)
{
    struct view_tool *tool = arg;
    struct tool_call *call = tool->call;
    const char *path = tool->path;
    tool->child = NULL; /* it frees itself */
    if (report->len > 1 && report->data[0] == REPORT_IMAGE && wait_status == 0)
        show(call, path, report->data + 1, report->len - 1);
    else if (report->len > 1 && report->data[0] == REPORT_FAILED)
        tool_call_finish(call, false, report->data + 1, report->len - 1);
    else
        tool_call_finishf(call, false, "cannot view '%.*s': reading it %s", PATH_SHOWN_MAX, path,
                          WIFSIGNALED(wait_status) ? "took too long" : "failed");
}

static void view_image(void *state, struct tool_call *call)
{
    struct view_tool *tool = state;
    struct err err;
    if (tool_arg_string(call, "path", true, &tool->path, &err) < 0) {
        tool_call_finishf(call, false, "%s", err.message);
        return;
    }
    tool->call = call;
    tool->child =
        user_child_start(tool->host,
                         &(struct user_child_options){.work = read_image,
                                                      .work_arg = tool,
                                                      .report_max = IMAGE_MAX_BYTES + WHY_MAX_BYTES,
                                                      .timeout_ms = TIMEOUT_MS,
                                                      .done = on_done,
                                                      .done_arg = tool},
                         &err);
    if (!tool->child)
        tool_call_finishf(call, false, "%s", err.message);
}

static void stop(void *state)
{
    struct view_tool *tool = state;
    if (tool->child)
        user_child_stop(tool->child);
}

static size_t running(void *state)
{
    const struct view_tool *tool = state;
    return tool->child ? 1 : 0;
}

static void free_tool(void *state)
{
    struct view_tool *tool = state;
    user_child_free(tool->child);
    free(tool);
}

static const struct tool tools[] = {
    {.name = "view_image",
     .kind = TOOL_FUNCTION,
     .description = description,
     .schema = schema,
     .exclusive = true,
     .start = view_image},
};

int view_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err)
{
    struct view_tool *tool = calloc(1, sizeof *tool);
    if (!tool)
        abort();
    tool->host = host;
    *out = (struct tool_group){.tools = tools,
                               .count = 1,
                               .state = tool,
                               .stop = stop,
                               .running = running,
                               .free = free_tool};
    return 0;
}
