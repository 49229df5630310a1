"""`codex task --follow` and `codex logs -f` in a pipe: plain lines, reconnecting, detaching, exit statuses."""
import json
import signal
import time

import pytest

from support.cli import Cli, one_line, wait_for
from support.repository import Repository

TASK = "task-abc123"


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        yield cli


@pytest.fixture(name="repository")
def fixture_repository(cli):
    return Repository(cli.home / "demo", {"README": "hello\n"})


def test_a_task_is_followed_to_its_end(cli, repository):
    cli.api.on_submit = cli.api.work
    done = cli.run("task", "Add pagination", "--follow", cwd=repository.path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "task-new001"
    text = [line[9:] for line in lines]
    for line in ("queued", "preparing", "baseline", "  npm test: exit 0 in 2.1s", "working", "  I add pagination.",
                 "  $ npm test", "  committed abcdef0: 2 files changed, +40 -2", "verifying",
                 "  branch feat/add-pagination at abcdef0", "  pull request #1: Add pagination (open)",
                 "completed: tests passed"):
        assert line in text
    report = done.stdout[done.stdout.index("\ntask-new001 completed: tests passed\n"):]
    for part in ("verification  npm test: exit 0", "feat/add-pagination at abcdef0", "pull request #1",
                 "codex diff task-new001", "codex apply task-new001", "41.2k in, 3.1k out"):
        assert part in report
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    assert "all fine" not in done.stdout  # the output of what went well is in the logs


@pytest.mark.parametrize("state, verdict, expected", [
    ("completed", "passed", 0), ("completed", "unproven", 0), ("completed", "no_tests", 0), ("completed", "none", 0),
    ("completed", "failed", 1), ("failed", None, 1), ("cancelled", None, 1)])
def test_the_end_decides_the_exit_status(cli, repository, state, verdict, expected):
    fault = {"kind": "model", "step": "working", "message": "the key was refused"} if state == "failed" else None

    def end(task):
        cli.api.event(task, "task.state", state="queued")
        cli.api.event(task, "task.state", state=state, verdict=verdict, fault=fault)
    cli.api.on_submit = end
    for flags in ([], ["--json"]):
        done = cli.run("task", "x", "--follow", *flags, cwd=repository.path)
        assert (done.returncode, done.stderr) == (expected, "")
    assert cli.run("logs", "-f", "task-new001").returncode == expected
    assert cli.run("logs", "task-new001").returncode == 0
    if fault:
        assert "the key was refused" in cli.run("logs", "-f", "task-new001").stdout


def test_json_is_events_and_at_last_the_task(cli, repository):
    cli.api.on_submit = cli.api.work
    done = cli.run("task", "x", "--follow", "--json", cwd=repository.path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["seq"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[-1]["id"] == "task-new001" and lines[-1]["state"] == "completed"
    followed = cli.run("logs", "-f", "--json", "task-new001")
    assert [json.loads(line) for line in followed.stdout.splitlines()] == cli.api.events["task-new001"]


def test_a_phase_alone(cli):
    cli.api.add(TASK)
    cli.api.work(TASK)
    text = cli.run("logs", "-f", TASK, "--phase", "verifying").stdout
    assert "verifying" in text and "working" not in text and "baseline\n" not in text
    events = cli.run("logs", "-f", TASK, "--phase", "verifying", "--json").stdout.splitlines()
    assert {json.loads(line)["phase"] for line in events} == {"verifying"} and len(events) == 2


@pytest.mark.parametrize("drop_after", [0, 1, 7])
def test_a_broken_connection_loses_and_doubles_nothing(cli, drop_after):
    cli.api.add(TASK)
    cli.api.work(TASK)
    cli.api.drop_after = drop_after
    done = cli.run("logs", "-f", TASK, "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == cli.api.events[TASK]
    assert cli.api.drop_after is None and done.returncode == 0
    streams = [headers["Last-Event-ID"] for method, target, headers, _ in cli.api.requests
               if target.endswith("/events")]
    assert streams == ["0", str(drop_after)]


def test_a_restart_of_the_server_is_waited_for(cli):
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    with cli.started("logs", "-f", TASK) as process:
        cli.api.wait_for_requests(1, f"GET /v1/tasks/{TASK}/events")
        cli.api.vanish()
        assert "codexd is away" in process.stderr.readline()
        cli.api.work(TASK)
        cli.api.start()
        out, rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest == "codexd is back\n"
    assert out.count("queued") == 2 and "completed: tests passed" in out  # `work` queues it once more


def test_a_refusal_by_a_server_that_is_back_is_final(cli):
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    with cli.started("logs", "-f", TASK) as process:
        cli.api.wait_for_requests(1, f"GET /v1/tasks/{TASK}/events")
        cli.api.vanish()
        del cli.api.tasks[TASK]
        cli.api.start()
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 3 and "no task" in rest


def test_errors_of_the_server_are_retried(cli):
    cli.api.add(TASK)
    cli.api.work(TASK)
    cli.api.problems[f"GET /v1/tasks/{TASK}/events"] = (500, "internal", "database is locked")
    with cli.started("logs", "-f", TASK) as process:
        assert "codexd is away (database is locked)" in process.stderr.readline()
        cli.api.problems.clear()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "completed" in out


@pytest.mark.parametrize("event", ['{"type":"x"}', "not json", '{"seq":"1"}', '{"seq":-1}', "[]"])
def test_events_that_are_none_end_it(cli, event):
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    cli.api.events[TASK][0] = Raw(event)
    one_line(cli.run("logs", "-f", TASK), 5, "an event that is none")


class Raw(dict):
    """An event that the double sends as it is."""

    def __init__(self, text):
        super().__init__(seq=1, type="task.state", state="completed")
        self.text = text


@pytest.fixture(autouse=True)
def raw_events(monkeypatch):
    dumps = json.dumps
    monkeypatch.setattr("support.api_double.json.dumps",
                        lambda value, *rest, **more: value.text if isinstance(value, Raw) else
                        dumps(value, *rest, **more))


def test_an_event_without_end_is_not_kept(cli):
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    cli.api.events[TASK][0] = Raw('{"seq":1,"x":"' + "x" * (9 << 20) + '"}')
    one_line(cli.run("logs", "-f", TASK), 5, "larger than")


@pytest.mark.parametrize("verb", ["logs", "task"])
def test_interrupting_detaches(cli, repository, verb):
    cli.api.on_submit = lambda task: cli.api.event(task, "task.state", state="queued")
    cli.api.add("task-new001")
    cli.api.event("task-new001", "task.state", state="queued")
    arguments = ["task", "x", "--follow"] if verb == "task" else ["logs", "-f", "task-new001"]
    with cli.started(*arguments, cwd=repository.path) as process:
        cli.api.wait_for_requests(1, "GET /v1/tasks/task-new001/events")
        wait_for(lambda: "queued" in process.stdout.readline(), 10, "the first event")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ("detached: task-new001 goes on; 'codex logs -f task-new001' comes back, "
                   "'codex cancel task-new001' ends it\n")
    assert not any("cancel" in target for _, target, _, _ in cli.api.requests)


def test_interrupting_works_while_the_server_is_away(cli):
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    with cli.started("logs", "-f", TASK) as process:
        cli.api.wait_for_requests(1, f"GET /v1/tasks/{TASK}/events")
        cli.api.vanish()
        assert "away" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "detached" in err


def test_a_reader_that_leaves_ends_it(cli):
    """At once, though the task says nothing more."""
    cli.api.add(TASK)
    cli.api.event(TASK, "task.state", state="queued")
    with cli.started("logs", "-f", TASK) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == -signal.SIGPIPE


def test_lines_come_at_once(cli):
    cli.api.add(TASK)
    with cli.started("logs", "-f", TASK) as process:
        for number in range(3):
            cli.api.event(TASK, "item.completed", "working",
                          item={"id": "i", "type": "agent_message", "text": f"message {number}"})
            while f"message {number}" not in process.stdout.readline():
                assert process.poll() is None


def test_a_long_log_is_quick(cli):
    cli.api.add(TASK)
    for number in range(5000):
        cli.api.event(TASK, "phase.output", "working", text=f"line {number}\n")
    cli.api.event(TASK, "task.state", state="completed", verdict="passed")
    began = time.monotonic()
    out = cli.run("logs", TASK).stdout
    assert out.count("| line ") == 5000 and time.monotonic() - began < 20
    assert cli.run("logs", "-f", TASK).stdout.count("| line ") == 5000
