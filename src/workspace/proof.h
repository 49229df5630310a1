/*
 * What a test run proves: the results of single tests, beside those of the baseline where the step
 * was given them.
 */
#ifndef CODEX_WORKSPACE_PROOF_H
#define CODEX_WORKSPACE_PROOF_H

#include <stdbool.h>

#include "base/buf.h"
#include "task/test_list.h"
#include "workspace/results.h"
#include "workspace/step.h"

struct proof {
    bool has_before; /* the baseline's results were given, and can be compared with */
    struct test_list before;
    bool known; /* results could be read */
    struct test_list after;
    struct test_changes changes; /* between the two, when both are there */
    bool reran;                  /* the tests ran twice */
};

/* Take the baseline's list from descriptor STEP_FD_BASE, where there is one. */
void proof_init(struct proof *proof, const struct step *step);
void proof_release(struct proof *proof);

/* The results of a run that has ended: what RESULTS (freed here) and files below the workspace say.
 * CUT: it was ended before its time. Of a second run: see test_list_merge_again(). */
void proof_take(struct proof *proof, struct results *results, const struct step *step,
                const struct timespec *since, bool cut);

/* There was no test: an empty list. */
void proof_take_none(struct proof *proof);

/* Whether a test fails that passed in the baseline: then the command is run once more. */
bool proof_is_worth_again(const struct proof *proof);

/* TEST_FAILED, more exactly where the comparison says more (task/exit.h). */
int proof_status(const struct proof *proof, int status);

/* The members of the step's result, each with a comma before it. OUTPUT is what was kept of the
 * tests' output, of which the last TAIL bytes are in the result anyway. */
void proof_append_members(const struct proof *proof, const struct buf *output, size_t tail,
                          struct buf *json);

/* The list to descriptor STEP_FD_DATA, when it was given; nothing when it is not known. */
int proof_write(const struct proof *proof, const struct step *step, struct err *err);

/* What OUTPUT says about the tests NAMES, before its last TAIL bytes: a JSON array of
 * {"test","output"}, of at most MAX bytes. excerpt.c */
void excerpts_append(const struct test_change_names *names, const struct buf *output, size_t tail,
                     size_t max, struct buf *json);

#endif
