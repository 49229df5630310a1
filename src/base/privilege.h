/*
 * Giving up privileges for good. Before the first thread: the calls change the calling thread only.
 */
#ifndef CODEX_BASE_PRIVILEGE_H
#define CODEX_BASE_PRIVILEGE_H

#include <stdbool.h>
#include <sys/types.h>

/* Become UID and GID with no other group and no capability, unable to gain any by exec, and check
 * that there is no way back. Async-signal-safe. Returns 0 or -errno. */
int privilege_drop(uid_t uid, gid_t gid);

/* Keep the user and give up every capability, now and after any exec (also as uid 0).
 * Async-signal-safe. Returns 0 or -errno. */
int privilege_renounce(void);

/* Whether this process was started in a sandbox of ours from outside, as the runner starts steps:
 * codex-agent at its place there, in a user namespace that is not the machine's, with a parent that
 * cannot be seen from here. Only then is "every process of the user" the task's own, and ours to
 * end. */
bool privilege_in_sandbox(void);

/* SIGKILL every process of UID, whatever its session or group; the caller survives, and as uid 0 so
 * do the platform's other processes. As uid 0 it waits until they are gone (but for children of the
 * caller, who has to wait for those), so that they take no place of the user's any more: up to half
 * a minute, then -ETIMEDOUT. Where privilege_in_sandbox() is false it does nothing. Returns 0 or
 * -errno. */
int privilege_kill_all(uid_t uid, gid_t gid);

/* SIGKILL every process that we may, but process 1 and ourselves: of a sandbox in which nothing of
 * the platform runs beside us. Elsewhere it does nothing. */
void privilege_kill_others(void);

#endif
