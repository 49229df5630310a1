/*
 * Giving up everything that a gateway does not need, before it reads the first byte from a sandbox:
 *
 * - started as root: uid and gid 65534, no groups
 * - no capabilities, none to be had (bounding and ambient sets empty), no_new_privs
 * - not dumpable: no ptrace, no /proc/PID/mem for others of its uid; no core files
 * - as many descriptors as its connections can take, where the hard limit lets it
 * - system calls: those that curl, TLS, c-ares and an event loop make. Sockets of the internet
 *   families only, files for reading only, no memory that is both new and executable. Everything
 *   else fails with EPERM; what only an attacker would call ends the process (SIGSYS)
 */
#ifndef CODEX_GATEWAY_CONFINE_H
#define CODEX_GATEWAY_CONFINE_H

#include "base/err.h"

enum { CONFINE_UID = 65534 };

/* All of it, or negative. For the whole process, which has one thread. */
int confine(struct err *err);

#endif
