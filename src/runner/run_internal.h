/* What a run knows; shared by run.c (frame), phases.c (what happens), step.c (one command in a
 * sandbox). */
#ifndef CODEX_RUNNER_RUN_INTERNAL_H
#define CODEX_RUNNER_RUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "runner/copy.h"
#include "runner/gateway_link.h"
#include "runner/layer.h"
#include "runner/run.h"
#include "runner/run_dir.h"
#include "sandbox/sandbox.h"
#include "task/phase.h"
#include "task/spawn.h"

/* Why a run is ended before its work is done. */
enum run_stop { RUN_STOP_NONE, RUN_STOP_CANCELLED, RUN_STOP_TIME };

struct run_fault {
    enum fault_kind kind;
    enum phase phase;
    char message[512];
};

struct run {
    const struct run_options *options;
    struct loop *loop;
    struct spawn_run request;
    int fds[SPAWN_FD_COUNT];  /* -1: not given */
    char name[RUN_NAME_SIZE]; /* <task>-<attempt> */
    struct run_dir dir;
    struct gateway_link gateway;
    struct sandbox_host host;
    char sandboxes[4096]; /* sandboxes/<name>, which holds a directory for each sandbox */
    struct layer layer;   /* below every sandbox of the run, once preparing has it */
    struct sandbox *work;
    bool has_workspace; /* of this run or one before: there is something to commit and archive */
    bool resumed;       /* a run before this one has crashed, and left a workspace */
    bool as_root;       /* the task's commands are the container's root: the base says so */
    bool worked;        /* this run has come so far as to work, and commit */
    unsigned round;
    int baseline_status;
    struct buf test_result; /* of the last test, for the agent */
    bool changed;           /* the work bundle holds a commit */
    bool has_archive;
    struct copy_result archive;
    enum run_stop stop;
    enum phase stopped_in;
    enum phase phase;
    bool soft_stop; /* the step that runs is told to end, and given time to */
    pid_t step;     /* 0: none */
    struct loop_source *step_deadline;
    struct run_fault fault; /* kind FAULT_NONE: none */
    bool lost;              /* see run_lose() */
};

/* The fault of the run, of which the first one counts. Returns -1, so that one can write `return
 * run_fail(...)`. */
int run_fail(struct run *run, enum fault_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Somebody else has killed a process that the run needs (SIGKILL, which nobody inside can send to
 * it): the run ends without a word, as if the runner had been killed itself, and the next run goes
 * on where this one was. WHY goes to the task's log. Returns -1.
 */
int run_lose(struct run *run, const char *why);

/* What failed without a fault of the task's: ERR_KILLED loses the run, all else is the platform's
 * fault. Returns -1. */
int run_fail_by(struct run *run, const struct err *err);

/* One command of the platform in a sandbox. */
struct step {
    const char *name; /* codex-agent's argument */
    enum sandbox_profile profile;
    int64_t timeout_ms;
    bool events;     /* descriptor 3 carries event lines for the gateway; else a result for us */
    int read_fd;     /* given as descriptor 4, opened anew; -1: none */
    int work_fd;     /* given as descriptor 5, opened anew for reading; -1: none */
    int feedback_fd; /* given as descriptor 6; -1: none */
    int copy_to;     /* what comes through descriptor 5 goes there; -1: nothing does */
    uint64_t copy_max;
    bool as_root;   /* told that the task's commands are root's */
    bool saves;     /* keeps what was done: not ended for what the workspace takes */
    bool soft_stop; /* SIGTERM and time, before it is killed when the run is stopped */
};
/* A step with no descriptors beside 0 to 3, and a result. */
struct step step_named(const char *name, enum sandbox_profile profile, int64_t timeout_ms);

struct step_outcome {
    int status; /* exit code, or 128 + signal */
    enum sandbox_end end;
    int64_t duration_ms;
    struct buf result; /* what came through descriptor 3: opaque JSON; the caller releases it */
    const char *full; /* "disk" or "inodes": there were none left at some time; NULL: there were */
    struct copy_result copied; /* of copy_to, when copy_status is 0 */
    int copy_status;
    struct err copy_err;
};

enum { STEP_RESULT_MAX = GATEWAY_PAYLOAD_MAX };

/* Run STEP in SANDBOX and wait until it has ended and all it wrote is where it belongs. Limits it
 * hit are reported. 0 when it ran, whatever its status; negative with a fault when it could not be
 * run. OUTCOME is initialised in any case. */
int step_run(struct run *run, struct sandbox *sandbox, const struct step *step,
             struct step_outcome *outcome);

/* The phases, in their order: see docs/architecture.md, "A run". */
void run_phases(struct run *run);

#endif
