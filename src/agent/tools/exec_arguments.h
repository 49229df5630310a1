/* The arguments of exec_command and write_stdin: what the model is told of them, and reading
 * them. */
#ifndef CODEX_AGENT_TOOLS_EXEC_ARGUMENTS_H
#define CODEX_AGENT_TOOLS_EXEC_ARGUMENTS_H

#include "agent/tool.h"

extern const char exec_command_description[], exec_command_schema[];
extern const char write_stdin_description[], write_stdin_schema[];

enum { EXEC_OUTPUT_TOKENS = 10000 }; /* of one answer, unless the model asks for fewer */

struct exec_arguments {
    const char *cmd;
    const char *workdir, *shell; /* NULL: not given */
    bool login, tty;
    int64_t yield_ms;
    uint64_t max_output_tokens;
};

struct write_arguments {
    int64_t session_id;
    const char *chars; /* "": only look */
    int64_t yield_ms;
    uint64_t max_output_tokens;
};

/* Defaults and bounds are those of openai/codex; what is out of bounds in time or size is moved
 * into them. Negative with a message for the model. */
int exec_arguments_read(const struct tool_call *call, struct exec_arguments *out, struct err *err);
int write_arguments_read(const struct tool_call *call, struct write_arguments *out,
                         struct err *err);

#endif
