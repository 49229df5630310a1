/*
 * The orchestrator's surroundings, played by the test: a spawner whose codex-git and runners do
 * what the test says. Everything runs on one loop; a "restart" is a new orchestrator on the same
 * store.
 */
#ifndef CODEX_TESTS_UNIT_WORLD_H
#define CODEX_TESTS_UNIT_WORLD_H

#include "store_fixture.h"

#include "loop/loop.h"
#include "orchestrator/orchestrator.h"
#include "task/spawn.h"

#define BASE_COMMIT "0123456789012345678901234567890123456789"
#define WORK_COMMIT "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd"

enum { WORLD_MAX = 64 };

/* A run that was handed over, with its descriptors. */
struct world_run {
    struct spawn_run request;
    int fds[SPAWN_FD_COUNT];
    bool over; /* its descriptors are closed */
};

/* What codex-git VERB answers. */
struct world_git {
    int exit_status; /* -1: killed by a signal */
    bool silent;     /* never answers */
    int calls;
    const char *output;   /* moved, merge: what it prints, when it succeeds */
    char last_args[1024]; /* joined by spaces */
    uint32_t last_as, last_uid, last_id;
};

struct world {
    struct fixture *fixture;
    char state_dir[64];
    struct config config;
    struct secrets secrets;
    struct loop *loop;
    int spawner_end; /* ours */
    struct loop_source *source;
    struct spawner *spawner;
    struct orchestrator *orchestrator;

    struct world_run runs[WORLD_MAX];
    int runs_count;
    struct run_name cancelled[WORLD_MAX];
    int cancelled_count;
    struct world_git resolve, fetch, import, push, moved, merge, merged;
    char branches[WORLD_MAX][128]; /* what was pushed, or is there already */
    int branches_count;
    bool cancels_fail; /* SPAWN_CANCEL is answered with SPAWN_FAILED */
    bool refuse_runs;  /* SPAWN_RUN is answered with SPAWN_FAILED */

    struct task submitted; /* by world_submit() */
    struct err submit_err;
    bool submit_done;
};

/* world_spawner.c: what takes the requests, and reports. */
void world_on_request(void *world, uint32_t events);
void world_report(struct world *world, enum spawn_type type, const struct spawn_report *what);

int world_setup(void **state);
int world_teardown(void **state);

/* As if codexd had been killed and started again. The runs go on. */
void world_restart(struct world *world);

/* Run the loop until something holds; the test fails when it does not within ten seconds. */
struct world_run *world_wait_run(struct world *world,
                                 int count); /* the COUNTth that is handed over */
struct task world_wait_end(struct world *world, int64_t number); /* released by the caller */
void world_wait_calls(struct world *world, const struct world_git *git, int calls);
void world_wait_cancels(struct world *world, int count);
/* Run the loop for a while, in which nothing more ought to happen. */
void world_settle(struct world *world);

/* Submit; returns the task's number, or 0 and world->submit_err. */
int64_t world_submit(struct world *world, const char *prompt);
int64_t world_submit_as(struct world *world, const struct submission *submission);

/* The task as it is; released by the caller. */
struct task world_task(struct world *world, int64_t number);
bool world_task_is(struct world *world, int64_t number, enum task_state state);
/* Its states in order of its events, "queued preparing …". Checks that seq has no gap. */
const char *world_states(struct world *world, int64_t number);

/* Lines of its event file. */
void run_says(struct world_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All phases, with a commit and passing tests. */
void run_works(struct world_run *run);
void run_ends(struct world *world, struct world_run *run, const char *outcome, bool changed);
/* Its process is gone. */
void run_dies(struct world *world, struct world_run *run, int wait_status);
/* Whether the task has a file of this name. */
bool world_has_file(struct world *world, const char *task_id, const char *name);
/* What a memory file or file holds. The caller frees. */
char *fd_text(int fd);

#endif
