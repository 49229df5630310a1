/*
 * The HTTP API of docs/api.md on a listening Unix socket, inside codexd's event loop. The peer's
 * uid is the login; uid 0 may see and cancel everybody's tasks.
 */
#ifndef CODEX_API_API_H
#define CODEX_API_API_H

#include "loop/loop.h"
#include "orchestrator/orchestrator.h"
#include "store/store.h"

struct api;

struct api_options { /* all but the descriptor stays the caller's and outlives the API */
    struct loop *loop;
    struct store *store; /* its events go to this API's streams */
    struct orchestrator *orchestrator;
    const struct config *config;
    struct secrets *secrets;
    const char *state_dir;
    const char *version;
    int listen_fd; /* taken over */
};

struct api *api_new(const struct api_options *options, struct err *err);

/* Ends what is under way, streams included. */
void api_free(struct api *api);

#endif
