/* Giving to the task's user what root has made for him. */
#ifndef CODEX_WORKSPACE_OWNERSHIP_H
#define CODEX_WORKSPACE_OWNERSHIP_H

#include "base/err.h"

/* Everything below the directory PATH that is root's becomes the task's user's. Nothing is
 * followed. Does nothing unless we are root. */
int ownership_hand_over(const char *path, struct err *err);

#endif
