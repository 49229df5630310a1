/* exec_command and write_stdin, with real processes. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "tool_double.h"

static struct err err;
static struct bench bench;
static struct tool_group group;

static int open_exec(void **state)
{
    bench_open(&bench, false);
    return exec_tools_open(&bench.host, &group, &err);
}

static int open_dropped(void **state)
{
    if (geteuid() != 0)
        return 0;
    bench_open(&bench, true);
    return exec_tools_open(&bench.host, &group, &err);
}

static int close_exec(void **state)
{
    if (!group.tools)
        return 0;
    bench_stop(&bench, &group);
    group.tools = NULL;
    bench_close(&bench);
    return 0;
}

#define needs_root()                                                                               \
    do {                                                                                           \
        if (!group.tools)                                                                          \
            skip();                                                                                \
    } while (0)

/* Run CMD with more MEMBERS of JSON; returns what is behind "Output:\n". */
static const char *run_with(const char *cmd, const char *members, struct asked *asked)
{
    json_t *text = json_string(cmd);
    AUTO_FREE char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    json_decref(text);
    AUTO_FREE char *arguments = str_format("{\"cmd\":%s%s}", quoted, members);
    ask(&bench, &group, "exec_command", arguments, asked);
    const char *output = strstr(asked->text, "Output:\n");
    return output ? output + strlen("Output:\n") : "";
}

static void expect_with(const char *cmd, const char *members, const char *output)
{
    struct asked asked;
    assert_string_equal(run_with(cmd, members, &asked), output);
    asked_release(&asked);
}

static void expect(const char *cmd, const char *output)
{
    expect_with(cmd, "", output);
}

static bool says(const struct asked *asked, const char *text)
{
    return strstr(asked->text, text) != NULL;
}

/* How many processes the user of the bench has. */
static size_t count_processes(void)
{
    AUTO_DIR DIR *proc = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;
    assert_non_null(proc);
    while ((entry = readdir(proc))) {
        struct stat status;
        char state = 0;
        if (fstatat(dirfd(proc), entry->d_name, &status, 0) < 0 ||
            status.st_uid != bench.host.uid || entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        AUTO_BUF struct buf stat_line;
        buf_init(&stat_line, 4096);
        if (io_read_file_at(dirfd(proc), text_of("%s/stat", entry->d_name), &stat_line, &err) == 0)
            sscanf(strrchr(stat_line.data, ')'), ") %c", &state);
        count += state && state != 'Z';
    }
    return count;
}

/* Until the events say that the command has STATUS. */
static void wait_for_status(const char *status)
{
    int64_t until_ms = clock_mono_ms() + 10000;
    bool found = false;
    while (!found) {
        assert_true(clock_mono_ms() < until_ms);
        bench_run(&bench, 10);
        json_t *events = bench_events(&bench);
        found = !strcmp(member(last_item(events, "command_execution"), "status"), status);
        json_decref(events);
    }
}

/* Until the user has at least COUNT processes. */
static void wait_for_processes(size_t count)
{
    int64_t until_ms = clock_mono_ms() + 10000;
    while (count_processes() < count) {
        assert_true(clock_mono_ms() < until_ms);
        bench_run(&bench, 10);
    }
}

static void an_answer_says_how_it_went(void **state)
{
    struct asked asked;
    run_with("echo out; echo err >&2; exit 3", "", &asked);
    double seconds;
    assert_int_equal(sscanf(asked.text, "Wall time: %lf seconds\n", &seconds), 1);
    assert_true(seconds >= 0 && seconds < 20);
    assert_string_equal(strchr(asked.text, '\n') + 1, "Process exited with code 3\n"
                                                      "Original token count: 2\n"
                                                      "Output:\n"
                                                      "out\nerr\n");
    assert_true(asked.ok);
    asked_release(&asked);

    json_t *events = bench_events(&bench);
    assert_int_equal(json_array_size(events), 2);
    assert_string_equal(member(json_array_get(events, 0), "type"), "item.started");
    json_t *started = json_object_get(json_array_get(events, 0), "item");
    assert_string_equal(member(started, "status"), "in_progress");
    assert_string_equal(member(started, "command"), "echo out; echo err >&2; exit 3");
    json_t *item = last_item(events, "command_execution");
    assert_string_equal(member(item, "id"), member(started, "id"));
    assert_string_equal(member(item, "status"), "failed");
    assert_string_equal(member(item, "aggregated_output"), "out\nerr\n");
    assert_int_equal(json_integer_value(json_object_get(item, "exit_code")), 3);
    json_decref(events);
}

static void signals_become_exit_codes(void **state)
{
    struct asked asked;
    run_with("kill -9 $$", "", &asked);
    assert_true(says(&asked, "Process exited with code 137\n"));
    asked_release(&asked);
}

static void the_shell_is_as_asked_for(void **state)
{
    expect("shopt -q login_shell && echo login", "login\n");
    expect_with("shopt -q login_shell || echo plain", ",\"login\":false", "plain\n");
    expect_with("readlink /proc/$$/exe | grep -c dash", ",\"shell\":\"/bin/dash\",\"login\":false",
                "1\n");
}

static void the_working_directory_is_as_asked_for(void **state)
{
    struct asked asked;
    expect("pwd", text_of("%s\n", bench.workdir));
    expect("mkdir sub", "");
    expect_with("pwd", ",\"workdir\":\"sub\"", text_of("%s/sub\n", bench.workdir));
    expect_with("pwd", ",\"workdir\":\"/usr\"", "/usr\n");
    run_with("pwd", ",\"workdir\":\"nowhere\"", &asked);
    assert_false(asked.ok);
    assert_string_equal(
        asked.text, text_of("cannot enter '%s/nowhere': No such file or directory", bench.workdir));
    asked_release(&asked);
}

static void bad_arguments_are_answered(void **state)
{
    static const char *const bad[][3] = {
        {"exec_command", "{}", "'cmd' is required"},
        {"exec_command", "{\"cmd\":[\"ls\"]}", "'cmd' must be a string"},
        {"exec_command", "{\"cmd\":\" \\n\"}", "'cmd' is empty"},
        {"exec_command", "{\"cmd\":\"a\\u0000b\"}", "'cmd' must not hold a NUL character"},
        {"exec_command", "{\"cmd\":\"ls\",\"tty\":\"yes\"}", "'tty' must be true or false"},
        {"exec_command", "{\"cmd\":\"ls\",\"yield_time_ms\":\"1\"}",
         "'yield_time_ms' must be a whole number"},
        {"exec_command", "{\"cmd\":\"ls\",\"shell\":\"/nonexistent\"}",
         "cannot run '/nonexistent': No such file or directory"},
        {"write_stdin", "{}", "'session_id' is required"},
        {"write_stdin", "{\"session_id\":7}", "no process has session ID 7"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct asked asked;
        assert_string_equal(ask(&bench, &group, bad[i][0], bad[i][1], &asked), bad[i][2]);
        assert_false(asked.ok);
        asked_release(&asked);
    }
    AUTO_FREE char *longest = malloc(131073);
    memset(longest, 'x', 131072);
    longest[131072] = '\0';
    struct asked asked;
    run_with(longest, "", &asked);
    assert_true(says(&asked, "'cmd' is longer than the 131071 bytes"));
    asked_release(&asked);
    longest[131071] = '\0';
    memcpy(longest, "true #", 6);
    expect(longest, "");
}

static void long_output_is_truncated(void **state)
{
    struct asked asked;
    const char *output = run_with("seq 100000", "", &asked);
    assert_true(says(&asked, "Original token count: 147224\n"));
    assert_true(strlen(output) > 39900 && strlen(output) < 40100);
    assert_true(str_starts_with(output, "1\n2\n3\n"));
    assert_non_null(strstr(output, "…137224 tokens truncated…"));
    assert_true(str_ends_with(output, "99999\n100000\n"));
    asked_release(&asked);
    expect_with("seq 1000", ",\"max_output_tokens\":4",
                "1\n2\n3\n4\n…970 tokens truncated…99\n1000\n");
    /* However much the model asks for, one answer does not fill its context window. */
    output = run_with("seq 100000", ",\"max_output_tokens\":1000000", &asked);
    assert_non_null(strstr(output, "…137224 tokens truncated…"));
    asked_release(&asked);
}

static void a_flood_takes_time_but_no_memory(void **state)
{
    struct rusage before, after;
    struct asked asked;
    getrusage(RUSAGE_SELF, &before);
    const char *output =
        run_with("head -c 1000000000 /dev/zero | tr '\\0' x", ",\"yield_time_ms\":100000", &asked);
    getrusage(RUSAGE_SELF, &after);
    assert_true(says(&asked, "Process exited with code 0\nOriginal token count: 250000000\n"));
    assert_non_null(strstr(output, "…249990000 tokens truncated…"));
    assert_true(after.ru_maxrss - before.ru_maxrss < 8 * 1024);
    asked_release(&asked);
}

static void a_background_process_does_not_hold_the_answer(void **state)
{
    struct asked asked;
    int64_t began_ms = clock_mono_ms();
    const char *output = run_with(
        "sleep 100 & (while kill -0 $$; do :; done 2>/dev/null; echo ready) & echo started", "",
        &asked);
    assert_string_equal(output, "started\nready\n");
    assert_true(says(&asked, "Process exited with code 0\n"));
    assert_true(clock_mono_ms() - began_ms < 5000);
    asked_release(&asked);
}

static void a_background_process_goes_on(void **state)
{
    /* More than a pipe holds, long after the answer: it neither blocks nor dies. */
    expect("(sleep 0.5; head -c 300000 /dev/zero; touch done) >&1 & echo x", "x\n");
    int64_t until_ms = clock_mono_ms() + 10000;
    while (access(text_of("%s/done", bench.workdir), F_OK) < 0) {
        assert_true(clock_mono_ms() < until_ms);
        bench_run(&bench, 50);
    }
}

static void a_command_may_close_its_output(void **state)
{
    struct asked asked;
    run_with("echo x; exec >&- 2>&-; sleep 0.3; exit 5", "", &asked);
    assert_true(says(&asked, "Process exited with code 5\n"));
    assert_true(str_ends_with(asked.text, "Output:\nx\n"));
    asked_release(&asked);
}

static void a_long_command_yields_and_goes_on(void **state)
{
    struct asked asked;
    const char *output =
        run_with("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 4",
                 ",\"yield_time_ms\":250", &asked);
    assert_string_equal(output, "one\n");
    assert_true(says(&asked, "Process running with session ID 1\n"));
    assert_true(asked.ok);
    asked_release(&asked);
    assert_int_equal(mkdir(text_of("%s/go", bench.workdir), 0700), 0);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1}", &asked);
    assert_true(says(&asked, "Process exited with code 4\n"));
    assert_true(str_ends_with(asked.text, "Output:\ntwo\n"));
    asked_release(&asked);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1}", &asked);
    assert_string_equal(asked.text, "no process has session ID 1");
    asked_release(&asked);
}

static void an_end_that_nobody_waited_for_is_kept(void **state)
{
    struct asked asked;
    run_with("sleep 0.4; echo late", ",\"yield_time_ms\":1", &asked);
    assert_true(says(&asked, "Process running with session ID 1\n"));
    asked_release(&asked);
    wait_for_status("completed");
    /* At once, although an empty write waits for five seconds otherwise. */
    int64_t began_ms = clock_mono_ms();
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"x\"}", &asked);
    assert_true(says(&asked, "Process exited with code 0\n"));
    assert_true(str_ends_with(asked.text, "Output:\nlate\n"));
    assert_true(clock_mono_ms() - began_ms < 3000);
    asked_release(&asked);
}

static void one_call_at_a_time_waits_for_a_session(void **state)
{
    struct asked first, second;
    run_with("sleep 100", ",\"yield_time_ms\":1", &first);
    asked_release(&first);
    ask_begin(&group, "write_stdin", "{\"session_id\":1}", &first);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"\\u0003\"}", &second);
    assert_string_equal(second.text, "another call waits for session ID 1");
    asked_release(&second);
    assert_false(first.done);
    bench_stop(&bench, &group);
    group.tools = NULL;
    assert_true(first.done && !first.ok);
    assert_true(says(&first, "Interrupted: the agent was told to stop\n"));
    asked_release(&first);
    json_t *events = bench_events(&bench);
    /* The statuses are those of openai/codex, which programs parse strictly. */
    const json_t *item = last_item(events, "command_execution");
    assert_string_equal(member(item, "status"), "failed");
    assert_true(json_is_null(json_object_get(item, "exit_code")));
    json_decref(events);
    bench_close(&bench);
}

static void a_pipe_takes_no_input_but_an_interrupt(void **state)
{
    struct asked asked;
    run_with("cat; sleep 100", ",\"yield_time_ms\":1", &asked);
    asked_release(&asked);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"x\\n\"}", &asked);
    assert_string_equal(asked.text, "stdin is closed for this session; rerun exec_command with "
                                    "tty=true to keep stdin open");
    asked_release(&asked);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"\\u0003\"}", &asked);
    assert_true(says(&asked, "Process exited with code 130\n"));
    asked_release(&asked);
}

static void a_terminal_takes_input(void **state)
{
    struct asked asked;
    const char *output =
        run_with("test -t 0 -a -t 1 -a -t 2 && stty size; read -r x; echo \"<$x>\"",
                 ",\"tty\":true,\"yield_time_ms\":1000", &asked);
    assert_string_equal(output, "24 80\r\n");
    assert_true(says(&asked, "Process running with session ID 1\n"));
    asked_release(&asked);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"häh\\n\"}", &asked);
    assert_true(says(&asked, "Process exited with code 0\n"));
    assert_true(str_ends_with(asked.text, "Output:\nhäh\r\n<häh>\r\n"));
    asked_release(&asked);
}

static void a_terminal_interrupts_its_foreground(void **state)
{
    struct asked asked;
    run_with("trap 'echo caught; exit 9' INT; sleep 100; exit 1",
             ",\"tty\":true,\"yield_time_ms\":1000", &asked);
    asked_release(&asked);
    ask(&bench, &group, "write_stdin", "{\"session_id\":1,\"chars\":\"\\u0003\"}", &asked);
    assert_true(says(&asked, "Process exited with code 9\n"));
    assert_true(says(&asked, "caught"));
    asked_release(&asked);
}

static void a_terminal_that_does_not_read_is_bounded(void **state)
{
    struct asked asked;
    run_with("stty raw; sleep 100", ",\"tty\":true,\"yield_time_ms\":1000", &asked);
    asked_release(&asked);
    AUTO_FREE char *chars = malloc(60001);
    memset(chars, 'x', 60000);
    chars[60000] = '\0';
    bool refused = false;
    for (int i = 0; i < 4 && !refused; i++) {
        AUTO_FREE char *arguments = str_format("{\"session_id\":1,\"chars\":\"%s\"}", chars);
        ask(&bench, &group, "write_stdin", arguments, &asked);
        refused = says(&asked, "the process does not read its input");
        asked_release(&asked);
    }
    assert_true(refused);
}

static void progress_is_reported_now_and_then(void **state)
{
    struct asked asked;
    int64_t began_ms = clock_mono_ms();
    run_with("for i in $(seq 100); do echo $i; sleep 0.01; done", "", &asked);
    asked_release(&asked);
    json_t *events = bench_events(&bench);
    size_t updates = json_array_size(events) - 2;
    assert_true(updates >= 1 && (int64_t)updates <= (clock_mono_ms() - began_ms) / 300);
    json_t *update = json_array_get(events, 1);
    assert_string_equal(member(update, "type"), "item.updated");
    assert_true(
        str_starts_with(member(json_object_get(update, "item"), "aggregated_output"), "1\n2\n"));
    json_decref(events);
}

static struct asked nested;

static void start_another(struct asked *asked)
{
    on_finish = NULL;
    ask_begin(&group, "exec_command", "{\"cmd\":\"echo nested\",\"login\":false}", &nested);
}

/* As many processes as there may be but one, all of them sleeping. */
static void fill_with_sleepers(void)
{
    static struct asked asked[63];
    for (size_t i = 0; i < 63; i++)
        ask_begin(&group, "exec_command",
                  "{\"cmd\":\"exec sleep 100\",\"login\":false,\"yield_time_ms\":250}", &asked[i]);
    for (size_t i = 0; i < 63; i++) {
        ask_wait(&bench, &asked[i]);
        asked_release(&asked[i]);
    }
}

/* The turn loop starts the next call from within the end of one, whose process is then no more. */
static void a_call_may_start_from_within_an_end(void **state)
{
    struct asked asked;
    fill_with_sleepers();
    on_finish = start_another;
    expect("echo outer", "outer\n");
    ask_wait(&bench, &nested);
    assert_true(str_ends_with(nested.text, "Output:\nnested\n"));
    asked_release(&nested);

    run_with("sleep 0.3", ",\"yield_time_ms\":1", &asked);
    asked_release(&asked);
    wait_for_status("completed");
    on_finish = start_another;
    ask(&bench, &group, "write_stdin", "{\"session_id\":66}", &asked);
    assert_true(says(&asked, "Process exited with code 0\n"));
    asked_release(&asked);
    ask_wait(&bench, &nested);
    assert_true(str_ends_with(nested.text, "Output:\nnested\n"));
    asked_release(&nested);
}

static void sixty_four_processes_and_no_more(void **state)
{
    struct asked asked;
    fill_with_sleepers();
    run_with("exec sleep 100", ",\"login\":false,\"yield_time_ms\":1", &asked);
    asked_release(&asked);
    run_with("echo x", "", &asked);
    assert_true(says(&asked, "64 processes are running already"));
    asked_release(&asked);
    /* One that has ended makes room, also when nobody asked how it went. */
    ask(&bench, &group, "write_stdin", "{\"session_id\":5,\"chars\":\"\\u0003\"}", &asked);
    assert_true(says(&asked, "Process exited with code 130\n"));
    asked_release(&asked);
    expect("echo x", "x\n");
}

static void a_patch_typed_into_the_shell_is_applied(void **state)
{
    struct asked asked;
    run_with("mkdir sub && cat > sub/f <<'E'\nold\nE", "", &asked);
    asked_release(&asked);
    json_decref(bench_events(&bench));
    const char *output = run_with(
        "cd sub && apply_patch <<'EOF'\n*** Begin Patch\n*** Update File: f\n@@\n-old\n+$new\n"
        "*** Add File: g\n+g\n*** End Patch\nEOF\n",
        "", &asked);
    assert_string_equal(output, "Success. Updated the following files:\nA g\nM f\n");
    assert_true(says(&asked, "Process exited with code 0\n"));
    asked_release(&asked);
    json_t *events = bench_events(&bench);
    assert_int_equal(json_array_size(events), 1);
    json_t *changes = json_object_get(last_item(events, "file_change"), "changes");
    assert_string_equal(member(json_array_get(changes, 0), "path"),
                        text_of("%s/sub/f", bench.workdir));
    json_decref(events);
    expect("cat sub/f", "$new\n");
    expect("apply_patch <<'EOF'\n*** Begin Patch\n*** Delete File: sub/g\n*** End Patch\nEOF",
           "Success. Updated the following files:\nD sub/g\n");
    events = bench_events(&bench);
    changes = json_object_get(last_item(events, "file_change"), "changes");
    assert_string_equal(member(json_array_get(changes, 0), "path"), "sub/g");
    json_decref(events);

    run_with("apply_patch <<'EOF'\n*** Begin Patch\nnonsense\n*** End Patch\nEOF",
             ",\"workdir\":\"sub\"", &asked);
    assert_true(says(&asked, "Process exited with code 1\n"));
    assert_true(says(&asked, "Output:\nInvalid patch hunk on line 2: 'nonsense' is not a valid"));
    asked_release(&asked);
}

static void a_patch_that_is_typed_alone_is_not_run(void **state)
{
    struct asked asked;
    run_with("echo 'touch ran' >0; chmod 755 0", "", &asked); /* what `***` would expand to */
    asked_release(&asked);
    run_with("\n*** Begin Patch\n*** Add File: x\n+x\n*** End Patch", "", &asked);
    assert_false(asked.ok);
    assert_non_null(strstr(asked.text, "apply_patch"));
    asked_release(&asked);
    assert_int_equal(access(text_of("%s/ran", bench.workdir), F_OK), -1);
}

/* Counted from before the fork, after which the command may be ahead of the agent. */
static void wall_time_is_no_less_than_the_command_took(void **state)
{
    struct asked asked;
    double said = -1;
    run_with("sleep 0.05", "", &asked);
    assert_int_equal(sscanf(asked.text, "Wall time: %lf seconds", &said), 1);
    assert_true(said >= 0.05 && said < 60);
    asked_release(&asked);
}

static void ids_of_a_restarted_agent_are_new(void **state)
{
    struct asked asked;
    struct tool_group other;
    bench.host.session = 3;
    assert_int_equal(exec_tools_open(&bench.host, &other, &err), 0);
    ask(&bench, &other, "exec_command", "{\"cmd\":\"sleep 100\",\"yield_time_ms\":1}", &asked);
    assert_true(says(&asked, "Process running with session ID 3001\n"));
    asked_release(&asked);
    bench_stop(&bench, &other);
}

static void commands_are_the_user_without_a_privilege(void **state)
{
    needs_root();
    unsigned uid = bench.host.uid, gid = bench.host.gid;
    expect("id -u; id -g; id -G", text_of("%u\n%u\n%u\n", uid, gid, gid));
    expect("grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Groups)' /proc/self/status",
           "Groups:\t \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
           "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
    expect("ulimit -c; ulimit -Hc; umask", "0\n0\n0022\n");
    expect("kill -9 $PPID 2>&1 | cut -d- -f2", " Operation not permitted\n");
}

static void commands_get_nothing_of_the_agent(void **state)
{
    needs_root();
    int leak = open("/etc/shadow", O_RDONLY); /* not CLOEXEC */
    assert_true(leak >= 0);
    setenv("OPENAI_API_KEY", "secret", 1);
    expect("ls /proc/self/fd", "0\n1\n2\n3\n"); /* 3 is ls's own directory */
    expect_with("ls /proc/self/fd", ",\"tty\":true", "0  1  2  3\r\n");
    expect("readlink /proc/self/fd/0", "/dev/null\n");
    expect_with("env | sort | grep -vE '^(_|SHLVL|PWD|PATH)='", ",\"login\":false",
                text_of("GIT_PAGER=cat\nHOME=%s\nLANG=C.UTF-8\nNO_COLOR=1\nPAGER=cat\n"
                        "SHELL=/bin/bash\nTERM=dumb\n",
                        bench.home));
    unsetenv("OPENAI_API_KEY");
    close(leak);
}

static void commands_go_first_when_memory_runs_out(void **state)
{
    AUTO_BUF struct buf own;
    buf_init(&own, 100);
    assert_int_equal(io_read_file("/proc/self/oom_score_adj", &own, &err), 0);
    int score = atoi(own.data) + 300;
    expect("cat /proc/self/oom_score_adj", text_of("%d\n", score < 1000 ? score : 1000));
}

static void a_terminal_belongs_to_the_user(void **state)
{
    needs_root();
    expect_with("stat -c %u $(tty); echo x > $(tty)", ",\"tty\":true",
                text_of("%u\r\nx\r\n", (unsigned)bench.host.uid));
}

static void what_has_escaped_is_ended_too(void **state)
{
    needs_root();
    struct asked asked;
    run_with("setsid bash -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' </dev/null "
             ">/dev/null 2>&1 & "
             "(setsid setsid sleep 100 >/dev/null 2>&1 &) ; "
             "kill -STOP $BASHPID & echo x",
             ",\"yield_time_ms\":500", &asked);
    asked_release(&asked);
    wait_for_processes(3);
    int64_t took_ms = bench_stop(&bench, &group);
    group.tools = NULL;
    assert_int_equal(count_processes(), 0);
    assert_true(took_ms < 3000);
    bench_close(&bench);
}

static void settle(void)
{
    int64_t until_ms = clock_mono_ms() + 10000;
    while (group.running(group.state)) {
        assert_true(clock_mono_ms() < until_ms);
        bench_run(&bench, 10);
    }
}

static bool is_alive(pid_t pid)
{
    AUTO_BUF struct buf line;
    buf_init(&line, 4096);
    if (io_read_file(text_of("/proc/%d/stat", (int)pid), &line, &err) < 0)
        return false;
    return strncmp(strrchr(line.data, ')'), ") Z", 3) != 0;
}

static void what_is_undumpable_is_ended_too(void **state)
{
    needs_root();
    struct asked asked;
    pid_t pid = atoi(run_with("setsid python3 -c 'if 1:\n"
                              " import ctypes, os, signal, time\n"
                              " signal.signal(15, signal.SIG_IGN)\n"
                              " ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
                              " print(os.getpid(), flush=True)\n"
                              " os.close(1), os.close(2)\n"
                              " time.sleep(100)' & sleep 1",
                              "", &asked));
    asked_release(&asked);
    assert_true(pid > 1 && is_alive(pid));
    bench_stop(&bench, &group);
    group.tools = NULL;
    assert_false(is_alive(pid));
    bench_close(&bench);
}

static void a_command_ends_with_its_agent(void **state)
{
    int fds[2];
    char line[64] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct asked asked;
        open_exec(NULL);
        run_with("echo $$; exec sleep 100", ",\"yield_time_ms\":500", &asked);
        const char *output = strstr(asked.text, "Output:\n") + strlen("Output:\n");
        output = text_of("%s%s", output, bench.home);
        ssize_t written = write(fds[1], output, strlen(output));
        kill(getpid(), written > 0 ? SIGKILL : SIGTERM);
    }
    close(fds[1]);
    assert_true(read(fds[0], line, sizeof line - 1) > 0);
    close(fds[0]);
    waitpid(agent, NULL, 0);
    assert_true(atoi(line) > 1);
    int64_t until_ms = clock_mono_ms() + 5000;
    while (is_alive(atoi(line)) && clock_mono_ms() < until_ms)
        usleep(10000);
    assert_false(is_alive(atoi(line)));
    assert_int_equal(io_remove_tree_at(AT_FDCWD, strchr(line, '\n') + 1, &err), 0);
}

static void an_idle_agent_stops_at_once(void **state)
{
    needs_root();
    int64_t took_ms = INT64_MAX;
    for (int i = 0; i < 5 && took_ms > 300;
         i++) { /* less than a process that ignores SIGTERM gets */
        close_exec(NULL);
        assert_int_equal(open_dropped(NULL), 0);
        expect("echo x", "x\n");
        settle(); /* it looks at what the login shell did */
        took_ms = bench_stop(&bench, &group);
        group.tools = NULL;
        bench_close(&bench);
    }
    assert_true(took_ms <= 300);
}

static void a_fork_bomb_is_bounded_and_ended(void **state)
{
    if (geteuid() != 0)
        skip();
    struct rlimit limit = {60, 60}, before;
    struct asked asked;
    getrlimit(RLIMIT_NPROC, &before);
    /* As the sandbox's pids.max would; root itself is exempt. */
    assert_int_equal(setrlimit(RLIMIT_NPROC, &(struct rlimit){limit.rlim_cur, before.rlim_max}), 0);
    bench_open(&bench, true);
    assert_int_equal(exec_tools_open(&bench.host, &group, &err), 0);
    run_with("ulimit -u 60; bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 100",
             ",\"yield_time_ms\":500,\"login\":false", &asked);
    asked_release(&asked);
    wait_for_processes(10);
    assert_true(count_processes() <= 61);
    int64_t took_ms = bench_stop(&bench, &group);
    group.tools = NULL;
    assert_int_equal(count_processes(), 0);
    assert_true(took_ms < 5000);
    setrlimit(RLIMIT_NPROC, &before);
    bench_close(&bench);
}

static void write_home(const char *name, const char *text)
{
    const char *path = text_of("%s/%s", bench.home, name);
    assert_int_equal(io_replace_file_at(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
}

static const char SHOW[] = "shopt -q login_shell && echo login || echo plain; echo \"$GREETING\"; "
                           "type -t greet";

static void what_a_login_shell_does_is_remembered(void **state)
{
    needs_root();
    write_home(".profile", "export GREETING='hello\nworld'\n");
    expect(SHOW, "login\nhello\nworld\n");
    settle();
    expect(SHOW, "plain\nhello\nworld\n");
    expect_with(SHOW, ",\"login\":false", "plain\n\n");
    expect_with("shopt -q login_shell && echo $GREETING", ",\"tty\":true", "hello world\r\n");

    /* It changes, and that counts at once. */
    write_home(".profile", "export GREETING=bye\n");
    expect(SHOW, "login\nbye\n");
    settle();
    expect(SHOW, "plain\nbye\n");

    /* A shell with more than variables cannot be stood in for. */
    write_home(".profile", "export GREETING=x; greet() { echo hi; }\n");
    expect(SHOW, "login\nx\nfunction\n");
    settle();
    expect(SHOW, "login\nx\nfunction\n");
    write_home(".profile", "GREETING=unexported\n");
    expect(SHOW, "login\nunexported\n");
    settle();
    expect(SHOW, "login\nunexported\n");
    write_home(".profile", "umask 077; ulimit -n 100\n");
    expect("umask", "0077\n");
    settle();
    expect("umask", "0077\n");
    write_home(".profile", "echo noise\n");
    settle();
    expect("echo x", "noise\nx\n");
    settle();
    expect("echo x", "noise\nx\n");
}

int main(void)
{
#define TEST(f)    cmocka_unit_test_setup_teardown(f, open_exec, close_exec)
#define DROPPED(f) cmocka_unit_test_setup_teardown(f, open_dropped, close_exec)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_says_how_it_went),
        TEST(signals_become_exit_codes),
        TEST(the_shell_is_as_asked_for),
        TEST(the_working_directory_is_as_asked_for),
        TEST(bad_arguments_are_answered),
        TEST(long_output_is_truncated),
        TEST(a_flood_takes_time_but_no_memory),
        TEST(a_background_process_does_not_hold_the_answer),
        TEST(a_background_process_goes_on),
        TEST(a_command_may_close_its_output),
        TEST(a_long_command_yields_and_goes_on),
        TEST(an_end_that_nobody_waited_for_is_kept),
        TEST(one_call_at_a_time_waits_for_a_session),
        TEST(a_pipe_takes_no_input_but_an_interrupt),
        TEST(a_terminal_takes_input),
        TEST(a_terminal_interrupts_its_foreground),
        TEST(a_terminal_that_does_not_read_is_bounded),
        TEST(progress_is_reported_now_and_then),
        TEST(a_call_may_start_from_within_an_end),
        TEST(sixty_four_processes_and_no_more),
        TEST(a_patch_typed_into_the_shell_is_applied),
        TEST(a_patch_that_is_typed_alone_is_not_run),
        TEST(wall_time_is_no_less_than_the_command_took),
        TEST(ids_of_a_restarted_agent_are_new),
        TEST(commands_go_first_when_memory_runs_out),
        DROPPED(commands_are_the_user_without_a_privilege),
        DROPPED(commands_get_nothing_of_the_agent),
        DROPPED(a_terminal_belongs_to_the_user),
        DROPPED(what_has_escaped_is_ended_too),
        DROPPED(what_is_undumpable_is_ended_too),
        cmocka_unit_test(a_command_ends_with_its_agent),
        DROPPED(an_idle_agent_stops_at_once),
        DROPPED(what_a_login_shell_does_is_remembered),
        cmocka_unit_test_teardown(a_fork_bomb_is_bounded_and_ended, close_exec),
    };
    return cmocka_run_group_tests_name("agent_exec", tests, NULL, NULL);
}
