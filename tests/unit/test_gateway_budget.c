#include "test.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "gateway/budget.h"

/* A budget and its event file, in memory. */
static struct world {
    int fd;
    struct event_file *events;
    struct budget budget;
} world;

static void on_failure(void *arg, const struct err *err)
{
    fail_msg("%s", err->message);
}

static void open_world(int64_t limit, int64_t used)
{
    const struct gateway_config config = {
        .has_budget = limit >= 0, .budget_tokens = limit, .used_tokens = used};
    world.fd = memfd_create("events", MFD_CLOEXEC);
    fcntl(world.fd, F_SETFL, O_APPEND);
    world.events = event_file_new(world.fd, on_failure, NULL, NULL);
    assert_non_null(world.events);
    budget_init(&world.budget, &config, world.events);
}

/* Close it; the events are returned, one array. */
static json_t *close_world(void)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 1 << 20);
    event_file_free(world.events);
    lseek(world.fd, 0, SEEK_SET);
    assert_int_equal(io_read_all(world.fd, &text, NULL), 0);
    close(world.fd);
    json_t *events = json_array();
    for (char *line = text.data, *end; line && (end = strchr(line, '\n')); line = end + 1)
        json_array_append_new(events, json_loadb(line, (size_t)(end - line), 0, NULL));
    return events;
}

static void without_a_limit_everything_may(void **state)
{
    open_world(-1, 0);
    struct budget_hold hold = {.request_bytes = INT64_MAX};
    budget_hold(&world.budget, &hold);
    budget_count(&world.budget, &(struct token_usage){.input_tokens = METER_TOKENS_MAX});
    assert_int_equal(budget_ask(&world.budget), BUDGET_YES);
    json_decref(close_world());
}

static int64_t estimate_of(struct budget_hold hold)
{
    open_world(-1, 0);
    budget_count_estimate(&world.budget, &hold, "why");
    json_t *events = close_world();
    const json_t *usage = json_object_get(json_array_get(events, 0), "usage");
    int64_t tokens = json_integer_value(json_object_get(usage, "input_tokens"));
    json_decref(events);
    return tokens;
}

/* Not by their bytes; and never more than by their bytes. */
static void an_image_costs_what_images_cost(void **state)
{
    assert_int_equal(estimate_of((struct budget_hold){.request_bytes = 5000400}), 1250100);
    assert_int_equal(estimate_of((struct budget_hold){
                         .request_bytes = 5000400, .image_bytes = 5000000, .images = 1}),
                     100 + BUDGET_IMAGE_TOKENS);
    assert_int_equal(estimate_of((struct budget_hold){
                         .request_bytes = 5000400, .image_bytes = 5000000, .images = 3}),
                     100 + 3 * BUDGET_IMAGE_TOKENS);
    assert_int_equal(
        estimate_of((struct budget_hold){.request_bytes = 800, .image_bytes = 400, .images = 1}),
        200);
}

static void what_is_under_way_holds_what_is_left(void **state)
{
    open_world(10000, 0);
    struct budget_hold first = {.request_bytes = 4000}, second = {.request_bytes = 4000};
    budget_hold(&world.budget, &first); /* 1000 and what an answer costs at least: 5096 */
    assert_int_equal(budget_ask(&world.budget), BUDGET_YES);
    budget_hold(&world.budget, &second);
    assert_int_equal(world.budget.under_way, 2 * (1000 + BUDGET_ANSWER_TOKENS));
    assert_int_equal(budget_ask(&world.budget), BUDGET_LATER);
    budget_release(&world.budget, &second);
    budget_release(&world.budget, &second);
    assert_int_equal(budget_ask(&world.budget), BUDGET_YES);

    first.answer_bytes = 4 * 9000; /* as it comes */
    budget_hold(&world.budget, &first);
    assert_int_equal(world.budget.under_way, 10000);
    assert_int_equal(budget_ask(&world.budget), BUDGET_LATER);
    budget_release(&world.budget, &first);
    assert_int_equal(world.budget.under_way, 0);

    json_t *events = close_world();
    assert_int_equal(json_array_size(events), 0); /* nothing is used up */
    json_decref(events);
}

/* Also one of the last token, and of more than fits into a sum. */
static void the_only_request_waits_for_nothing(void **state)
{
    open_world(1000, 999);
    assert_int_equal(budget_ask(&world.budget), BUDGET_YES);
    struct budget_hold hold = {.request_bytes = UINT64_MAX, .answer_bytes = UINT64_MAX};
    budget_hold(&world.budget, &hold);
    assert_int_equal(world.budget.under_way, 2LL * METER_TOKENS_MAX);
    assert_int_equal(budget_ask(&world.budget), BUDGET_LATER);
    json_decref(close_world());
}

static void an_estimate_counts_both_ways_and_says_so(void **state)
{
    open_world(100, 0);
    struct budget_hold hold = {.request_bytes = 201, .answer_bytes = 200};
    budget_count_estimate(&world.budget, &hold, "the client left");
    assert_int_equal(world.budget.used, 101);
    for (int i = 0; i < 3; i++)
        assert_int_equal(budget_ask(&world.budget), BUDGET_NO);

    json_t *events = close_world();
    assert_int_equal(json_array_size(events), 2);
    const json_t *usage = json_array_get(events, 0);
    assert_string_equal(json_string_value(json_object_get(usage, "type")), "model.usage");
    assert_true(json_is_true(json_object_get(usage, "estimated")));
    assert_string_equal(json_string_value(json_object_get(usage, "note")), "the client left");
    const json_t *figures = json_object_get(usage, "usage");
    assert_int_equal(json_integer_value(json_object_get(figures, "input_tokens")), 51);
    assert_int_equal(json_integer_value(json_object_get(figures, "output_tokens")), 50);
    assert_int_equal(json_integer_value(json_object_get(figures, "cached_input_tokens")), 0);
    const json_t *limit = json_array_get(events, 1);
    assert_string_equal(json_string_value(json_object_get(limit, "limit")), "budget");
    assert_int_equal(json_integer_value(json_object_get(limit, "figure")), 101);
    json_decref(events);
}

static void what_the_provider_counted_is_no_estimate(void **state)
{
    open_world(100, 10);
    budget_count(&world.budget, &(struct token_usage){.input_tokens = 60, .output_tokens = 29});
    assert_int_equal(budget_ask(&world.budget), BUDGET_YES);
    budget_count(&world.budget, &(struct token_usage){.output_tokens = 1});
    assert_int_equal(budget_ask(&world.budget), BUDGET_NO);
    json_t *events = close_world();
    assert_null(json_object_get(json_array_get(events, 0), "estimated"));
    assert_null(json_object_get(json_array_get(events, 0), "note"));
    json_decref(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_limit_everything_may),
        cmocka_unit_test(an_image_costs_what_images_cost),
        cmocka_unit_test(what_is_under_way_holds_what_is_left),
        cmocka_unit_test(the_only_request_waits_for_nothing),
        cmocka_unit_test(an_estimate_counts_both_ways_and_says_so),
        cmocka_unit_test(what_the_provider_counted_is_no_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
