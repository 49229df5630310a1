#include "agent/tools/exec_arguments.h"

#include <string.h>

enum {
    EXEC_YIELD_MS = 10000,
    YIELD_MIN_MS = 250,
    YIELD_MAX_MS = 30000,
    LOOK_MIN_MS = 5000, /* write_stdin without chars: nothing else to do than to wait */
    LOOK_MAX_MS = 300000,
    COMMAND_MAX_BYTES = (128 << 10) - 1, /* Linux's MAX_ARG_STRLEN without the NUL */
};

const char exec_command_description[] =
    "Runs a shell command and returns its output, or a session ID for ongoing interaction when it "
    "is still running after yield_time_ms.";

const char exec_command_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"cmd\":{\"type\":\"string\",\"description\":"
    "\"Shell command to execute.\"},"
    "\"workdir\":{\"type\":\"string\",\"description\":"
    "\"Optional working directory to run the command in; defaults to the turn cwd.\"},"
    "\"shell\":{\"type\":\"string\",\"description\":"
    "\"Shell binary to launch. Defaults to bash.\"},"
    "\"login\":{\"type\":\"boolean\",\"description\":"
    "\"Whether to run the shell with -l semantics. Defaults to true.\"},"
    "\"tty\":{\"type\":\"boolean\",\"description\":"
    "\"Whether to allocate a TTY for the command. Defaults to false (plain pipes, no "
    "input); set to true to open a PTY and be able to type.\"},"
    "\"yield_time_ms\":{\"type\":\"number\",\"description\":"
    "\"How long to wait (in milliseconds) for output before yielding.\"},"
    "\"max_output_tokens\":{\"type\":\"number\",\"description\":"
    "\"Maximum number of tokens to return, up to 10000 (the default). Excess output will be "
    "truncated.\"}"
    "},\"required\":[\"cmd\"],\"additionalProperties\":false}";

const char write_stdin_description[] =
    "Writes characters to a command that is still running, and returns its recent output.";

const char write_stdin_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"session_id\":{\"type\":\"number\",\"description\":"
    "\"Identifier of the running command, as exec_command gave it.\"},"
    "\"chars\":{\"type\":\"string\",\"description\":"
    "\"Bytes to write to stdin (may be empty to poll). \\\\u0003 interrupts.\"},"
    "\"yield_time_ms\":{\"type\":\"number\",\"description\":"
    "\"How long to wait (in milliseconds) for output before yielding.\"},"
    "\"max_output_tokens\":{\"type\":\"number\",\"description\":"
    "\"Maximum number of tokens to return, up to 10000 (the default). Excess output will be "
    "truncated.\"}"
    "},\"required\":[\"session_id\"],\"additionalProperties\":false}";

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

/* What both have. *YIELD_MS holds the default. */
static int read_bounds(const struct tool_call *call, int64_t *yield_ms, uint64_t *max_tokens,
                       struct err *err)
{
    int64_t tokens = EXEC_OUTPUT_TOKENS;
    int status = tool_arg_int(call, "yield_time_ms", false, 0, INT64_MAX, yield_ms, err);
    if (status == 0)
        status = tool_arg_int(call, "max_output_tokens", false, 0, INT64_MAX, &tokens, err);
    *max_tokens = (uint64_t)clamp(tokens, 0, EXEC_OUTPUT_TOKENS);
    return status;
}

int exec_arguments_read(const struct tool_call *call, struct exec_arguments *out, struct err *err)
{
    *out = (struct exec_arguments){.login = true, .yield_ms = EXEC_YIELD_MS};
    int status = tool_arg_string(call, "cmd", true, &out->cmd, err);
    if (status == 0)
        status = tool_arg_string(call, "workdir", false, &out->workdir, err);
    if (status == 0)
        status = tool_arg_string(call, "shell", false, &out->shell, err);
    if (status == 0)
        status = tool_arg_bool(call, "login", false, &out->login, err);
    if (status == 0)
        status = tool_arg_bool(call, "tty", false, &out->tty, err);
    if (status == 0)
        status = read_bounds(call, &out->yield_ms, &out->max_output_tokens, err);
    if (status < 0)
        return status;
    if (!out->cmd[strspn(out->cmd, " \t\r\n")])
        return err_set(err, ERR_USAGE, "'cmd' is empty");
    if (strlen(out->cmd) > COMMAND_MAX_BYTES)
        return err_set(err, ERR_USAGE,
                       "'cmd' is longer than the %d bytes that Linux allows; put long texts into a "
                       "file with apply_patch",
                       COMMAND_MAX_BYTES);
    out->yield_ms = clamp(out->yield_ms, YIELD_MIN_MS, YIELD_MAX_MS);
    return 0;
}

int write_arguments_read(const struct tool_call *call, struct write_arguments *out, struct err *err)
{
    *out = (struct write_arguments){.chars = ""};
    int status = tool_arg_int(call, "session_id", true, 0, INT64_MAX, &out->session_id, err);
    if (status == 0)
        status = tool_arg_string(call, "chars", false, &out->chars, err);
    if (status == 0)
        status = read_bounds(call, &out->yield_ms, &out->max_output_tokens, err);
    out->yield_ms = *out->chars ? clamp(out->yield_ms, YIELD_MIN_MS, YIELD_MAX_MS)
                                : clamp(out->yield_ms, LOOK_MIN_MS, LOOK_MAX_MS);
    return status;
}
