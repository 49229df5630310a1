/* task.json, what an agent is to do (docs/protocols.md): read, checked, bounded. */
#ifndef CODEX_AGENT_TASK_FILE_H
#define CODEX_AGENT_TASK_FILE_H

#include <jansson.h>

#include "agent/provider.h"
#include "agent/retry.h"
#include "base/err.h"

struct agent_task {
    json_t *json; /* owned: the strings are its */
    const char *task, *prompt, *workdir, *model, *base_url, *api_key;
    const struct provider *provider; /* of `wire_api` */
    const char *effort;              /* NULL: a model without reasoning */
    const char *base, *base_commit;  /* NULL when not given */
    const char *internet;            /* off, common, list, public; NULL: off */
    struct retry_limits retry;
};

/* From descriptor FD, from its beginning where it has one. ERR_USAGE names what is wrong. */
int agent_task_read(struct agent_task *task, int fd, struct err *err);
void agent_task_release(struct agent_task *task);

#endif
