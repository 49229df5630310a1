#include "test.h"

#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/live.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/text.h"
#include "cli/words.h"

/* Events as codexd sends them, in the shapes of docs/protocols.md and docs/api.md. */
static const char *const recorded[] = {
    "{'type':'task.state','state':'queued','from':null,'reason':'3 tasks ahead'}",
    "{'type':'task.state','state':'preparing','from':'queued','reason':null}",
    "{'type':'phase.started','phase':'preparing','round':1}",
    "{'type':'phase.completed','phase':'preparing','round':1,'status':0,'duration_ms':400,"
    "'result':{'commit':'0123456789abcdef0123456789abcdef01234567'}}",
    "{'type':'phase.started','phase':'baseline','round':1}",
    "{'type':'phase.output','phase':'baseline','text':'> demo@1.0.0 test\\n\\u001b[32mok'}",
    "{'type':'phase.output','phase':'baseline','text':' 1\\n2 of 3\\r3 of 3\\n\\nlast'}",
    "{'type':'phase.completed','phase':'baseline','round':1,'status':0,'duration_ms':2100,'result':"
    "{'command':'npm test','found':'package.json','exit_code':0,'signal':null,'timed_out':false,"
    "'duration_ms':2100,'output_tail':'ok 1'}}",
    "{'type':'phase.started','phase':'working','round':2}",
    "{'type':'thread.started','phase':'working','thread_id':'x'}",
    "{'type':'turn.started','phase':'working'}",
    "{'type':'item.completed','phase':'working','item':{'id':'i1','type':'reasoning',"
    "'text':'**Looking**\\nat the tests'}}",
    "{'type':'item.completed','phase':'working','item':{'id':'i2','type':'agent_message',"
    "'text':'I will add it.\\nThen test.'}}",
    "{'type':'item.started','phase':'working','item':{'id':'i3','type':'command_execution',"
    "'command':'npm test','aggregated_output':'','exit_code':null,'status':'in_progress'}}",
    "{'type':'item.updated','phase':'working','item':{'id':'i3','type':'command_execution',"
    "'command':'npm test','aggregated_output':'not ok','exit_code':null,'status':'in_progress'}}",
    "{'type':'item.completed','phase':'working','item':{'id':'i3','type':'command_execution',"
    "'command':'npm test','aggregated_output':'not ok 1\\n# fail "
    "1\\n','exit_code':1,'status':'failed'}}",
    "{'type':'item.completed','phase':'working','item':{'id':'i4','type':'file_change','changes':["
    "{'path':'src/app.js','kind':'update'},{'path':'test/"
    "a\\nb.js','kind':'add'}],'status':'completed'}}",
    "{'type':'item.updated','phase':'working','item':{'id':'i5','type':'todo_list','items':["
    "{'text':'read','completed':true},{'text':'write','completed':false}]}}",
    "{'type':'item.completed','phase':'working','item':{'id':'i5','type':'todo_list','items':["
    "{'text':'read','completed':true},{'text':'write','completed':false}]}}",
    "{'type':'model.usage','phase':'working','usage':{'input_tokens':41234,'cached_input_tokens':"
    "30000,"
    "'output_tokens':3100,'reasoning_output_tokens':1200}}",
    "{'type':'error','phase':'working','message':'rate limited, trying again in 5 s'}",
    "{'type':'limit.hit','phase':'working','limit':'memory','figure':536870912}",
    "{'type':'network.denied','phase':'working','host':'a.test','port':22,"
    "'reason':'port_not_allowed','message':'port 22 of a.test is closed','count':1}",
    "{'type':'network.denied','phase':'working','host':'a.test','port':22,"
    "'reason':'port_not_allowed','message':'port 22 of\\u001b a.test is closed','count':49}",
    "{'type':'network.used','phase':'working','hosts':[{'host':'npm.test','port':443,'connections':"
    "3,'sent_bytes':5,'received_bytes':2048},{'host':null,'port':0,'connections':1,'sent_bytes':1,"
    "'received_bytes':1}]}",
    "{'type':'turn.completed','phase':'working','usage':{'input_tokens':41234,'cached_input_tokens'"
    ":30000,"
    "'output_tokens':3100,'reasoning_output_tokens':1200}}",
    "{'type':'phase.completed','phase':'working','round':2,'status':0,'duration_ms':9000,'result':"
    "{'commit':'abcdef0123456789abcdef0123456789abcdef01','changed':true,'files':1,'insertions':40,"
    "'deletions':2,'title':'t','body':'b','branch':null}}",
    "{'type':'phase.completed','phase':'verifying','round':2,'status':1,'duration_ms':2100,'result'"
    ":"
    "{'command':'npm test','found':'package.json','exit_code':1,'signal':null,'timed_out':false,"
    "'duration_ms':2100,'output_tail':'a\\nb\\nnot ok 7\\n'}}",
    "{'type':'task.state','state':'delivering','from':'verifying','reason':null}",
    "{'type':'delivery.branch','branch':'feat/"
    "pages','commit':'abcdef0123456789abcdef0123456789abcdef01'}",
    "{'type':'delivery.pull_request','pull_request':{'forge':'plain','url':null,'number':1,'state':"
    "'open',"
    "'draft':true,'title':'Add pages','body':'b'}}",
    "{'type':'task.state','state':'completed','from':'delivering','reason':null,'verdict':'failed'"
    "}",
};

/* TEXT with ' for ", and the members that every event has. */
static json_t *event(const char *text, int seq)
{
    AUTO_FREE char *json = strdup(text);
    for (char *p = json; *p; p++)
        if (*p == '\'')
            *p = '"';
    json_error_t error;
    json_t *out = json_loads(json, 0, &error);
    if (!out)
        fail_msg("%s: %s", error.text, text);
    char ts[] = "2025-11-23T17:59:00.000Z";
    snprintf(ts + 17, 8, "%02d.000Z", seq % 60);
    json_object_set_new(out, "seq", json_integer(seq));
    json_object_set_new(out, "ts", json_string(ts));
    return out;
}

static char *render_all(struct render *render)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    render_init(render);
    for (size_t i = 0; i < sizeof recorded / sizeof recorded[0]; i++) {
        json_t *one = event(recorded[i], (int)i);
        render_event(render, one, &out);
        json_decref(one);
    }
    render_flush(render, &out);
    render_release(render);
    return buf_steal(&out, NULL);
}

static void logs_are_readable(void **state)
{
    struct render render = {0};
    AUTO_FREE char *lines = render_all(&render);
    assert_string_equal(lines, "2025-11-23\n"
                               "17:59:00 queued: 3 tasks ahead\n"
                               "17:59:02 preparing\n"
                               "17:59:03   checked out 0123456\n"
                               "17:59:04 baseline\n"
                               "         | > demo@1.0.0 test\n"
                               "         | ok 1\n"
                               "         | 3 of 3\n"
                               "         | \n"
                               "         | last\n"
                               "17:59:07   npm test: exit 0 in 2.1s\n"
                               "17:59:08 working, round 2\n"
                               "17:59:11   thinking: **Looking**\n"
                               "                     at the tests\n"
                               "17:59:12   I will add it.\n"
                               "           Then test.\n"
                               "17:59:13   $ npm test\n"
                               "         | not ok 1\n"
                               "         | # fail 1\n"
                               "17:59:15   exit 1\n"
                               "17:59:16   changed: M src/app.js\n"
                               "17:59:16   changed: A test/a...\n"
                               "17:59:17   plan: [x] read\n"
                               "                 [ ] write\n"
                               "17:59:20   rate limited, trying again in 5 s\n"
                               "17:59:21   limit reached: memory (512.0 MiB)\n"
                               "17:59:22   refused: port 22 of a.test is closed\n"
                               "17:59:23   refused: port 22 of.test is closed (49 times)\n"
                               "17:59:24   from the internet: npm.test 2.0 KiB, others 1 B\n"
                               "17:59:25   the agent is done: 41.2k in (30.0k cached), 3.1k out\n"
                               "17:59:26   committed abcdef0: 1 file changed, +40 -2\n"
                               "17:59:27   npm test: exit 1 in 2.1s\n"
                               "17:59:28 delivering\n"
                               "17:59:29   branch feat/pages at abcdef0\n"
                               "17:59:30   pull request #1: Add pages (draft, open)\n"
                               "17:59:31 completed: tests failed\n");
}

static void brief_logs_keep_what_failed(void **state)
{
    struct render render = {.brief = true, .phase = "verifying", .day = "2025-11-23"};
    AUTO_FREE char *lines = render_all(&render);
    assert_string_equal(lines, "         | a\n"
                               "         | b\n"
                               "         | not ok 7\n"
                               "17:59:27   npm test: exit 1 in 2.1s\n");
    struct render working = {.brief = true, .phase = "working"};
    AUTO_FREE char *work = render_all(&working);
    assert_non_null(strstr(work, "  thinking: **Looking**\n17"));
    assert_non_null(
        strstr(work, "$ npm test\n         | not ok 1\n         | # fail 1\n17:59:15   exit 1\n"));
    struct render baseline = {.brief = true, .phase = "baseline"};
    AUTO_FREE char *before = render_all(&baseline);
    assert_null(strstr(before, "|"));
}

static void render_one(const char *text, char **lines)
{
    struct render render = {0};
    struct buf out;
    buf_init(&out, 1 << 20);
    render_init(&render);
    json_t *one = event(text, 1);
    render_event(&render, one, &out);
    json_decref(one);
    render_release(&render);
    *lines = buf_steal(&out, NULL);
}

static void a_command_that_was_overtaken_is_named_again(void **state)
{
    static const char *const events[] = {
        "{'type':'item.started','item':{'id':'a','type':'command_execution','command':'sleep 9'}}",
        "{'type':'item.started','item':{'id':'b','type':'command_execution','command':'true'}}",
        "{'type':'item.completed','item':{'id':'b','type':'command_execution','command':'true','"
        "exit_code':0}}",
        "{'type':'item.completed','item':{'id':'a','type':'command_execution','command':'sleep 9',"
        "'exit_code':null,'status':'failed'}}",
    };
    struct render render = {.day = "2025-11-23"};
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    render_init(&render);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        json_t *one = event(events[i], (int)i);
        render_event(&render, one, &out);
        json_decref(one);
    }
    render_release(&render);
    assert_string_equal(out.data, "17:59:00   $ sleep 9\n"
                                  "17:59:01   $ true\n"
                                  "17:59:02   exit 0\n"
                                  "17:59:03   $ sleep 9\n"
                                  "17:59:03   interrupted\n");
}

/* Whatever is in an event, nothing but text and colours of ours may reach the terminal. */
static void no_member_of_an_event_reaches_the_terminal_raw(void **state)
{
    static const char *const hostile[] = {
        "{'type':'item.completed','item':{'id':'\\u001b]0;x\\u0007','type':'command_execution',"
        "'command':'\\u001b[2J\\u009b2J','aggregated_output':'\\u001b[2J\\u0090','exit_code':1,"
        "'status':'\\u001b[2J'}}",
        "{'type':'item.completed','item':{'type':'agent_message','text':'\\u001b[2J\\u202e'}}",
        "{'type':'item.completed','item':{'type':'reasoning','text':'\\u001b[2J\\u009b'}}",
        "{'type':'item.completed','item':{'type':'error','message':'\\u001b[2J\\u009b'}}",
        "{'type':'item.completed','item':{'type':'file_change','status':'\\u001b','changes':[{'"
        "path':'\\u001b[2J',"
        "'kind':'\\u001b[2J'},7,null]}}",
        "{'type':'item.completed','item':{'type':'todo_list','items':[{'text':'\\u001b[2J\\u009b'},"
        "[],1]}}",
        "{'type':'task.state','state':'failed','fault':{'message':'\\u001b[2J\\u009b'}}",
        "{'type':'task.state','state':'completed','verdict':'\\u001b[2J\\u009b'}",
        "{'type':'phase.started','phase':'\\u001b[2J\\u009b','round':3}",
        "{'type':'phase.completed','result':{'commit':'\\u001b[2J3456','changed':true}}",
        "{'type':'phase.completed','status':1,'result':{'timed_out':false,'command':'\\u001b["
        "2J\\u009b','exit_code':1}}",
        "{'type':'limit.hit','limit':'\\u001b[2J\\u009b'}",
        "{'type':'delivery.branch','branch':'\\u001b[2J','commit':'\\u001b[2J456'}",
        "{'type':'delivery.pull_request','pull_request':{'title':'\\u001b[2J','state':'\\u001b[2J',"
        "'url':'\\u001b[2J'}}",
        "{'type':'delivery.archive','archive':{'path':'\\u001b[2J'}}",
        "{'type':'delivery.base_moved','base':'\\u001b[2J\\u009b','base_moved':{'behind':2}}",
        "{'type':'run.ended','fault':{'message':'\\u001b[2J\\u009b'}}",
        "{'type':'turn.failed','error':{'message':'\\u001b[2J\\u009b'}}",
        "{'type':'error','message':'\\u001b[2J\\u009b'}",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        AUTO_FREE char *lines = NULL;
        render_one(hostile[i], &lines);
        assert_true(strlen(lines) > 0);
        for (const char *p = lines; *p; p++)
            if ((unsigned char)*p < 0x20 && *p != '\n')
                fail_msg("control %02x from %s", *p, hostile[i]);
        assert_null(strstr(lines, "\xc2\x9b"));
        assert_null(strstr(lines, "\xe2\x80\xae"));
    }
}

static void events_of_any_shape_are_survived(void **state)
{
    static const char *const odd[] = {
        "{}",
        "{'type':7}",
        "{'type':'item.completed'}",
        "{'type':'item.completed','item':[]}",
        "{'type':'item.completed','item':{'type':'command_execution'}}",
        "{'type':'item.completed','item':{'type':'file_change','changes':'x'}}",
        "{'type':'item.completed','item':{'type':'todo_list','items':{}}}",
        "{'type':'item.completed','item':{'type':'from the future'}}",
        "{'type':'phase.output'}",
        "{'type':'phase.output','text':''}",
        "{'type':'phase.completed','result':7}",
        "{'type':'phase.started'}",
        "{'type':'task.state'}",
        "{'type':'from.the.future'}",
        "{'type':'model.usage','usage':null}",
        "{'type':'delivery.pull_request'}",
        "{'type':'delivery.base_moved','base_moved':7}",
    };
    struct live live;
    live_init(&live);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        AUTO_FREE char *lines = NULL;
        render_one(odd[i], &lines);
        json_t *one = event(odd[i], 1);
        live_event(&live, one);
        json_decref(one);
    }
    live_release(&live);
}

static void output_without_line_ends_is_shown_in_pieces(void **state)
{
    struct render render = {0};
    AUTO_BUF struct buf out, text;
    buf_init(&out, 1 << 20);
    buf_init(&text, 1 << 20);
    render_init(&render);
    for (int i = 0; i < RENDER_PARTIAL_MAX * 2 + 5; i++)
        buf_append_char(&text, 'x');
    json_t *one = json_pack("{s:s,s:s}", "type", "phase.output", "text", text.data);
    render_event(&render, one, &out);
    render_event(&render, one, &out);
    json_decref(one);
    render_flush(&render, &out);
    render_release(&render);
    size_t count = 0;
    for (const char *p = out.data; *p; p++)
        count += *p == 'x';
    assert_int_equal(count, 2 * text.len);
}

static char *block(const struct live *live, size_t columns, size_t rows)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    int64_t now = 1763920740000 + 75000; /* 17:59:00 and 75 s */
    live_append(live, now, columns, rows, false, &out);
    return buf_steal(&out, NULL);
}

static void the_block_shows_what_runs_now(void **state)
{
    struct live live;
    live_init(&live);
    for (size_t i = 0; i < 15; i++) {
        json_t *one = event(recorded[i], (int)i);
        live_event(&live, one);
        json_decref(one);
    }
    AUTO_FREE char *running = block(&live, 80, 10);
    assert_string_equal(running, "working, round 2 1m07s (all 1m15s)\n"
                                 "$ npm test (1m02s)\n"
                                 "| not ok\n");
    AUTO_FREE char *narrow = block(&live, 14, 1);
    assert_string_equal(narrow, "working, r...\n");
    for (size_t i = 15; i < 24; i++) {
        json_t *one = event(recorded[i], (int)i);
        live_event(&live, one);
        json_decref(one);
    }
    AUTO_FREE char *thinking = block(&live, 80, 10);
    assert_string_equal(thinking, "working, round 2 1m07s (all 1m15s), 41.2k tokens in, 3.1k out\n"
                                  "the model thinks\n");
    live.ended = true;
    AUTO_FREE char *ended = block(&live, 80, 10);
    assert_string_equal(ended, "");
    live_release(&live);
}

static void the_block_shows_the_last_lines_of_output(void **state)
{
    struct live live;
    live_init(&live);
    json_t *started = event(recorded[4], 10);
    json_t *state_event = event("{'type':'task.state','state':'baseline'}", 10);
    live_event(&live, state_event);
    live_event(&live, started);
    for (int i = 0; i < 3000; i++) {
        json_t *output =
            json_pack("{s:s,s:o}", "type", "phase.output", "text", json_sprintf("line %d\n", i));
        live_event(&live, output);
        json_decref(output);
    }
    json_t *task = json_pack("{s:s,s:n}", "activity", "npm test\nmore", "waiting_for");
    live_task(&live, task);
    AUTO_FREE char *lines = block(&live, 80, 5);
    assert_string_equal(lines, "baseline 1m05s (all 1m05s)\n"
                               "$ npm test...\n"
                               "| line 2997\n"
                               "| line 2998\n"
                               "| line 2999\n");
    json_decref(task);
    json_decref(started);
    json_decref(state_event);
    live_release(&live);
}

static void many_commands_at_once_are_bounded(void **state)
{
    struct live live;
    live_init(&live);
    for (int i = 0; i < 100; i++) {
        json_t *one = json_pack("{s:s,s:s,s:{s:s,s:o,s:o}}", "type", "item.started", "ts",
                                "2025-11-23T17:59:00Z", "item", "type", "command_execution", "id",
                                json_sprintf("i%d", i), "command", json_sprintf("command %d", i));
        live_event(&live, one);
        json_decref(one);
    }
    size_t used = 0;
    for (size_t i = 0; i < LIVE_COMMANDS; i++)
        used += live.commands[i].id[0] != '\0';
    assert_int_equal(used, LIVE_COMMANDS);
    live_release(&live);
}

static const char task_text[] =
    "{'id':'task-abc123','state':'completed','waiting_for':null,'prompt':'Add pages\\nto the "
    "API','repo':'/srv/demo',"
    "'base':'main','base_commit':'0123456789abcdef0123456789abcdef01234567','branch':'feat/pages',"
    "'commit':'abcdef0123456789abcdef0123456789abcdef01','fault':null,'verdict':'passed','evidence'"
    ":{'baseline':"
    "{'command':'npm "
    "test','exit_code':0,'passed':null,'failed':null},'verification':{'command':'npm test',"
    "'exit_code':0,'passed':12,'failed':0},'newly_broken':[],'newly_fixed':['a "
    "test'],'tests_added':[],"
    "'tests_removed':[],'newly_skipped':[]},'pull_request':{'forge':'plain','url':null,'number':1,'"
    "state':'open',"
    "'draft':false,'title':'Add "
    "pages','body':'b'},'usage':{'input_tokens':41234,'cached_input_tokens':0,"
    "'output_tokens':3100,'reasoning_output_tokens':0},'phase':'finishing','activity':null,'round':"
    "1,"
    "'created_at':'2025-11-23T17:59:00.000Z','ended_at':'2025-11-23T18:01:31.000Z'}";

/* Names come from a sandbox: they neither fill the screen nor steer the terminal. */
static void tests_are_named_within_bounds(void **state)
{
    json_t *names = json_array();
    for (int i = 0; i < 30; i++)
        json_array_append_new(names, json_string(i ? "t" : "\x1b[2Jbad\xc2\x9b"));
    json_t *result =
        json_pack("{s:o,s:{s:i}}", "newly_broken", names, "counts", "newly_broken", 75);
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    assert_true(append_test_change(&out, result, "newly_broken", 3));
    assert_null(strchr(out.data, '\x1b'));
    assert_non_null(strstr(out.data, "newly broken: "));
    assert_true(str_ends_with(out.data, ", t, t and 72 more"));
    buf_clear(&out);
    assert_false(append_test_change(&out, result, "flaky", 3));
    assert_int_equal(out.len, 0);
    json_t *task = event(task_text, 1);
    json_object_set_new(task, "evidence", result);
    report_append(&out, task, 0, SIZE_MAX, false);
    assert_non_null(strstr(out.data, "  newly broken  "));
    assert_non_null(strstr(out.data, "\n                t\n                and 65 more\n"));
    assert_null(strchr(out.data, '\x1b'));
    json_decref(task);
}

static void the_report_has_the_evidence(void **state)
{
    json_t *task = event(task_text, 1);
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    report_append(&out, task, 0, SIZE_MAX, false);
    assert_string_equal(out.data, "task-abc123 completed: tests passed\n"
                                  "  prompt        Add pages...\n"
                                  "  repository    /srv/demo (main at 0123456)\n"
                                  "  baseline      npm test: exit 0\n"
                                  "  verification  npm test: exit 0, 12 passed, 0 failed\n"
                                  "  newly fixed   a test\n"
                                  "  branch        feat/pages at abcdef0\n"
                                  "  pull request #1: Add pages (open)\n"
                                  "  tokens        41.2k in, 3.1k out\n"
                                  "  time          2m31s\n"
                                  "  see it        codex diff task-abc123\n"
                                  "  take it       codex apply task-abc123\n");
    assert_int_equal(task_exit_status(task), 0);
    buf_clear(&out);
    json_object_set(task, "base", json_object_get(task, "base_commit"));
    report_append(&out, task, 0, SIZE_MAX, false);
    assert_non_null(strstr(out.data, "  repository    /srv/demo (0123456)\n"));
    buf_clear(&out);
    json_object_set_new(task, "verdict", json_string("no_tests"));
    report_append(&out, task, 0, SIZE_MAX, false);
    assert_non_null(strstr(out.data, "task-abc123 completed: no tests found\n"));
    assert_non_null(
        strstr(out.data, "  hint          name the tests' command with --test, or add tests\n"));
    assert_int_equal(task_exit_status(task), 0);
    json_object_set_new(task, "verdict", json_string("failed"));
    assert_int_equal(task_exit_status(task), 1);
    buf_clear(&out);
    json_t *unchanged = event(task_text, 1);
    json_object_set_new(unchanged, "commit", json_null());
    json_object_set_new(unchanged, "branch", json_null());
    json_object_set_new(unchanged, "pull_request", json_null());
    json_object_set_new(unchanged, "verdict", json_string("none"));
    report_append(&out, unchanged, 0, SIZE_MAX, false);
    assert_non_null(strstr(out.data, "task-abc123 completed: no change was needed\n"));
    assert_null(strstr(out.data, "  branch"));
    assert_null(strstr(out.data, "codex apply"));
    json_decref(unchanged);
    json_object_set_new(task, "state", json_string("cancelled"));
    json_object_set_new(task, "verdict", json_null());
    assert_int_equal(task_exit_status(task), 1);
    json_decref(task);
}

static void the_report_says_why_and_what_it_waits_for(void **state)
{
    json_t *task = event(task_text, 1);
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    json_object_set_new(task, "state", json_string("failed"));
    json_object_set_new(task, "commit", json_null());
    json_object_set_new(task, "pull_request", json_null());
    json_object_set_new(task, "fault",
                        json_pack("{s:s,s:s,s:s}", "kind", "model", "step", "working", "message",
                                  "the key was refused\x1b[2J"));
    report_append(&out, task, 0, SIZE_MAX, false);
    assert_non_null(strstr(out.data,
                           "task-abc123 failed\n"
                           "  why           the key was refused (fault: model, while working)\n"));
    assert_non_null(strstr(out.data, "  see why       codex logs task-abc123\n"));
    buf_clear(&out);
    json_object_set_new(task, "state", json_string("queued"));
    json_object_set_new(task, "fault", json_null());
    json_object_set_new(task, "waiting_for", json_string("3 tasks ahead"));
    json_object_set_new(task, "ended_at", json_null());
    report_append(&out, task, 1763920740000 + 5000, 30, false);
    assert_non_null(strstr(out.data, "task-abc123 queued: waits for 3 tasks ahead\n"));
    assert_non_null(strstr(out.data, "  prompt        Add pages...\n"));
    assert_non_null(strstr(out.data, "  time          5.0s\n"));
    assert_non_null(strstr(out.data, "  follow it     codex logs -f task-abc123\n"));
    json_decref(task);
}

static int group_setup(void **state)
{
    setenv("TZ", "UTC", 1);
    tzset();
    text_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_are_readable),
        cmocka_unit_test(brief_logs_keep_what_failed),
        cmocka_unit_test(a_command_that_was_overtaken_is_named_again),
        cmocka_unit_test(no_member_of_an_event_reaches_the_terminal_raw),
        cmocka_unit_test(events_of_any_shape_are_survived),
        cmocka_unit_test(output_without_line_ends_is_shown_in_pieces),
        cmocka_unit_test(the_block_shows_what_runs_now),
        cmocka_unit_test(the_block_shows_the_last_lines_of_output),
        cmocka_unit_test(many_commands_at_once_are_bounded),
        cmocka_unit_test(tests_are_named_within_bounds),
        cmocka_unit_test(the_report_has_the_evidence),
        cmocka_unit_test(the_report_says_why_and_what_it_waits_for),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
