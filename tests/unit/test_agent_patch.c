/* The parts of apply_patch, and the tool. (What it does to files: tests/integration.) */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tools/patch_match.h"
#include "agent/tools/patch_parse.h"
#include "agent/tools/shell_patch.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tool_double.h"

static struct err err;

static bool alike(const char *a, const char *b, enum patch_likeness likeness)
{
    return slice_alike(slice_of(a), slice_of(b), likeness);
}

static void lines_are_compared_ever_more_leniently(void **state)
{
    assert_true(alike("a b", "a b", PATCH_EXACT));
    assert_false(alike("a", "a ", PATCH_EXACT));
    assert_true(alike("a", "a \t\r\u00a0\u3000", PATCH_TRIM_END));
    assert_false(alike(" a", "a", PATCH_TRIM_END));
    assert_true(alike("\u2003\xc2\x85"
                      " a",
                      "\va\f", PATCH_TRIM));
    assert_false(alike("a  b", "a b", PATCH_TRIM));
    assert_true(
        alike("\u2014\u2018x\u2019 \u201cy\u201d\u00a0z", "-'x' \"y\" z", PATCH_PUNCTUATION));
    assert_false(alike("x", "xy", PATCH_PUNCTUATION));
    assert_false(alike("\xff", "\xfe", PATCH_PUNCTUATION));
    assert_true(alike("\xff ", "\xff", PATCH_PUNCTUATION));
    /* An overlong space is no space, and half a character is not white space. */
    assert_false(alike("a\xc0\xa0", "a", PATCH_TRIM_END));
    assert_false(alike("a\xe2\x80", "a", PATCH_TRIM_END));
    assert_true(alike("", " ", PATCH_TRIM));
}

static void slices_of_the_patch_are_found(void **state)
{
    static const char text[] = "*** Begin Patch\n"
                               "*** Add File: new\n"
                               "+one\n"
                               "*** Update File: old\n"
                               "*** Move to: other\n"
                               "@@ def f():\n"
                               " context\n"
                               "-removed\n"
                               "+added\n"
                               "*** End of File\n"
                               "@@\n"
                               "\n"
                               "+x\n"
                               "*** Delete File: gone\n"
                               "*** End Patch";
    struct patch patch;
    AUTO_BUF struct buf message;
    buf_init(&message, 1000);
    assert_int_equal(patch_parse(&patch, text, sizeof text - 1, &message), 0);
    assert_int_equal(patch.op_count, 3);
    assert_int_equal(patch.ops[0].kind, PATCH_ADD);
    assert_int_equal(patch.ops[0].line_count, 1);
    const struct patch_op *update = &patch.ops[1];
    assert_true(slice_is(update->path, "old") && slice_is(update->move_to, "other"));
    assert_int_equal(update->chunk_count, 2);
    const struct patch_chunk *chunk = &patch.chunks[update->first_chunk];
    assert_true(slice_is(chunk->context, "def f():"));
    assert_true(chunk->at_end_of_file);
    assert_int_equal(chunk->line_count, 3);
    assert_int_equal(chunk->old_count, 2);
    assert_null(chunk[1].context.at);
    assert_int_equal(chunk[1].line_count, 2);
    assert_int_equal(chunk[1].old_count, 1);
    assert_true(slice_is(patch.ops[2].path, "gone"));
    patch_release(&patch);
}

static int parse(const char *text, size_t len, struct buf *message)
{
    struct patch patch;
    int status = patch_parse(&patch, text, len, message);
    patch_release(&patch);
    return status;
}

static void hostile_patches_are_refused(void **state)
{
    static const char nul[] = "*** Begin Patch\n*** Add File: a\0b\n+x\n*** End Patch";
    AUTO_BUF struct buf message;
    buf_init(&message, 1000);
    assert_int_equal(parse(nul, sizeof nul - 1, &message), ERR_USAGE);
    assert_string_equal(message.data,
                        "Invalid patch hunk on line 2: the path holds a NUL character");
    assert_int_equal(parse("", 0, &message), ERR_USAGE);

    /* A message quotes of a line what fits. */
    AUTO_BUF struct buf text;
    buf_init(&text, 100000);
    buf_append_str(&text, "*** Begin Patch\n");
    for (int i = 0; i < 5000; i++)
        buf_append_str(&text, "xxxxxxxxxx");
    buf_append_str(&text, "\n*** End Patch");
    assert_int_equal(parse(text.data, text.len, &message), ERR_USAGE);
    assert_true(message.len < 1000);
    assert_non_null(strstr(message.data, "Invalid patch hunk on line 2: 'xxx"));
}

static void an_update_is_bounded(void **state)
{
    static const char text[] = "*** Begin Patch\n*** Update File: f\n@@\n+more\n*** End Patch";
    struct patch patch;
    AUTO_BUF struct buf message, out;
    buf_init(&message, 1000);
    buf_init(&out, 8);
    assert_int_equal(patch_parse(&patch, text, sizeof text - 1, &message), 0);
    assert_int_equal(patch_update(&patch, &patch.ops[0], slice_of("a\n"), "f", &out, &message), 0);
    assert_string_equal(out.data, "a\nmore\n");
    buf_clear(&out);
    assert_int_equal(patch_update(&patch, &patch.ops[0], slice_of("abc\n"), "f", &out, &message),
                     ERR_LIMIT);
    assert_string_equal(message.data, "f would be too large");
    patch_release(&patch);
}

static const char *found_patch(const char *command)
{
    struct shell_patch found;
    if (!shell_patch_find(command, &found))
        return "none";
    return text_of("%.*s|%.*s", (int)found.directory.len,
                   found.directory.at ? found.directory.at : "", (int)found.patch.len,
                   found.patch.at);
}

static void patches_typed_into_the_shell_are_recognised(void **state)
{
    assert_string_equal(found_patch("apply_patch <<'EOF'\nx\ny\nEOF"), "|x\ny\n");
    assert_string_equal(found_patch(" applypatch <<EOF\nx\nEOF\n \n"), "|x\n");
    assert_string_equal(found_patch("apply_patch << \"P 1\"\nEOF\nP 1\n"), "|EOF\n");
    assert_string_equal(found_patch("cd a/b && apply_patch <<'E'\nx\nE\n"), "a/b|x\n");
    assert_string_equal(found_patch("cd 'a b' && apply_patch <<'E'\nx\nE\n"), "a b|x\n");
    assert_string_equal(found_patch("cd \"/a b\" &&\n apply_patch <<'E'\nx\nE\n"), "/a b|x\n");
    assert_string_equal(found_patch("apply_patch <<'EOF'\r\nx\r\nEOF\r\n"), "|x\r\n");

    static const char *const others[] = {
        "apply_patch",
        "apply_patch x <<'EOF'\nx\nEOF",
        "apply_patch <<'EOF' | cat\nx\nEOF",
        "apply_patch <<'EOF'\nx\nEOF\necho done",
        "apply_patch <<'EOF'\nx\nEOF2",
        "apply_patch <<'EOF'\nx\n EOF",
        "apply_patch <<'EOF\nx\nEOF",
        "apply_patch <<-EOF\nx\nEOF",
        "apply_patch <<''\nx\n\n",
        "apply_patch <<$(x)\nx\n$(x)",
        "echo x; apply_patch <<'EOF'\nx\nEOF",
        "cd a || apply_patch <<'EOF'\nx\nEOF",
        "cd a; apply_patch <<'EOF'\nx\nEOF",
        "cd a b && apply_patch <<'EOF'\nx\nEOF",
        "cd $HOME && apply_patch <<'EOF'\nx\nEOF",
        "cd ~ && apply_patch <<'EOF'\nx\nEOF",
        "cd \"$(touch x)\" && apply_patch <<'EOF'\nx\nEOF",
        "cda && apply_patch <<'EOF'\nx\nEOF",
        "apply_patcher <<'EOF'\nx\nEOF",
        "",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_string_equal(found_patch(others[i]), "none");
}

static void the_tool_reports_what_it_changed(void **state)
{
    struct bench bench;
    struct tool_group group;
    struct asked asked;
    bench_open(&bench, false);
    assert_int_equal(patch_tools_open(&bench.host, &group, &err), 0);
    assert_string_equal(ask(&bench, &group, "apply_patch",
                            "*** Begin Patch\n*** Add File: a/b\n+x\n*** End Patch", &asked),
                        "Success. Updated the following files:\nA a/b\n");
    assert_true(asked.ok);
    asked_release(&asked);
    json_t *events = bench_events(&bench);
    json_t *item = last_item(events, "file_change");
    assert_string_equal(member(item, "status"), "completed");
    const json_t *change = json_array_get(json_object_get(item, "changes"), 0);
    assert_string_equal(member(change, "path"), "a/b");
    assert_string_equal(member(change, "kind"), "add");
    json_decref(events);

    /* What is done stays done, and the model is told. */
    ask(&bench, &group, "apply_patch",
        "*** Begin Patch\n*** Delete File: a/b\n*** Update File: c\n@@\n-x\n+y\n*** End Patch",
        &asked);
    assert_false(asked.ok);
    assert_string_equal(asked.text,
                        text_of("Failed to read file to update %s/c: No such file or directory (os "
                                "error 2)\nDone before that, and not undone:\nD a/b\n",
                                bench.workdir));
    asked_release(&asked);
    events = bench_events(&bench);
    item = last_item(events, "file_change");
    assert_string_equal(member(item, "status"), "failed");
    assert_int_equal(json_array_size(json_object_get(item, "changes")), 1);
    json_decref(events);
    bench_stop(&bench, &group);
    bench_close(&bench);
}

static void a_patch_is_not_cut_when_the_agent_stops(void **state)
{
    struct bench bench;
    struct tool_group group;
    struct asked asked;
    bench_open(&bench, false);
    assert_int_equal(patch_tools_open(&bench.host, &group, &err), 0);
    ask_begin(&group, "apply_patch", "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch", &asked);
    bench_stop(&bench, &group);
    assert_true(asked.done && asked.ok);
    asked_release(&asked);
    bench_close(&bench);
}

static void the_tool_acts_as_the_user(void **state)
{
    if (geteuid() != 0)
        skip();
    struct bench bench;
    struct tool_group group;
    struct asked asked;
    struct stat status;
    bench_open(&bench, true);
    assert_int_equal(patch_tools_open(&bench.host, &group, &err), 0);
    ask(&bench, &group, "apply_patch", "*** Begin Patch\n*** Add File: dir/mine\n+x\n*** End Patch",
        &asked);
    assert_true(asked.ok);
    asked_release(&asked);
    assert_int_equal(stat(text_of("%s/dir/mine", bench.workdir), &status), 0);
    assert_int_equal(status.st_uid, bench.host.uid);
    assert_int_equal(status.st_gid, bench.host.gid);
    assert_int_equal(status.st_mode & 07777, 0644);

    /* The user's link leads where the user may go, and no further. */
    const char *secret = text_of("%s/secret", bench.home);
    assert_int_equal(io_replace_file_at(AT_FDCWD, secret, "root's\n", 7, 0600, &err), 0);
    assert_int_equal(symlink(secret, text_of("%s/link", bench.workdir)), 0);
    static const char *const patches[] = {
        "*** Begin Patch\n*** Add File: link\n+x\n*** End Patch",
        "*** Begin Patch\n*** Update File: link\n@@\n-root's\n+mine\n*** End Patch",
        "*** Begin Patch\n*** Add File: /etc/codex-tools-test\n+x\n*** End Patch",
    };
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        ask(&bench, &group, "apply_patch", patches[i], &asked);
        assert_false(asked.ok);
        assert_non_null(strstr(asked.text, "Permission denied (os error 13)"));
        asked_release(&asked);
    }
    assert_int_equal(stat(secret, &status), 0);
    assert_int_equal(status.st_size, 7);
    bench_stop(&bench, &group);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_compared_ever_more_leniently),
        cmocka_unit_test(slices_of_the_patch_are_found),
        cmocka_unit_test(hostile_patches_are_refused),
        cmocka_unit_test(an_update_is_bounded),
        cmocka_unit_test(patches_typed_into_the_shell_are_recognised),
        cmocka_unit_test(the_tool_reports_what_it_changed),
        cmocka_unit_test(a_patch_is_not_cut_when_the_agent_stops),
        cmocka_unit_test(the_tool_acts_as_the_user),
    };
    return cmocka_run_group_tests_name("agent_patch", tests, NULL, NULL);
}
