/*
 * What both sides of a sandbox's wall know of its inside: users, places, and the way out
 * (docs/sandbox.md). The gateway's ports are in task/gateway_control.h.
 */
#ifndef CODEX_BASE_SANDBOX_LAYOUT_H
#define CODEX_BASE_SANDBOX_LAYOUT_H

/* User and group `codex`: everything that a task starts, without any capability. */
enum { SANDBOX_UID = 1000, SANDBOX_GID = 1000 };

#define SANDBOX_HOME      "/home/codex"
#define SANDBOX_WORKSPACE "/workspace" /* holds the workspace, under the repository's name */

/* The container root's own: the agent's journal, submit.json. */
#define SANDBOX_STATE_DIR "/var/lib/codex"
/* In it: what the repository makes of the internet, left by `setup` for the agent. */
#define SANDBOX_INTERNET_FILE "internet"

/* The directory is a mount, so that not even container root can put another agent in its place. */
#define SANDBOX_AGENT_DIR "/run/codex"
#define SANDBOX_AGENT     SANDBOX_AGENT_DIR "/codex-agent"

/* The gateway's HTTP proxy, and what is asked directly. */
#define SANDBOX_PROXY_HOST "127.0.0.1"
#define SANDBOX_PROXY_PORT "64081"
#define SANDBOX_PROXY      "http://" SANDBOX_PROXY_HOST ":" SANDBOX_PROXY_PORT
#define SANDBOX_NO_PROXY   "localhost,127.0.0.1,::1"

#endif
