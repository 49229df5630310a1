/* A task's id: "task-" and 6 to 16 of [a-z0-9]. It is a file name and a cgroup name, too. */
#ifndef CODEX_TASK_ID_H
#define CODEX_TASK_ID_H

#include <stdbool.h>

enum { TASK_ID_SIZE = 32 };

/* A new one, of random characters. */
void task_id_new(char out[TASK_ID_SIZE]);

/* Whether S, from anywhere, is one. */
bool task_id_valid(const char *s);

#endif
