/* Recognising apply_patch typed into the shell, as models do that were trained to. */
#ifndef CODEX_AGENT_TOOLS_SHELL_PATCH_H
#define CODEX_AGENT_TOOLS_SHELL_PATCH_H

#include "agent/tools/patch_text.h"

struct shell_patch {
    struct slice directory; /* of "cd directory &&"; at NULL: none */
    struct slice patch;
};

/* True when COMMAND, as a whole, is
 *     [cd directory &&] apply_patch <<'EOF'
 *     …
 *     EOF
 * with any word for EOF, quoted or not, and `applypatch` too. The directory is a plain word or
 * quoted, without anything that a shell would expand. Whatever else there is, before or behind, is
 * for the shell. The slices point into COMMAND. */
bool shell_patch_find(const char *command, struct shell_patch *out);

/* True when COMMAND is a patch without a command before it: no shell may see that, to which its
 * first word is a pattern. */
bool shell_patch_is_bare(const char *command);

#endif
