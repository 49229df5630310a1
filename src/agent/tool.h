/*
 * The seam between the turn loop and the tools that it offers to the model.
 *
 * A tool is a row of a table. Tools that share state (running commands, the plan) come as a group.
 * Nothing here blocks: `start` begins a call and returns, adding its descriptors, timers and
 * children to the agent's one event loop; the call ends when the tool calls tool_call_finish(),
 * from within `start` or at any later event. So several calls of one response can run at the same
 * time, and a command can outlive the call that started it.
 *
 * The turn loop does the rest: parses and checks the JSON, writes the journal, answers in the
 * order of the calls, whatever order they finished in.
 */
#ifndef CODEX_AGENT_TOOL_H
#define CODEX_AGENT_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/events.h"
#include "agent/image.h"
#include "base/err.h"
#include "loop/loop.h"

enum tool_kind {
    TOOL_FUNCTION, /* arguments are a JSON object, described by a JSON Schema */
    TOOL_CUSTOM,   /* input is plain text, described by a grammar. For a model that takes functions
                      only it is offered as a function with one string argument, `argument` */
};

/* What every tool may use; lives as long as the groups. */
struct tool_host {
    struct loop *loop;
    struct events *events;
    const char *workdir; /* absolute; where commands start and relative paths begin */
    bool drop;           /* become uid/gid before acting; false when not started as root (tests) */
    uid_t uid;
    gid_t gid;
    unsigned session; /* how often the agent was started on this journal before: keeps the ids of
                         running commands apart, as it does those of events */
};

/* One call, owned by the turn loop; valid for the tool from `start` until tool_call_finish(). */
struct tool_call {
    const char *call_id;
    const char *name;
    json_t *arguments; /* TOOL_FUNCTION: an object; NULL for TOOL_CUSTOM */
    const char *input; /* TOOL_CUSTOM: the text, NUL-terminated valid UTF-8, input_len bytes */
    size_t input_len;
    void *state; /* the tool's own, NULL at first */
};

/* End CALL. TEXT (copied) is what the model reads: LEN bytes, made valid UTF-8 here; the tool has
 * truncated it already. OK false: the call failed, which TEXT explains. Exactly once for a call. */
void tool_call_finish(struct tool_call *call, bool ok, const char *text, size_t len);

/* The same with printf. */
void tool_call_finishf(struct tool_call *call, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The call has done what it should: TEXT, and IMAGE beside it (both copied). */
void tool_call_finish_image(struct tool_call *call, const char *text, const struct image *image);

struct tool {
    const char *name;
    enum tool_kind kind;
    const char *description; /* for the model */
    const char *schema;   /* FUNCTION: JSON Schema (a JSON object as text). CUSTOM: Lark grammar */
    const char *argument; /* CUSTOM: name of the one string argument in the function form */
    bool exclusive; /* alone: behind every earlier call of the response, before every later one */

    /* Begin CALL; STATE is the group's. */
    void (*start)(void *state, struct tool_call *call);
};

struct tool_group {
    const struct tool *tools;
    size_t count;
    void *state;

    /* End everything that the group's calls started, also what has left its session or process
     * group: politely, and by SIGKILL within one second. Calls that still wait are finished.
     * Called once, at the turn's end and on SIGTERM; then the loop runs until `running` says 0.
     * NULL: nothing to end. */
    void (*stop)(void *state);

    /* How many processes of the group are alive. NULL: none ever. */
    size_t (*running)(void *state);

    void (*free)(void *state); /* NULL: nothing to free */
};

/*
 * Arguments of a function call, checked: -EINVAL with a message for the model ("'cmd' must be a
 * string") when an argument has the wrong type, is out of bounds, or is missing and required.
 * An optional one that is missing or null leaves *OUT as it was. Strings belong to the call and
 * hold no NUL byte.
 */
int tool_arg_string(const struct tool_call *call, const char *name, bool required, const char **out,
                    struct err *err);
int tool_arg_int(const struct tool_call *call, const char *name, bool required, int64_t min,
                 int64_t max, int64_t *out, struct err *err);
int tool_arg_bool(const struct tool_call *call, const char *name, bool required, bool *out,
                  struct err *err);

/*
 * The groups. Each fills OUT, whose `free` releases it. 0 or negative.
 * tools/ : exec_command and write_stdin; apply_patch; view_image.   plan.c, submit.c: update_plan; submit.
 */
int exec_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err);
int patch_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err);
int view_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err);
int plan_tools_open(const struct tool_host *host, struct tool_group *out, struct err *err);
int submit_tools_open(const struct tool_host *host, int state_dir_fd, struct tool_group *out,
                      struct err *err);

#endif
