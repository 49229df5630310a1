"""`codex` with the real codexd, runner, gateway and agent: what the double of the API cannot show."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

from support.codex import BUILD, ENDED, Codex, codex_on, wait_for
from support.model_server import call, message
from support.repository import CALCULATOR, Repository
from support.terminal import Terminal

CODEX = BUILD / "codex"
REPLAY = """[model]
name = o3
provider = recording
[provider "recording"]
wire_api = replay
file = {file}
"""
RECORDED = [{"replay": 1, "recorded": "2026-11-20", "model": "o3", "note": "for a test"},
            {"output": [{"type": "message", "role": "assistant",
                         "content": [{"type": "output_text", "text": "Nothing to do."}]}],
             "usage": {"input_tokens": 7, "output_tokens": 3}}]
SLOW = [[call("exec_command", {"cmd": "echo first; sleep 3; echo last > new.txt"})], [message("done")]]


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "calculator", CALCULATOR)


@pytest.fixture(name="private")
def make_private():
    """A `codex` for which no server is configured."""
    codex = Codex("")
    recording = codex.home / "turns.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in RECORDED))
    codex.config.write_text(codex.config.read_text() + REPLAY.format(file=recording))
    del codex.environment["CODEX_SOCKET"]
    codex.log = codex.state / "server/codexd.log"
    try:
        yield codex
    finally:
        for pid in server_pids(codex):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not codex.processes(), 60, "everything of this state has ended")
        shutil.rmtree(codex.home)


def server_pids(codex):
    done = codex.run("doctor", "--server-pid", check=False)
    return [int(done.stdout)] if done.returncode == 0 else []


def ended(codex, task):
    return wait_for(lambda: (now := codex.status(task))["state"] in ENDED and now, 120, f"{task} ends")


def test_a_private_server_serves_and_is_found_again(private, repository):
    codex = private
    done = codex.run("task", "Look at it", "--follow", cwd=repository.path)
    pid, = server_pids(codex)
    assert f"started codexd (process {pid}, log '{codex.log}')\n" == done.stderr
    assert "no change was needed" in done.stdout
    status = open(f"/proc/{pid}/status", encoding="utf-8").read()
    assert re.search(r"^Uid:\s+[1-9]", status, re.MULTILINE)
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert "serving on" in codex.log.read_text()
    assert codex.run("list").stderr == ""
    # Killed, it is started again, and knows its tasks.
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not server_pids(codex), 10, "it is gone")
    assert codex.run("list", check=False).returncode == 4
    again = codex.task("Look again", cwd=repository.path)
    assert {task["id"] for task in codex.tasks()} >= {again} and len(codex.tasks()) == 2
    assert server_pids(codex) != [pid]
    ended(codex, again)


def test_many_at_once_start_one_private_server(private, repository):
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        private.run("task", "Look", cwd=repository.path, check=False))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0] * 6, [done.stderr for done in results]
    assert sum("started codexd" in done.stderr for done in results) == 1
    for task in private.tasks():
        ended(private, task["id"])


def test_a_private_server_that_cannot_start_says_why(private, repository):
    private.config.write_text(private.config.read_text() + "[server]\nuser = nobody-has-this-name\n")
    done = private.run("task", "x", cwd=repository.path, check=False)
    assert done.returncode == 4 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("codex task: codexd did not start: there is no user 'nobody-has-this-name'")


def test_following_survives_kill_9_of_the_server(repository):
    with codex_on(SLOW) as (codex, model):
        with subprocess.Popen([CODEX, "task", "Be slow", "--follow", "--json"], cwd=repository.path,
                              env=codex.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            model.wait_for(1, 60)
            for _ in range(2):
                codex.kill()
                codex.start()
            out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["seq"] for line in lines[:-1]] == list(range(1, len(lines)))
        assert lines[-1]["state"] == "completed" and lines[:-1] == codex.events(lines[-1]["id"])


def test_detaching_leaves_the_task_to_itself(repository):
    with codex_on(SLOW) as (codex, model):
        with subprocess.Popen([CODEX, "task", "Be slow", "--follow"], cwd=repository.path, env=codex.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            task = run.stdout.readline().strip()
            model.wait_for(1, 60)
            run.send_signal(signal.SIGINT)
            _, err = run.communicate(timeout=30)
        assert run.returncode == 130 and f"codex logs -f {task}" in err
        done = codex.run("logs", "-f", task)
        assert "first\n" in done.stdout and codex.status(task)["state"] == "completed"


def test_a_terminal_shows_the_command_that_runs(repository):
    with codex_on(SLOW) as (codex, _):
        with Terminal([CODEX, "task", "Be slow", "--follow"], {**codex.environment, "TERM": "xterm"},
                      cwd=repository.path) as terminal:
            terminal.wait_for("$ echo first; sleep 3; echo last > new.txt (")
            terminal.wait_for("\n| first")
            assert terminal.wait() == 0
            shown = terminal.everything()
        assert "| first" not in shown.replace("         | first", "") and "(all " not in shown
        assert "completed" in shown and "codex apply" in shown


def test_apply_after_the_base_moved_on(repository):
    with codex_on(SLOW) as (codex, _):
        task = codex.wait(codex.task("Be slow", cwd=repository.path))
        repository.commit({"calc.py": CALCULATOR["calc.py"] + "# more\n"}, "moved on")
        done = codex.run("apply", task["id"], cwd=repository.path)
        assert "1 file changed, +1 -0" in done.stdout
        assert (repository.path / "new.txt").read_text() == "last\n"


def test_logs_by_phase(repository):
    with codex_on([[message("Nothing to do.")]]) as (codex, _):
        task = codex.wait(codex.task("Look", cwd=repository.path))["id"]
        baseline = codex.run("logs", task, "--phase", "baseline").stdout
        assert "Ran 1 test" in baseline and "Nothing to do." not in baseline
        assert "Nothing to do." in codex.run("logs", task, "--phase", "working").stdout


def test_doctor_asks_the_real_server(repository):
    with codex_on([[message("ok")]]) as (codex, model):
        found = {check["check"]: check for check in codex.json("doctor")}
        assert all(found[name]["status"] == "ok" for name in ("server", "model", "sandbox", "overlay", "limits", "provider"))
        assert len(model.requests) == 1 and model.requests[0].body["max_output_tokens"] == 16
        with contextlib.suppress(ProcessLookupError):
            assert int(codex.run("doctor", "--server-pid").stdout) == codex.server.pid


def test_a_key_that_only_the_shell_has(repository):
    configuration = ("[model]\nname = o3\nprovider = openai\n[provider \"openai\"]\n"
                     "base_url = http://127.0.0.1:9/v1\nenv_key = TEST_ONLY_KEY\n")
    with Codex(configuration) as codex:
        done = codex.run("task", "x", cwd=repository.path, check=False, environment={"TEST_ONLY_KEY": "sk-secret"})
        assert done.returncode == 5 and done.stderr.count("\n") == 1
        assert "your shell has TEST_ONLY_KEY, codexd has not" in done.stderr and "sk-secret" not in done.stderr
        done = codex.run("task", "x", cwd=repository.path, check=False)
        assert done.returncode == 5 and "TEST_ONLY_KEY" in done.stderr and "your shell" not in done.stderr


def test_sandbox_is_one_like_a_tasks(private, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "here.txt").write_text("here\n")

    def sandbox(*arguments, **options):
        return private.run("sandbox", *arguments, cwd=tmp_path, check=False, **options)
    done = sandbox("--", "sh", "-c", "id -u; pwd; cat here.txt; cat; touch gone; exit 7", stdin="in\n")
    assert (done.returncode, done.stdout) == (7, f"1000\n/workspace/{tmp_path.name}\nhere\nin\n"), done.stderr
    assert not (tmp_path / "gone").exists()
    os.chown(tmp_path, 1234, 1234)
    done = sandbox("--write", "sh", "-c", "echo kept > kept")
    assert done.returncode == 0 and (tmp_path / "kept").read_text() == "kept\n", done.stderr
    assert (tmp_path / "kept").stat().st_uid == 1234
    assert sandbox("--", "sh", "-c", "kill -9 $$").returncode == 137
    assert not server_pids(private)  # it needs no server
