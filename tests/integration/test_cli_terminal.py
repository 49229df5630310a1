"""`codex` on a terminal: the live view, colours, resizing, Ctrl-C and Ctrl-Z, and that nothing from a sandbox
can command the terminal. The terminal of these tests refuses every sequence that `codex` has no use for."""
import os
import signal
import time

import pytest

from support.cli import CODEX, Cli, wait_for
from support.repository import Repository
from support.terminal import Terminal

TASK = "task-abc123"
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x9b2J\x90x\x9c \u202etxt\r\nnext\x07\x08!"


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        yield cli


def command(task, stage, output="", exit_code=None, command_text="npm test"):
    return {"kind": f"item.{stage}", "phase": "working", "item": {
        "id": "i7", "type": "command_execution", "command": command_text, "aggregated_output": output,
        "exit_code": exit_code, "status": "in_progress" if exit_code is None else "completed"}}


def begin(cli, task=TASK):
    cli.api.add(task)
    cli.api.event(task, "task.state", state="queued")
    cli.api.event(task, "task.state", state="working")
    cli.api.event(task, "phase.started", "working", round=1)


def on_terminal(cli, *arguments, columns=80, rows=24, cwd=None, **environment):
    return Terminal([CODEX, *arguments], {**cli.environment, **environment}, columns, rows, cwd or cli.home)


def test_the_block_lives_below_the_log(cli):
    begin(cli)
    with on_terminal(cli, "logs", "-f", TASK) as terminal:
        terminal.wait_for("the model thinks")
        cli.api.event(TASK, **command(TASK, "started"))
        cli.api.event(TASK, "model.usage", "working", usage={"input_tokens": 41234, "output_tokens": 3100})
        cli.api.event(TASK, **command(TASK, "updated", "> demo@1.0.0 test\nok 1\n"))
        terminal.wait_for("| ok 1")
        shown = terminal.shown().splitlines()
        assert shown[-4].startswith("working ") and "41.2k tokens in, 3.1k out" in shown[-4]
        assert shown[-3].startswith("$ npm test (") and shown[-2:] == ["| > demo@1.0.0 test", "| ok 1"]
        assert sum(line.startswith("working ") for line in shown) == 1
        # Time passes without events.
        before = shown[-4]
        wait_for(lambda: terminal.shown().splitlines()[-4] != before, 10, "the elapsed time moves")
        cli.api.event(TASK, **command(TASK, "completed", "ok 1\nok 2\n", 0))
        terminal.wait_for("the model thinks")
        assert "         | ok 2" in terminal.shown() and "\n| ok" not in terminal.shown()
        cli.api.event(TASK, "task.state", state="completed", verdict="passed")
        assert terminal.wait() == 0
        text = terminal.everything()
        assert "the model thinks" not in text and "\nworking 0" not in text
        assert f"{TASK} completed: " in text
        assert terminal.screen.escapes == {"A", "J", "m"}


def test_a_whole_task_is_followed(cli):
    repository = Repository(cli.home / "demo", {"README": "hello\n"})
    cli.api.on_submit = cli.api.work
    with on_terminal(cli, "task", "Add pagination", "--follow", cwd=repository.path) as terminal:
        assert terminal.wait() == 0
        text = terminal.everything()
    for part in ("task-new001", "I add pagination.", "committed abcdef0", "task-new001 completed: tests passed",
                 "codex apply task-new001"):
        assert part in text, text


def test_the_queue_says_what_it_waits_for(cli):
    cli.api.add(TASK, waiting_for="3 tasks ahead")
    cli.api.event(TASK, "task.state", state="queued")
    with on_terminal(cli, "logs", "-f", TASK) as terminal:
        terminal.wait_for("waits for 3 tasks ahead")
        cli.api.tasks[TASK]["waiting_for"] = "1 task ahead"
        terminal.wait_for("waits for 1 task ahead")


def test_the_command_of_the_baseline_comes_from_the_task(cli):
    cli.api.add(TASK, activity="make check")
    cli.api.event(TASK, "task.state", state="baseline")
    cli.api.event(TASK, "phase.started", "baseline", round=1)
    cli.api.event(TASK, "phase.output", "baseline", text="compiling\n42%")
    with on_terminal(cli, "logs", "-f", TASK) as terminal:
        terminal.wait_for("$ make check")
        terminal.wait_for("| compiling\n| 42%")


@pytest.mark.parametrize("columns", [80, 33, 10, 2])
def test_lines_fit_whatever_the_width(cli, columns):
    begin(cli)
    cli.api.event(TASK, **command(TASK, "started", command_text="\u6f22\u5b57" * 60))
    with on_terminal(cli, "logs", "-f", TASK, columns=columns) as terminal:
        cli.api.event(TASK, **command(TASK, "updated", "\u6f22" * 200 + "\n" + "e\u0301" * 100 + "\n",
                                      command_text="x"))
        for number in range(4):
            cli.api.event(TASK, "model.usage", "working", usage={"input_tokens": 1000 * number, "output_tokens": 1})
            time.sleep(0.1)
        cli.api.event(TASK, "task.state", state="cancelled")
        assert terminal.wait() == 1
        # Were a line of the block broken in two, its rest would have stayed.
        assert terminal.everything().count("(all ") == 0


def fits(terminal):
    return all(len(line) <= terminal.screen.columns for line in terminal.shown().splitlines())


def test_resizing_leaves_no_rest(cli):
    begin(cli)
    cli.api.event(TASK, **command(TASK, "started"))
    cli.api.event(TASK, **command(TASK, "updated", "word " * 30 + "\n" + "more " * 30 + "\n"))
    with on_terminal(cli, "logs", "-f", TASK, columns=100) as terminal:
        terminal.wait_for("| more")
        for columns in (60, 31, 90, 24):
            terminal.resize(columns)
            os.kill(terminal.process.pid, signal.SIGWINCH)
            wait_for(lambda: fits(terminal), 10, "it fits")
            time.sleep(0.3)
        cli.api.event(TASK, "task.state", state="cancelled")
        assert terminal.wait() == 1
        assert "(all " not in terminal.everything() and "| more" not in terminal.everything()


def test_a_low_terminal_shows_less(cli):
    begin(cli)
    cli.api.event(TASK, **command(TASK, "started"))
    cli.api.event(TASK, **command(TASK, "updated", "\n".join(f"line {n}" for n in range(50))))
    with on_terminal(cli, "logs", "-f", TASK, rows=6) as terminal:
        terminal.wait_for("| line 49")
        assert "line 48" not in terminal.shown()


def test_nothing_from_a_sandbox_commands_the_terminal(cli):
    """The terminal of the test fails on any control but colours and the block's own movements."""
    begin(cli)
    cli.api.tasks[TASK].update(prompt=HOSTILE, activity=HOSTILE, waiting_for=HOSTILE, branch=HOSTILE, commit="1" * 40,
                               fault={"kind": HOSTILE, "step": HOSTILE, "message": HOSTILE}, repo=HOSTILE,
                               pull_request={"title": HOSTILE, "number": 1, "state": HOSTILE, "url": HOSTILE})
    for kind in ("started", "updated", "completed"):
        cli.api.event(TASK, **command(TASK, kind, HOSTILE, 1 if kind == "completed" else None, HOSTILE))
    cli.api.event(TASK, "phase.output", "baseline", text=HOSTILE)
    cli.api.event(TASK, "phase.started", HOSTILE, round=1)
    cli.api.event(TASK, "error", "working", message=HOSTILE)
    cli.api.event(TASK, "item.completed", "working", item={"type": "agent_message", "text": HOSTILE})
    cli.api.diffs[TASK] = (f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+{HOSTILE}\n".encode() +
                           b"+\xff\xfe\n")
    for arguments in (["logs", TASK], ["status", TASK], ["status"], ["list"], ["diff", TASK],
                      ["logs", TASK, "--json"], ["list", "--json"]):
        with on_terminal(cli, *arguments) as terminal:
            assert terminal.wait() == 0
    with on_terminal(cli, "logs", "-f", TASK) as terminal:
        terminal.wait_for("\\u202etxt")
        cli.api.event(TASK, "task.state", state="failed", fault={"kind": "x", "step": "x", "message": HOSTILE})
        assert terminal.wait() == 1


@pytest.mark.parametrize("environment, color, moves", [
    ({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"NO_COLOR": ""}, True, True),
    ({"TERM": "dumb"}, False, False), ({"TERM": ""}, False, False)])
def test_colours_and_movements_can_be_switched_off(cli, environment, color, moves):
    cli.api.add(TASK)
    cli.api.work(TASK)
    with on_terminal(cli, "logs", "-f", TASK, **environment) as terminal:
        assert terminal.wait() == 0
        assert ("m" in terminal.screen.escapes, "J" in terminal.screen.escapes) == (color, moves)
        assert "completed: tests passed" in terminal.everything()


def test_ctrl_c_detaches_and_leaves_the_screen_tidy(cli):
    begin(cli)
    cli.api.event(TASK, **command(TASK, "started"))
    with on_terminal(cli, "logs", "-f", TASK, columns=160) as terminal:
        terminal.wait_for("$ npm test (")
        terminal.press(b"\x03\x03")
        assert terminal.wait() == 130
        assert terminal.shown().splitlines()[-1].endswith(f"'codex cancel {TASK}' ends it")
        assert "(all " not in terminal.shown()


def test_ctrl_z_and_back(cli):
    begin(cli)
    with on_terminal(cli, "logs", "-f", TASK) as terminal:
        terminal.wait_for("the model thinks")
        os.kill(terminal.process.pid, signal.SIGSTOP)
        with terminal.changed:
            terminal.screen.feed("$ fg\r\n")  # what the shell and the person write meanwhile
        os.kill(terminal.process.pid, signal.SIGCONT)
        wait_for(lambda: terminal.shown().splitlines()[-1] == "the model thinks" and
                 terminal.shown().count("(all ") == 2, 10, "a new block below what was written")
        assert "$ fg" in terminal.shown()


def test_the_server_goes_away_and_comes_back(cli):
    begin(cli)
    with on_terminal(cli, "logs", "-f", TASK, columns=120) as terminal:
        terminal.wait_for("the model thinks")
        cli.api.vanish()
        terminal.wait_for("codexd is away")
        cli.api.start()
        terminal.wait_for("codexd is back")
        cli.api.event(TASK, "task.state", state="completed", verdict="passed")
        assert terminal.wait() == 0


def test_tables_are_as_wide_as_the_terminal(cli):
    cli.api.add(TASK, prompt="word " * 40, state="working", activity="npm test" * 20, branch="feat/" + "x" * 60)
    cli.api.add("task-abc124", prompt="\u6f22\u5b57" * 40, state="queued", waiting_for="1 task ahead")
    for verb in ("list", "status"):
        with on_terminal(cli, verb, columns=80) as terminal:
            assert terminal.wait() == 0
            lines = terminal.everything().splitlines()
            assert len(lines) == 3 and all(line.endswith("...") for line in lines[1:])
        assert "word " * 40 in cli.run(verb).stdout
    assert "x" * 60 in cli.run("list").stdout and "npm test" * 20 in cli.run("status").stdout


def test_a_diff_has_colours(cli):
    cli.api.add(TASK)
    cli.api.diffs[TASK] = (b"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- old\n"
                           b"+++ new\n same\n")
    with on_terminal(cli, "diff", TASK) as terminal:
        assert terminal.wait() == 0
        assert "\x1b[1m--- a/x\x1b[0m" in terminal.text
        assert "\x1b[31m--- old\x1b[0m" in terminal.text and "\x1b[32m+++ new\x1b[0m" in terminal.text
        assert "\x1b[36m@@ -1,2 +1,2 @@\x1b[0m" in terminal.text
    assert cli.run("diff", TASK).stdout.encode() == cli.api.diffs[TASK]
