/*
 * Exit statuses by which one program of ours tells another how it ended. The sentence for a person
 * is on standard error. Those of codex-gateway are in gateway_control.h.
 */
#ifndef CODEX_TASK_EXIT_H
#define CODEX_TASK_EXIT_H

/* `codex-agent run`: all that the runner goes by. */
enum agent_exit {
    AGENT_EXIT_DONE = 0,          /* the model ended its turn */
    AGENT_EXIT_MODEL_FAILED = 10, /* it refused the request, or stayed broken through all retries */
    AGENT_EXIT_BUDGET = 11,       /* the task's token budget is used up */
    AGENT_EXIT_GAVE_UP = 12,      /* the model went round in circles, also after being told so */
    AGENT_EXIT_BAD_INPUT = 13,    /* task.json, the feedback or the journal cannot be used */
    AGENT_EXIT_MODEL_BUSY = 14,   /* rate limit, quota or overload outlasted the retries */
    AGENT_EXIT_KEY_REFUSED = 15,  /* 401 or 403: no retry will help */
    AGENT_EXIT_CONTEXT_FULL = 16, /* the conversation no longer fits the model's context window */
    AGENT_EXIT_STOPPED = 17,      /* SIGTERM; the journal is complete, a later start goes on */
    AGENT_EXIT_INTERNAL = 18,     /* its own state could not be kept: disk full, events unread */
};

/* `codex-agent checkout|commit|archive`. */
enum step_exit {
    STEP_EXIT_DONE = 0,
    STEP_EXIT_FAILED = 1,
    STEP_EXIT_USAGE = 2,   /* called wrongly */
    STEP_EXIT_NOTHING = 3, /* commit: nothing has changed */
    STEP_EXIT_AS_ROOT = 7, /* checkout: done, and the base wants its commands to run as root */
};

/* `codex-agent test`. */
enum test_exit {
    TEST_PASSED = 0,
    TEST_FAILED = 1, /* and how that compares with the baseline is not known */
    TEST_BROKEN = 2, /* called wrongly, or the step itself could not be done */
    TEST_NOT_FOUND = 3,
    TEST_TIMED_OUT = 4,
    TEST_FAILED_AS_BEFORE = 5, /* only tests fail that failed in the baseline */
    TEST_NEWLY_FAILED = 6,     /* a test fails that did not fail in the baseline */
};

/* `codex-agent setup`. */
enum setup_exit {
    SETUP_DONE = 0,
    SETUP_FAILED = 1,  /* a command failed; which one is in the result */
    SETUP_NOTHING = 3, /* the repository depends on nothing, or it is there already */
    SETUP_TIMED_OUT = 4,
};

/* codex-git. */
enum git_exit {
    GIT_EXIT_DONE = 0,          /* merged: the base contains the commit */
    GIT_EXIT_REFUSED = 1,       /* or failed; merged: it does not */
    GIT_EXIT_USAGE = 2,         /* called wrongly */
    GIT_EXIT_NOT_FOUND = 3,     /* repository, ref or commit */
    GIT_EXIT_BRANCH_EXISTS = 4, /* push: and is another commit */
    /* of remote repositories */
    GIT_EXIT_UNREACHABLE = 5, /* the host cannot be reached, hangs or breaks off: may pass */
    GIT_EXIT_DENIED = 6,      /* the login is refused, or lacks the right */
};

#endif
