"""What may go wrong while tasks run, with the real programs: kills, limits, a provider that refuses."""
import os
import pathlib
import random
import secrets
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.codex import BUILD, ENDED, wait_for
from support.model_server import ModelServer, call, message, status
from support.processes import Family, kill
from support.repository import Repository
from support.server import Server
from support.stops import Files, Stops

FILES = {"Makefile": "test:\n\ttest ! -e broken\n", "README": "hello\n"}


def model_section(model, more=""):
    return (f"[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = {model.base_url}\nenv_key = KEY\n"
            f"{more}\n")


def work(name, seconds=1):
    """A task that runs a slow command and then writes a file."""
    return [[call("exec_command", {"cmd": f"sleep {seconds}", "yield_time_ms": 30000})],
            [call("exec_command", {"cmd": f"echo {name} >{name}"}), call("submit", {"title": f"Add {name}", "body": "", "branch": f"feat/{name}"})],
            [message("done")]]


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "demo", FILES)


def runners(server):
    """The runners' processes, by the locks that they hold."""
    found = {}
    for line in pathlib.Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        for lock in server.state.glob("runs/*/lock"):
            if "POSIX" in fields and fields[-3].split(":")[-1] == str(lock.stat().st_ino):
                found[lock.parent.name] = int(fields[-4])
    return found


def check_all_is_well(server, repository, tasks):
    """One branch for each, events without a gap, nothing left."""
    for name, task in tasks.items():
        ended = server.status(task)
        assert (ended["state"], ended["verdict"], ended["branch"]) == ("completed", "passed", f"feat/{name}"), ended
        assert repository.git("show", f"feat/{name}:{name}") == name
        assert repository.git("rev-list", "--count", f"main..feat/{name}") == "1"
        events = server.events(task, "?limit=10000")
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["state"] for event in events if event["type"] == "task.state"][-1] == "completed"
        assert sum(event["type"] == "delivery.pull_request" for event in events) == 1
    assert repository.branches() == {"main"} | {f"feat/{name}" for name in tasks}
    assert len({server.status(task)["pull_request"]["number"] for task in tasks.values()}) == len(tasks)


@pytest.mark.slow
def test_codexd_killed_again_and_again(repository):
    """Twenty tasks at once, ten kills: what codexd is away for is not lost."""
    names = [f"file{n}" for n in range(20)]
    with ModelServer({f"write {name}.": work(name, 2) for name in names}) as model, \
            Server("[server]\nmax_running = 20\n" + model_section(model), {"KEY": "k"}) as server:
        tasks = {name: server.submit(f"write {name}.", repository.path)["id"] for name in names}
        for _ in range(10):
            time.sleep(random.uniform(0.05, 0.6))
            server.kill()
            server.start()
        for task in tasks.values():
            server.wait(task)
        check_all_is_well(server, repository, tasks)
        # Its runners lived on: no run had to be replaced but one that had not begun.
        for task in tasks.values():
            begun = {event["run"] for event in server.events(task, "?limit=10000")
                     if event["type"] == "phase.started"}
            assert len(begun) == 1, begun


def test_a_killed_runner_is_replaced_and_its_agent_goes_on(repository):
    with ModelServer({"write it.": work("it", 30)}) as model, Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("write it.", repository.path)["id"]
        model.wait_for(1, 30)
        wait_for(lambda: server.status(task)["activity"], 30, "its command runs")
        runner = runners(server)[f"{task}-1"]
        os.kill(runner, signal.SIGKILL)
        ended = server.wait(task)
        assert ended["run"] == 2, ended
        check_all_is_well(server, repository, {"it": task})
        states = [event for event in server.events(task, "?limit=10000") if event["type"] == "task.state"]
        assert any("run 2 takes over" in (event["reason"] or "") for event in states)
        # The command that was in flight is told to be interrupted, not run again.
        assert any("interrupt" in output.lower() for output in model.requests[1].outputs.values())


def test_everything_killed_at_once(repository):
    """As in a power cut: codexd, spawner, runners and gateways."""
    names = ["one", "two"]
    with ModelServer({f"write {name}.": work(name, 3) for name in names}) as model, \
            Server(model_section(model), {"KEY": "k"}) as server:
        tasks = {name: server.submit(f"write {name}.", repository.path)["id"] for name in names}
        for task in tasks.values():
            wait_for(lambda task=task: server.status(task)["activity"], 30, "its command runs")
        for pid in server.processes():
            os.kill(pid, signal.SIGKILL)
        server.server.wait()
        server.start()
        for task in tasks.values():
            assert server.wait(task)["run"] == 2
        check_all_is_well(server, repository, tasks)


def test_the_end_of_the_time_keeps_the_work(repository):
    script = [[call("exec_command", {"cmd": "echo it >it; sleep 100", "yield_time_ms": 300000})]]
    with ModelServer({"write it.": script}) as model, Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("write it.", repository.path, timeout_ms=8000)["id"]
        ended = server.wait(task)
        assert (ended["state"], ended["fault"]["kind"], ended["branch"]) == ("failed", "limit", None), ended
        assert "+it" in server.call("GET", f"/v1/tasks/{task}/diff").body.decode()
        assert any(event["type"] == "limit.hit" for event in server.events(task))


def test_the_end_of_the_budget_keeps_the_work(repository):
    script = [[call("exec_command", {"cmd": "echo it >it"})], [message("done")]]
    with ModelServer({"write it.": script}, strict=False) as model, \
            Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("write it.", repository.path, budget_tokens=100)["id"]
        ended = server.wait(task)
        assert (ended["state"], ended["fault"]["kind"]) == ("failed", "limit"), ended
        assert "budget" in ended["fault"]["message"]
        assert ended["usage"]["input_tokens"] + ended["usage"]["output_tokens"] >= 100
        assert len(model.requests) == 1
        assert "+it" in server.call("GET", f"/v1/tasks/{task}/diff").body.decode()


def test_a_refused_key_is_the_users_to_mend(repository):
    with ModelServer([status(401)], strict=False) as model, Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("x", repository.path)["id"]
        ended = server.wait(task)
        assert (ended["state"], ended["fault"]["kind"], ended["fault"]["step"]) == ("failed", "user", "working")
        assert "key" in ended["fault"]["message"]


@pytest.mark.slow
def test_a_provider_that_is_not_there_is_told_soon(repository):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # nobody is there once it is closed
    section = (f"[model]\nname = o3\nprovider = p\n[provider \"p\"]\n"
               f"base_url = http://127.0.0.1:{port}/v1\nenv_key = KEY\n")
    with Server(section, {"KEY": "k"}) as server:
        done = server.run("task", "Do it", "--follow", cwd=repository.path, check=False)
        assert done.returncode == 1
        task = server.status(server.tasks()[0]["id"])
        assert (task["state"], task["fault"]["kind"], task["fault"]["step"]) == ("failed", "model", "working")
        assert f"127.0.0.1:{port}" in task["fault"]["message"] and "\n" not in task["fault"]["message"]
        assert task["fault"]["message"] in done.stdout


def test_a_full_disk_is_told(repository):
    """The state on a small file system, in a mount namespace of its own; the socket outside of it."""
    with ModelServer([]) as model:
        server = Server(model_section(model), {"KEY": "k"})
        server.environment["CODEX_SOCKET"] = str(server.home / "codexd.sock")
        server.state.mkdir()
        mount = f"mount -t tmpfs -o size=60m,mode=755 tmpfs {server.state} && exec \"$@\""
        with open(server.log, "ab") as log:
            server.server = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", mount, "-", BUILD / "codexd", "--config", server.config],
                env=server.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(server._answers, 30, "codexd answers")
            answer = server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(repository.path)})
            assert answer.problem[:2] == (507, "disk_full") and "MB are left" in answer.problem[2]
            sandbox, = [check for check in server.call("GET", "/v1/doctor").json if check["check"] == "sandbox"]
            assert sandbox["status"] == "fail" and "MB are left" in sandbox["detail"]
        finally:
            server.close()


@pytest.mark.slow
def test_baselines_and_indexes_are_known_the_second_time(repository):
    repository.commit({"large": secrets.token_hex(400_000)}, "a bundle that is worth an index")
    with ModelServer({"write a.": work("a", 0), "write b.": work("b", 0)}) as model, \
            Server(model_section(model), {"KEY": "k"}) as server:
        first = server.submit("write a.", repository.path)["id"]
        server.wait(first)
        index, = wait_for(lambda: list((server.state / "server" / "bundles").glob("*.idx")), 30, "the bundle's index")
        assert index.with_suffix(".bundle").exists() and index.stat().st_uid == index.with_suffix(".bundle").stat().st_uid
        second = server.submit("write b.", repository.path)["id"]
        ended = server.wait(second)
        assert ended["evidence"] == server.status(first)["evidence"]
        events = server.events(second)
        assert [event["state"] for event in events if event["type"] == "task.state"] == \
            ["queued", "preparing", "working", "verifying", "delivering", "completed"]
        known, = [event for event in events if event["type"] == "phase.completed" and event["phase"] == "baseline"]
        assert known["cached"] and known["result"]["exit_code"] == 0
        # Another test command is another baseline.
        third = server.submit("write a.", repository.path, test="true")["id"]
        server.wait(third)
        assert "baseline" in [event.get("state") for event in server.events(third)]


def test_nothing_of_a_task_is_left_but_what_is_kept(repository):
    with ModelServer({"write a.": work("a", 0)}) as model, Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("write a.", repository.path)["id"]
        ended = server.wait(task)
        files = server.state / "server" / "tasks" / task
        wait_for(lambda: not runners(server), 10, "the runner has ended")
        assert {path.name for path in files.iterdir()} == {"diff.patch", "archive.tar.zst"}
        assert ended["archive"]["path"] == str(files / "archive.tar.zst")
        wait_for(lambda: not list((server.state / "sandboxes").iterdir()), 10, "no sandbox is left")
        assert ended["workspace"] == {"state": "archived"} and ended["state"] in ENDED
        # Nor when codexd was killed between the end and the clearing up.
        server.stop()
        for name in ("base.bundle", "moved.tmp", "work-1.bundle"):
            (files / name).write_text("left behind")
        server.start()
        assert {path.name for path in files.iterdir()} == {"diff.patch", "archive.tar.zst"}


@pytest.mark.parametrize("who", ["runner", "everybody"])
def test_a_runner_that_is_killed_right_behind_its_end_leaves_nothing(repository, who):
    """It has told its end, and not yet noted that the workspace may go."""
    asked, go = threading.Event(), threading.Event()

    def hold(_):
        asked.set()
        go.wait(60)
        return [message("Done.")]
    stops = Stops(["the end is told"])
    with ModelServer({"write a.": [hold]}) as model, Server(model_section(model), {"KEY": "k"}) as server:
        task = server.submit("write a.", repository.path)["id"]
        assert asked.wait(60)
        (runner, _), = Family(server.state).roles()["runner"]
        with Files(stops) as files:
            files.at_open(server.state / "runs" / f"{task}-1" / f"status.tmp-{runner}", "the end is told")
            go.set()
            stops.next(60)
            server.wait(task)
            assert (server.state / "sandboxes" / f"{task}-1" / "work").is_dir()
            for pid in {"runner": [runner], "everybody": Family(server.state).all()}[who]:
                kill(pid)
        if who == "everybody":
            server.server.wait()
            server.start()
        wait_for(lambda: not list((server.state / "sandboxes").iterdir()), 30, "no workspace is left")
        wait_for(lambda: not list((server.state / "runs").iterdir()), 30, "no run is left")
        assert server.status(task)["workspace"] == {"state": "archived"}


def test_the_provider_key_is_nowhere(repository):
    key = "sk-never-written-down"
    with ModelServer({"write a.": work("a", 0)}) as model, Server(model_section(model), {"KEY": key}) as server:
        task = server.submit("write a.", repository.path)["id"]
        server.wait(task)
        wait_for(lambda: not list((server.state / "sandboxes").iterdir()), 10, "no sandbox is left")
        assert model.requests[0].headers["Authorization"] == f"Bearer {key}"
        # grep leaves out the holes of disks.
        found = subprocess.run(["grep", "-rlF", "--devices=skip", key, server.log, server.state], check=False, capture_output=True,
                               text=True)
        assert (found.returncode, found.stdout) == (1, ""), found
        assert key not in server.call("GET", f"/v1/tasks/{task}/events?limit=10000").body.decode()
