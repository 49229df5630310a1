/* The apply_patch tool. */
#include <stdlib.h>

#include "agent/tool.h"
#include "agent/tools/patch_run.h"

/* For the custom form and the function form alike; the format is spelled out for models that know
 * neither the tool nor its grammar. */
static const char description[] =
    "Use the `apply_patch` tool to edit files. Its input is the patch itself as plain text, not "
    "wrapped in JSON or a code fence, in this format:\n"
    "\n"
    "*** Begin Patch\n"
    "*** Add File: path/new.txt\n"
    "+every line of the new file begins with +\n"
    "*** Update File: path/old.py\n"
    "*** Move to: path/renamed.py\n"
    "@@ class Example\n"
    " a line of context begins with a space\n"
    "-a line to remove\n"
    "+a line to add\n"
    "*** Delete File: path/gone.txt\n"
    "*** End Patch\n"
    "\n"
    "Between the first and the last line come one or more files. \"*** Move to: \" is optional. An "
    "update has one or more hunks, in the order of the file, each opened by \"@@\"; text behind "
    "\"@@ \" is a line that stands somewhere before the hunk, such as the head of its class or "
    "function. Give about three lines of context above and below a change, exactly as the file has "
    "them. \"*** End of File\" as a hunk's last line ties it to the end of the file. Paths are "
    "relative to the working directory.";

/* As published for openai/codex (tool_apply_patch.lark): models are trained on it. */
static const char grammar[] =
    "start: begin_patch hunk+ end_patch\n"
    "begin_patch: \"*** Begin Patch\" LF\n"
    "end_patch: \"*** End Patch\" LF?\n"
    "\n"
    "hunk: add_hunk | delete_hunk | update_hunk\n"
    "add_hunk: \"*** Add File: \" filename LF add_line+\n"
    "delete_hunk: \"*** Delete File: \" filename LF\n"
    "update_hunk: \"*** Update File: \" filename LF change_move? change?\n"
    "\n"
    "filename: /(.+)/\n"
    "add_line: \"+\" /(.*)/ LF -> line\n"
    "\n"
    "change_move: \"*** Move to: \" filename LF\n"
    "change: (change_context | change_line)+ eof_line?\n"
    "change_context: (\"@@\" | \"@@ \" /(.+)/) LF\n"
    "change_line: (\"+\" | \"-\" | \" \") /(.*)/ LF\n"
    "eof_line: \"*** End of File\" LF\n"
    "\n"
    "%import common.LF\n";

struct patch_tool {
    const struct tool_host *host;
    struct patch_run *run; /* the tool is exclusive: at most one */
    struct tool_call *call;
};

static void applied(void *arg, bool ok, const char *text, size_t len)
{
    struct patch_tool *tool = arg;
    struct tool_call *call = tool->call;
    tool->run = NULL;
    tool->call = NULL;
    tool_call_finish(call, ok, text, len);
}

static void apply_patch(void *state, struct tool_call *call)
{
    struct patch_tool *tool = state;
    struct err err;
    if (tool->run) {
        tool_call_finishf(call, false, "another patch is being applied");
        return;
    }
    tool->call = call;
    tool->run = patch_run_start(tool->host, (struct slice){NULL, 0},
                                (struct slice){call->input, call->input_len}, applied, tool, &err);
    if (!tool->run)
        tool_call_finishf(call, false, "%s", err.message);
}

static void stop(void *state)
{
    struct patch_tool *tool = state;
    if (tool->run)
        patch_run_stop(tool->run);
}

static size_t running(void *state)
{
    const struct patch_tool *tool = state;
    return tool->run ? 1 : 0;
}

static void free_tool(void *state)
{
    struct patch_tool *tool = state;
    patch_run_free(tool->run);
    free(tool);
}

static const struct tool tools[] = {
    {.name = "apply_patch",
     .kind = TOOL_CUSTOM,
     .description = description,
     .schema = grammar,
     .argument = "input",
     .exclusive = true,
     .start = apply_patch},
};

int patch_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err)
{
    struct patch_tool *tool = calloc(1, sizeof *tool);
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
