#include "workspace/proof.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "task/verdict.h"

enum {
    PIECE = 65536,
    BROKEN_BYTES_MAX = 8192, /* of names in the step's result; codexd makes its own list */
    OTHER_BYTES_MAX = 1536,
    EXCERPTS_MAX = 10240,
};

/* From its start: several steps may have the same open file. */
static int read_before(struct buf *text)
{
    char *room;
    while ((room = buf_reserve(text, PIECE))) {
        ssize_t n = pread(STEP_FD_BASE, room, PIECE, (off_t)text->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        buf_wrote(text, (size_t)n);
    }
    return -1;
}

void proof_init(struct proof *proof, const struct step *step)
{
    *proof = (struct proof){0};
    test_list_init(&proof->before);
    test_list_init(&proof->after);
    if (!step_has_input(step, STEP_FD_BASE))
        return;
    AUTO_BUF struct buf text;
    struct err ignored; /* it was made in another sandbox, and may be anything */
    buf_init(&text, TEST_LIST_BYTES_MAX + PIECE);
    proof->has_before = read_before(&text) == 0 &&
                        test_list_parse(text.data, text.len, &proof->before, &ignored) == 0;
}

void proof_release(struct proof *proof)
{
    test_list_release(&proof->before);
    test_list_release(&proof->after);
    test_changes_release(&proof->changes);
}

static void compare(struct proof *proof)
{
    test_changes_release(&proof->changes);
    if (proof->has_before && proof->known)
        test_changes_find(&proof->before, &proof->after, &proof->changes);
}

void proof_take(struct proof *proof, struct results *results, const struct step *step,
                const struct timespec *since, bool cut)
{
    struct test_list list;
    bool known = results_end(results, step->workdir, since, &list);
    results_free(results);
    list.cut |= cut;
    if (proof->reran && known && proof->known) {
        test_list_merge_again(&proof->after, &list, &proof->before);
        test_list_release(&list);
    } else {
        test_list_release(&proof->after);
        proof->after = list;
    }
    proof->known = known;
    compare(proof);
}

void proof_take_none(struct proof *proof)
{
    test_list_release(&proof->after);
    proof->known = true;
    compare(proof);
}

bool proof_is_worth_again(const struct proof *proof)
{
    if (!proof->changes.compared || proof->changes.of[TEST_NEWLY_BROKEN].total == 0)
        return false;
    for (size_t i = 0; i < proof->after.count; i++) {
        if (proof->after.cases[i].status != TEST_CASE_FAILED)
            continue;
        const struct test_case *was = test_list_find(&proof->before, proof->after.cases[i].name);
        if (was && was->status == TEST_CASE_PASSED)
            return true;
    }
    return false;
}

int proof_status(const struct proof *proof, int status)
{
    return verdict_test_status(status, &proof->changes, &proof->after);
}

static void append_names(const struct test_change_names *names, size_t max, struct buf *json)
{
    const char *at = NULL, *name;
    size_t len, used = 0;
    buf_append_char(json, '[');
    while (test_change_names_next(names, &at, &name, &len) && (used += len) <= max) {
        if (json->data[json->len - 1] != '[')
            buf_append_char(json, ',');
        json_text_string(json, name, len);
    }
    buf_append_char(json, ']');
}

static void append_changes(const struct test_changes *changes, struct buf *json)
{
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++) {
        buf_appendf(json, ",\"%s\":", test_change_name(i));
        append_names(&changes->of[i], i == TEST_NEWLY_BROKEN ? BROKEN_BYTES_MAX : OTHER_BYTES_MAX,
                     json);
    }
    buf_append_str(json, ",\"counts\":{");
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++)
        buf_appendf(json, "%s\"%s\":%zu", i ? "," : "", test_change_name(i), changes->of[i].total);
    buf_append_char(json, '}');
}

void proof_append_members(const struct proof *proof, const struct buf *output, size_t tail,
                          struct buf *json)
{
    const size_t *totals = proof->after.totals;
    if (proof->known && !proof->after.full)
        buf_appendf(json, ",\"passed\":%zu,\"failed\":%zu,\"skipped\":%zu",
                    totals[TEST_CASE_PASSED] + totals[TEST_CASE_FLAKY], totals[TEST_CASE_FAILED],
                    totals[TEST_CASE_SKIPPED]);
    else
        buf_append_str(json, ",\"passed\":null,\"failed\":null,\"skipped\":null");
    buf_appendf(json, ",\"compared\":%s,\"ran_twice\":%s",
                proof->changes.compared ? "true" : "false", proof->reran ? "true" : "false");
    if (!proof->changes.compared)
        return;
    append_changes(&proof->changes, json);
    buf_append_str(json, ",\"excerpts\":");
    excerpts_append(&proof->changes.of[TEST_NEWLY_BROKEN], output, tail, EXCERPTS_MAX, json);
}

int proof_write(const struct proof *proof, const struct step *step, struct err *err)
{
    if (!step->given[STEP_FD_DATA])
        return 0;
    AUTO_BUF struct buf text;
    buf_init(&text, TEST_LIST_BYTES_MAX);
    if (proof->known && !proof->after.full)
        test_list_write(&proof->after, &text);
    if (io_write_all(STEP_FD_DATA, text.data, text.len, err) < 0)
        return err_context(err, "list of tests");
    return 0;
}
