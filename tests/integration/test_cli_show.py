"""`codex status`, `list`, `logs`, `diff`, `cancel` in a pipe."""
import json
import subprocess

import pytest

from support.cli import CODEX, Cli, one_line

TASK = "task-abc123"


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        yield cli


def test_status_of_a_task_has_the_evidence(cli):
    cli.api.add(TASK, prompt="Add pagination\nto the API")
    cli.api.work(TASK)
    done = cli.run("status", TASK)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == f"{TASK} completed: tests passed"
    for line in ("  prompt        Add pagination...", "  repository    /srv/demo (main at 0123456)",
                 "  baseline      npm test: exit 0 in 2.1s", "  verification  npm test: exit 0 in 2.1s",
                 "  branch        feat/add-pagination at abcdef0", "  pull request #1: Add pagination (open)",
                 f"  see it        codex diff {TASK}"):
        assert line in lines
    assert cli.json("status", TASK) == cli.api.tasks[TASK]


def test_status_of_a_failed_task_says_why_and_exits_0(cli):
    cli.api.add(TASK, state="failed", fault={"kind": "environment", "step": "preparing", "message": "disk full"})
    done = cli.run("status", TASK)
    assert done.returncode == 0
    assert "  why           disk full (fault: environment, while preparing)\n" in done.stdout


def test_status_without_an_id_is_what_runs_and_waits(cli):
    assert cli.run("status").stdout == "nothing runs and nothing waits; 'codex list' shows what has ended\n"
    assert cli.run("status", "--json").stdout == "[]\n"
    cli.api.add("task-ended0", state="completed")
    cli.api.add("task-works0", state="working", activity="npm test",
                usage={"input_tokens": 40000, "output_tokens": 1234})
    cli.api.add("task-queue0", waiting_for="1 task ahead")
    lines = cli.run("status").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "task-queue0", "task-works0"]
    assert "1 task ahead" in lines[1] and "npm test" in lines[2] and "41.2k" in lines[2]
    assert [task["id"] for task in cli.json("status")] == ["task-queue0", "task-works0"]


def test_list_is_newest_first_and_says_when_it_is_cut(cli):
    assert cli.run("list").stdout == "no tasks yet: codex task \"...\" hands one in\n"
    assert cli.json("list") == []
    for number in range(450):
        cli.api.add(f"task-n{number:05}")
    ids = [f"task-n{number:05}" for number in reversed(range(450))]
    done = cli.run("list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", *ids[:50]]
    assert done.stderr == "these are the newest 50; --all lists the rest, too\n"
    for arguments, count in ((["-n", "3"], 3), (["--limit", "200"], 200), (["-n", "201"], 201), (["-n450"], 450),
                             (["--all"], 450), (["-a"], 450)):
        done = cli.run("list", "--json", *arguments)
        assert [task["id"] for task in json.loads(done.stdout)] == ids[:count]
        assert bool(done.stderr) == (count < 450)
    cli.api.page_max = 7  # pages of large tasks are shorter than was asked for
    assert [task["id"] for task in cli.json("list", "-n", "20")] == ids[:20]


def test_logs_come_by_pages(cli):
    cli.api.add(TASK)
    cli.api.work(TASK)
    for number in range(600):
        cli.api.event(TASK, "item.completed", "working",
                      item={"id": f"n{number}", "type": "agent_message", "text": f"message {number}."})
    done = cli.run("logs", TASK)
    assert done.returncode == 0
    for part in ("queued\n", "$ npm test\n         | all fine\n", "  exit 0\n", "committed abcdef0", "message 0.",
                 "message 599."):
        assert part in done.stdout
    events = [json.loads(line) for line in cli.run("logs", TASK, "--json").stdout.splitlines()]
    assert events == cli.api.events[TASK]
    only = cli.run("logs", TASK, "--phase", "baseline").stdout
    assert [line[9:] for line in only.splitlines()[1:]] == ["baseline", "| > npm test", "| ok 1",
                                                            "  npm test: exit 0 in 2.1s"]


def test_a_phase_without_events_is_empty(cli):
    cli.api.add(TASK)
    assert cli.run("logs", TASK, "--phase", "finishing").stdout == ""


def test_a_diff_passes_to_the_byte(cli):
    cli.api.add(TASK)
    cli.api.diffs[TASK] = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+\x1b[2J\xff\r\n"
    done = subprocess.run([CODEX, "diff", TASK], env=cli.environment, capture_output=True, check=True)
    assert done.stdout == cli.api.diffs[TASK]
    as_json = cli.json("diff", TASK)
    assert as_json["task"] == TASK and as_json["diff"].endswith("+\x1b[2J\ufffd\r\n")


def test_a_diff_that_is_not_there_yet(cli):
    cli.api.add(TASK)
    cli.api.problems[f"GET /v1/tasks/{TASK}/diff"] = (409, "refused", "there is nothing to show yet")
    one_line(cli.run("diff", TASK), 5, "there is nothing to show yet")


def test_cancel(cli):
    cli.api.add(TASK)
    assert cli.run("cancel", TASK).stdout == f"{TASK} is cancelled\n"
    cli.api.add("task-abc124")
    assert cli.json("cancel", "task-abc124")["state"] == "cancelled"
    cli.api.problems[f"POST /v1/tasks/{TASK}/cancel"] = (409, "refused", f"{TASK} is delivering")
    one_line(cli.run("cancel", TASK), 5, "is delivering")
