/* Images: what is one, how a conversation holds and drops them, and the tool that reads them. */
#include "tool_double.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/conversation.h"
#include "agent/image.h"
#include "agent/provider.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

#define PNG "\x89PNG\r\n\x1a\n"

static const struct provider *const wires[] = {&provider_responses, &provider_chat,
                                               &provider_messages};
enum { WIRES = sizeof wires / sizeof wires[0] };

static void an_image_is_known_by_its_first_bytes(void **state)
{
    static const struct {
        const char *bytes, *type;
        size_t len;
    } cases[] = {
        {PNG, "image/png", 8},
        {PNG "x", "image/png", 9},
        {PNG, NULL, 7},
        {"\xff\xd8\xff\xe0", "image/jpeg", 4},
        {"\xff\xd8", NULL, 2},
        {"GIF87a", "image/gif", 6},
        {"GIF89a", "image/gif", 6},
        {"GIF88a", NULL, 6},
        {"RIFF\1\2\3\4WEBPVP8 ", "image/webp", 16},
        {"RIFF\1\2\3\4WAVEfmt ", NULL, 16},
        {"RIFF\1\2\3\4", NULL, 8},
        {"<svg></svg>", NULL, 11},
        {"", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *type = image_media_type(cases[i].bytes, cases[i].len);
        if (cases[i].type)
            assert_string_equal(type, cases[i].type);
        else
            assert_null(type);
    }
}

/* RFC 4648, section 10; and bytes that use every letter. */
static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        AUTO_BUF struct buf out;
        buf_init(&out, 16);
        assert_int_equal(image_base64(&out, vectors[i][0], strlen(vectors[i][0])), 0);
        assert_string_equal(out.data, vectors[i][1]);
    }
    AUTO_BUF struct buf full;
    buf_init(&full, 4);
    assert_true(image_base64(&full, "four", 4) < 0);
}

static struct json_span span_of(const char *text)
{
    return (struct json_span){text, strlen(text)};
}

static void images_are_found_where_they_are_images(void **state)
{
    const struct image image = {"image/png", "iVBORw0KGgo=", 12};
    for (size_t w = 0; w < WIRES; w++) {
        const struct image_form *form = &wires[w]->image;
        AUTO_BUF struct buf text, quoted, out;
        buf_init(&text, 65536);
        buf_init(&quoted, 65536);
        buf_init(&out, 65536);
        assert_int_equal(image_append(&text, form, &image), 0);
        /* What is said of images is none. */
        assert_int_equal(json_text_string(&quoted, text.data, text.len), 0);
        size_t bytes = 0;
        assert_int_equal(image_count(span_of(quoted.data), form, &bytes), 0);
        /* Nor is anything that only begins like one. */
        AUTO_FREE char *other = str_format("[%simage/png%s!%s]", form->open, form->middle, "\"}}");
        assert_int_equal(image_count(span_of(other), form, &bytes), 0);
        for (size_t cut = 1; cut < text.len; cut++)
            assert_int_equal(image_count((struct json_span){text.data, cut}, form, &bytes), 0);
        assert_int_equal(bytes, 0);

        AUTO_FREE char *all = str_format("[%s,%s,%s,%s]", text.data, quoted.data, other, text.data);
        assert_int_equal(image_count(span_of(all), form, &bytes), 2);
        assert_int_equal(bytes, 2 * text.len);
        assert_true(image_leave_out(span_of(all), form, 1, "gone \"1\"", &out));
        AUTO_FREE char *first = str_format("[%s\"gone \\\"1\\\"\"},%s,%s,%s]", form->text_open,
                                           quoted.data, other, text.data);
        assert_string_equal(out.data, first);
        assert_true(image_leave_out(span_of(all), form, SIZE_MAX, "x", &out));
        assert_int_equal(image_count(span_of(out.data), form, &bytes), 0);
        assert_false(image_leave_out(span_of(quoted.data), form, SIZE_MAX, "x", &out));
        buf_release(&out);
        buf_init(&out, 20);
        assert_false(image_leave_out(span_of(all), form, SIZE_MAX, "x", &out));
    }
}

/* ---- in a conversation */

struct place {
    char path[64];
    int fd;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->path, "/tmp/codex-test-images-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = place;
    return place->fd < 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    close(place->fd);
    io_remove_tree_at(AT_FDCWD, place->path, NULL);
    free(place);
    return 0;
}

static struct conversation *open_on(const struct place *place, const struct provider *wire)
{
    struct err err = {0};
    struct conversation *c = conversation_open(wire, place->fd, "task-abc123", &err);
    if (!c)
        fail_msg("%s", err.message);
    return c;
}

/* An answer with this call, in the wire's own shape, as if read from a server. */
static void call(struct conversation *c, const struct provider *wire, unsigned n)
{
    static const char *const shapes[][2] = {
        {"{\"type\":\"function_call\",\"call_id\":\"c", "\",\"name\":\"f\",\"arguments\":\"{}\"}"},
        {"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c",
         "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"},
        {"{\"type\":\"tool_use\",\"id\":\"c", "\",\"name\":\"f\",\"input\":{}}"},
    };
    size_t w = 0;
    while (wires[w] != wire)
        w++;
    AUTO_FREE char *text = str_format("%s%u%s", shapes[w][0], n, shapes[w][1]);
    json_t *json = json_loads(text, 0, NULL);
    struct response response = {0};
    struct err err;
    assert_int_equal(wire->read_item(&response, json, span_of(text), &err), 0);
    assert_int_equal(conversation_add_response(c, &response, &err), 0);
    json_decref(json);
}

static void show(struct conversation *c, const struct provider *wire, unsigned n, size_t len)
{
    struct err err;
    call(c, wire, n);
    char *base64 = malloc(len);
    memset(base64, 'A' + (char)(n % 26), len);
    const struct image image = {"image/png", base64, len};
    assert_int_equal(conversation_call_output(c, 0, "text", 4, &image, &err), 0);
    free(base64);
}

static size_t images_in(const struct conversation *c, const struct provider *wire)
{
    size_t bytes = 0;
    return image_count(conversation_text(c), &wire->image, &bytes);
}

/* Whatever was dropped: taken up again, it is the same byte for byte, and valid JSON. */
static void check_restored(const struct place *place, struct conversation *c,
                           const struct provider *wire)
{
    struct json_span before = conversation_text(c);
    AUTO_FREE char *copy = str_format("[%.*s]", (int)before.len, before.at);
    conversation_free(c);
    c = open_on(place, wire);
    struct json_span after = conversation_text(c);
    assert_int_equal(after.len, strlen(copy) - 2);
    assert_memory_equal(after.at, copy + 1, after.len);
    json_t *json = json_loads(copy, 0, NULL);
    assert_true(json_is_array(json));
    json_decref(json);
    conversation_free(c);
}

static void the_oldest_images_make_room(void **state)
{
    for (size_t w = 0; w < WIRES; w++) {
        struct place *place = *state;
        struct conversation *c = open_on(place, wires[w]);
        for (unsigned n = 0; n < CONVERSATION_IMAGES_MAX; n++)
            show(c, wires[w], n, 40);
        assert_int_equal(images_in(c, wires[w]), CONVERSATION_IMAGES_MAX);
        show(c, wires[w], 99, 40);
        assert_int_equal(images_in(c, wires[w]), CONVERSATION_IMAGES_MAX / 2);
        struct json_span text = conversation_text(c);
        assert_non_null(memmem(text.at, text.len, "Only the latest are kept", 24));
        assert_non_null(memmem(text.at, text.len, "VVVV", 4)); /* the last one */
        assert_null(memmem(text.at, text.len, "AAAA", 4));
        check_restored(place, c, wires[w]);
        unlinkat(place->fd, "journal.jsonl", 0);
    }
}

static void images_are_bounded_in_bytes_too(void **state)
{
    const struct provider *wire = &provider_chat; /* where they stand apart */
    struct conversation *c = open_on(*state, wire);
    const size_t large = CONVERSATION_IMAGES_BYTES / 4;
    unsigned n = 0;
    for (size_t sum = 0; sum + large <= CONVERSATION_IMAGES_EVER_BYTES; sum += large) {
        show(c, wire, n++, large);
        size_t bytes = 0;
        image_count(conversation_text(c), &wire->image, &bytes);
        assert_true(bytes <= CONVERSATION_IMAGES_BYTES);
    }
    /* The journal has its end, too; the call is still answered. */
    size_t before = images_in(c, wire);
    show(c, wire, n, large);
    assert_int_equal(images_in(c, wire), before);
    struct json_span text = conversation_text(c);
    assert_non_null(memmem(text.at, text.len, "has shown too many", 18));
    check_restored(*state, c, wire);
}

/* The outputs of one answer stand together, whichever has an image. */
static void a_chat_has_its_images_behind_the_outputs(void **state)
{
    static const char two[] =
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
        "{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"id\":\"c3\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}";
    const struct image image = {"image/gif", "R0lGODlh", 8};
    struct conversation *c = open_on(*state, &provider_chat);
    struct response response = {0};
    struct err err;
    json_t *json = json_loads(two, 0, NULL);
    assert_int_equal(provider_chat.read_item(&response, json, span_of(two), &err), 0);
    json_decref(json);
    assert_int_equal(conversation_add_response(c, &response, &err), 0);
    assert_int_equal(conversation_call_output(c, 2, "three", 5, &image, &err), 0);
    assert_int_equal(conversation_call_output(c, 0, "one", 3, &image, &err), 0);
    conversation_free(c);
    c = open_on(*state, &provider_chat); /* in the middle of them */
    assert_int_equal(conversation_calls(c), 3);
    assert_int_equal(conversation_call_output(c, 1, "two", 3, NULL, &err), 0);
    static const char expected[] =
        ",{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"one\"}"
        ",{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"two\"}"
        ",{\"role\":\"tool\",\"tool_call_id\":\"c3\",\"content\":\"three\"}"
        ",{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"The image of the call c1:\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/gif;base64,R0lGODlh\"}},"
        "{\"type\":\"text\",\"text\":\"The image of the call c3:\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/gif;base64,R0lGODlh\"}}]}";
    struct json_span text = conversation_text(c);
    assert_int_equal(text.len, sizeof two - 1 + sizeof expected - 1);
    assert_memory_equal(text.at + sizeof two - 1, expected, sizeof expected - 1);
    check_restored(*state, c, &provider_chat);
}

static void an_image_beside_an_output_is_of_chat_alone(void **state)
{
    static const char records[] =
        "{\"journal\":1,\"wire_api\":\"responses\",\"task\":\"task-abc123\"}\n"
        "{\"response\":{\"usage\":[1,1,1,1],\"items\":[{\"type\":\"function_call\",\"call_id\":\"c1\","
        "\"name\":\"f\",\"arguments\":\"{}\"}]}}\n"
        "{\"output\":{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"x\"},"
        "\"image\":[{}]}\n";
    const struct place *place = *state;
    struct err err;
    AUTO_FD int fd = openat(place->fd, "journal.jsonl", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, records, sizeof records - 1), sizeof records - 1);
    assert_null(conversation_open(&provider_responses, place->fd, "task-abc123", &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "line 3"));
}

/* ---- the tool */

struct fixture {
    struct bench bench;
    struct tool_group group;
};

static int open_tool(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err;
    bench_open(&f->bench, geteuid() == 0);
    assert_int_equal(view_tools_open(&f->bench.host, &f->group, &err), 0);
    *state = f;
    return 0;
}

static int close_tool(void **state)
{
    struct fixture *f = *state;
    bench_stop(&f->bench, &f->group);
    bench_close(&f->bench);
    free(f);
    return 0;
}

static const char *path_of(const struct fixture *f, const char *name)
{
    return text_of("%s/%s", f->bench.workdir, name);
}

static void put(const struct fixture *f, const char *name, const char *bytes, size_t len,
                mode_t mode)
{
    AUTO_FD int fd = open(path_of(f, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
}

/* "TEXT" of what comes of viewing PATH. */
static void expect_refusal(struct fixture *f, const char *arguments, const char *why)
{
    struct asked asked;
    const char *text = ask(&f->bench, &f->group, "view_image", arguments, &asked);
    if (asked.ok || asked.base64 || !strstr(text, why))
        fail_msg("%s: '%s' instead of '%s'", arguments, text, why);
    asked_release(&asked);
}

static void an_image_is_shown(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    put(f, "shot.png", PNG "more", 12, 0644);
    assert_string_equal(ask(&f->bench, &f->group, "view_image", "{\"path\":\"shot.png\"}", &asked),
                        "shot.png: image/png, 12 bytes");
    assert_true(asked.ok);
    assert_string_equal(asked.media_type, "image/png");
    assert_string_equal(asked.base64, "iVBORw0KGgptb3Jl");
    asked_release(&asked);
    /* The largest that there may be, by a link. */
    char *large = calloc(1, IMAGE_MAX_BYTES + 1);
    memcpy(large, "\xff\xd8\xff", 3);
    put(f, "large", large, IMAGE_MAX_BYTES, 0644);
    assert_int_equal(symlink("large", path_of(f, "link.jpg")), 0);
    ask(&f->bench, &f->group, "view_image", "{\"path\":\"link.jpg\"}", &asked);
    assert_true(asked.ok);
    assert_string_equal(asked.media_type, "image/jpeg");
    assert_int_equal(strlen(asked.base64), IMAGE_MAX_BYTES / 3 * 4);
    asked_release(&asked);
    put(f, "large", large, IMAGE_MAX_BYTES + 1, 0644);
    expect_refusal(f, "{\"path\":\"link.jpg\"}", "it is larger than 3.75 MiB");
    free(large);
}

static void what_is_no_image_is_not_shown(void **state)
{
    struct fixture *f = *state;
    put(f, "secret", PNG, 8, 0600); /* root's, where the user is another */
    put(f, "text.png", "hello", 5, 0644);
    put(f, "empty.png", "", 0, 0644);
    assert_int_equal(mkfifo(path_of(f, "fifo"), 0666), 0);
    /* Neither the agent's own descriptors nor its memory are anywhere to be had. */
    assert_int_equal(symlink("/proc/self/fd/0", path_of(f, "report")), 0);
    assert_int_equal(symlink("/proc/self/mem", path_of(f, "memory")), 0);
    expect_refusal(f, "{}", "'path' is required");
    expect_refusal(f, "{\"path\":\"\"}", "No such file");
    expect_refusal(f, "{\"path\":\"missing\"}", "cannot view 'missing': No such file");
    expect_refusal(f, "{\"path\":\".\"}", "not a regular file");
    expect_refusal(f, "{\"path\":\"/dev/zero\"}", "not a regular file");
    expect_refusal(f, "{\"path\":\"fifo\"}", "not a regular file");
    expect_refusal(f, "{\"path\":\"text.png\"}", "no PNG, JPEG, GIF or WebP");
    expect_refusal(f, "{\"path\":\"empty.png\"}", "it is empty");
    expect_refusal(f, "{\"path\":\"report\"}", "cannot view 'report'");
    expect_refusal(f, "{\"path\":\"memory\"}", "cannot view 'memory'");
    if (f->bench.host.drop)
        expect_refusal(f, "{\"path\":\"secret\"}", "Permission denied");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_known_by_its_first_bytes),
        cmocka_unit_test(base64_is_that_of_the_rfc),
        cmocka_unit_test(images_are_found_where_they_are_images),
        cmocka_unit_test_setup_teardown(the_oldest_images_make_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(images_are_bounded_in_bytes_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chat_has_its_images_behind_the_outputs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_image_beside_an_output_is_of_chat_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_image_is_shown, open_tool, close_tool),
        cmocka_unit_test_setup_teardown(what_is_no_image_is_not_shown, open_tool, close_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
