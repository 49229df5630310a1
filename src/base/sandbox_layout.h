/*
 * What both sides of a sandbox's wall know of its inside: users and places (docs/sandbox.md). The
 * gateway's port is in task/gateway_control.h.
 */
#ifndef CODEX_BASE_SANDBOX_LAYOUT_H
#define CODEX_BASE_SANDBOX_LAYOUT_H

/* User and group `codex`: everything that a task starts, without any capability. */
enum { SANDBOX_UID = 1000, SANDBOX_GID = 1000 };

#define SANDBOX_HOME      "/home/codex"
#define SANDBOX_WORKSPACE "/workspace" /* holds the workspace, under the repository's name */

/* The container root's own: the agent's journal, submit.json. */
#define SANDBOX_STATE_DIR "/var/lib/codex"

/* The directory is a mount, so that not even container root can put another agent in its place. */
#define SANDBOX_AGENT_DIR "/run/codex"
#define SANDBOX_AGENT     SANDBOX_AGENT_DIR "/codex-agent"

#endif
