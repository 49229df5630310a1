"""From `codex task` to a tested branch: whole tasks on the real programs, with a scripted model."""
import hashlib
import pathlib
import subprocess

import pytest

from support.codex import API_KEY, codex_on
from support.model_server import DEFAULT_USAGE, call, custom_call, message, reasoning
from support.repository import CALCULATOR, Repository

ADD_SUBTRACT = """*** Begin Patch
*** Update File: calc.py
@@
 def add(a, b):
     return a + b
+
+
+def subtract(a, b):
+    return a - b
*** Update File: tests/test_calc.py
@@
-from calc import add
+from calc import add, subtract
@@
     def test_add(self):
         self.assertEqual(add(1, 2), 3)
+
+    def test_subtract(self):
+        self.assertEqual(subtract(3, 2), 1)
*** End Patch"""
BREAK_ADD = """*** Begin Patch
*** Update File: calc.py
@@
-    return a + b
+    return a - b
*** End Patch"""
MEND_ADD = """*** Begin Patch
*** Update File: calc.py
@@
-    return a - b
+    return b + a
*** End Patch"""
SUBMIT = call("submit", {"title": "Add subtract", "body": "It was missing.", "branch": "feat/subtract"})

GOOD_WORK = [
    [reasoning("thinking", "Looking around"), call("exec_command", {"cmd": "ls; id -u; pwd"})],
    [custom_call("apply_patch", ADD_SUBTRACT), call("exec_command", {"cmd": "python3 -m unittest 2>&1"})],
    [SUBMIT],
    [message("Done: subtract is there, and tested.")],
]


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "calculator", CALCULATOR)


def test_a_task_becomes_a_tested_branch(repository):
    with codex_on(GOOD_WORK) as (codex, model):
        before = repository.git("status", "--porcelain"), repository.head()
        done = codex.run("task", "Add subtract", "--follow", cwd=repository.path)
        task = codex.tasks()[0]

        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert task["branch"] == "feat/subtract" and task["base"] == "main"
        assert task["base_commit"] == repository.head()
        assert task["evidence"]["baseline"]["exit_code"] == 0
        assert task["evidence"]["verification"]["exit_code"] == 0
        assert "unittest" in task["evidence"]["verification"]["command"]
        assert task["usage"] == {"input_tokens": 400, "cached_input_tokens": 160, "output_tokens": 80,
                                 "reasoning_output_tokens": 20}

        # The branch is in the repository, on top of the base; the checkout is as it was.
        assert repository.branches() == {"main", "feat/subtract"}
        assert repository.git("rev-parse", "feat/subtract") == task["commit"]
        assert repository.git("rev-parse", "feat/subtract^") == repository.head()
        assert repository.git("diff", "--name-only", "main", "feat/subtract") == "calc.py\ntests/test_calc.py"
        assert repository.git("log", "-1", "--format=%s%n%n%b", "feat/subtract").startswith("Add subtract\n\nIt was")
        assert (repository.git("status", "--porcelain"), repository.head()) == before

        pull_request = task["pull_request"]
        assert pull_request["forge"] == "plain" and pull_request["state"] == "open"
        assert not pull_request["draft"] and pull_request["title"] == "Add subtract"
        assert "It was missing." in pull_request["body"] and "unittest" in pull_request["body"]

        # What the model saw, and what it did not.
        outputs = list(model.requests[1].outputs.values())
        assert "1000" in outputs[0] and "/workspace/calculator" in outputs[0]
        assert all(request.headers["Authorization"] == f"Bearer {API_KEY}" for request in model.requests)
        assert any(item.get("encrypted_content") == "thinking" for item in model.requests[3].input)
        assert "feat/subtract" in done.stdout

        assert codex.run("diff", task["id"]).stdout.strip() == \
            repository.git("diff", "--full-index", "--binary", "main", "feat/subtract").strip()


@pytest.mark.parametrize("wire", ["chat", "messages"])
def test_a_task_on_another_wire(repository, wire):
    """From codex.conf to the model server's requests, with a header and a parameter of its own."""
    extra = "header.X-Project = p-${env:SCRIPTED_PROJECT}\nquery.api-version = 2024-10-21"
    project = "secret-project-name"
    with codex_on(GOOD_WORK, wire=wire, provider=extra, environment={"SCRIPTED_PROJECT": project}) as (codex, model):
        codex.run("task", "Add subtract", "--follow", cwd=repository.path)
        task = codex.tasks()[0]
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert task["branch"] == "feat/subtract"
        assert len(model.requests) == len(GOOD_WORK)
        for request in model.requests:
            path, _, query = request.path.partition("?")
            assert request.wire.name == wire and path.endswith(request.wire.path) and query == "api-version=2024-10-21"
            assert request.headers["X-Project"] == f"p-{project}"
            key = request.headers["x-api-key"] if wire == "messages" else request.headers["Authorization"]
            assert key == (API_KEY if wire == "messages" else f"Bearer {API_KEY}")
        assert "Success. Updated the following files" in model.requests[2].outputs["call_2_1"]
        assert task["usage"] == {name: 4 * n for name, n in DEFAULT_USAGE.items()}
        assert project not in codex.run("logs", task["id"], "--json").stdout



def test_the_events_tell_all_of_it_without_a_gap(repository):
    with codex_on(GOOD_WORK) as (codex, _):
        task = codex.task("Add subtract", cwd=repository.path)
        codex.wait(task)
        events = codex.events(task)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert all(event["task"] == task and event["ts"].endswith("Z") for event in events)
        states = [event["state"] for event in events if event["type"] == "task.state"]
        assert states == ["queued", "preparing", "baseline", "working", "verifying", "delivering", "completed"]
        commands = [event["item"] for event in events if event["type"] == "item.completed"
                    and event["item"]["type"] == "command_execution"]
        assert [command["exit_code"] for command in commands] == [0, 0]
        assert any(event["type"] == "phase.output" and event["phase"] == "verifying" and "OK" in event["text"]
                   for event in events)
        # The logs answer after everything else is gone, in words too.
        text = codex.run("logs", task).stdout
        assert "Looking around" in text and "python3 -m unittest" in text


def test_the_archive_is_the_workspace_byte_for_byte(repository, tmp_path):
    weird = "printf 'a\\0b' > bin; mkdir -p deep/er; ln -s ../calc.py deep/link; chmod 751 bin; " \
            "touch -d '2001-02-03T04:05:06.789Z' bin; touch 'new\nline'; mkdir empty; sha256sum bin calc.py"
    script = [[call("exec_command", {"cmd": weird})], [message("done")]]
    with codex_on(script) as (codex, model):
        task = codex.task("Make files", cwd=repository.path)
        archive = codex.wait(task)["archive"]
        path = pathlib.Path(archive["path"])
        assert path.stat().st_size == archive["size_bytes"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == archive["sha256"]
        subprocess.run(["tar", "--zstd", "-xf", path, "-C", tmp_path], check=True)
        top = tmp_path / "calculator"
        assert (top / "bin").read_bytes() == b"a\0b" and (top / "bin").stat().st_mode & 0o777 == 0o751
        assert (top / "bin").stat().st_mtime_ns == 981173106789000000
        assert (top / "deep/link").readlink() == pathlib.Path("../calc.py")
        assert (top / "new\nline").exists() and (top / "empty").is_dir() and (top / ".git").is_dir()
        assert hashlib.sha256(b"a\0b").hexdigest() in list(model.requests[1].outputs.values())[0]


def test_a_failed_verification_goes_back_to_the_agent(repository):
    script = [
        [custom_call("apply_patch", BREAK_ADD)],
        [message("I believe it works.")],
        [custom_call("apply_patch", MEND_ADD)],
        [message("Now it does.")],
    ]
    with codex_on(script) as (codex, model):
        task = codex.wait(codex.task("Turn the sum around", cwd=repository.path))
        assert (task["state"], task["verdict"], task["round"]) == ("completed", "passed", 2)
        feedback = model.requests[2].user_texts[-1]
        assert "test_add" in feedback and "AssertionError" in feedback
        # One commit, not two.
        assert repository.git("rev-list", "--count", f"main..{task['branch']}") == "1"
        assert "return b + a" in repository.git("show", f"{task['branch']}:calc.py")


@pytest.mark.slow
def test_work_that_stays_broken_is_a_draft_and_exit_1(repository):
    script = [[custom_call("apply_patch", BREAK_ADD)]] + [[message(f"Try {n}.")] for n in range(4)]
    with codex_on(script) as (codex, _):
        done = codex.run("task", "Break it", "--follow", cwd=repository.path, check=False)
        task = codex.tasks()[0]
        assert (task["state"], task["verdict"]) == ("completed", "failed")
        assert task["pull_request"]["draft"] and task["branch"] in repository.branches()
        assert task["evidence"]["verification"]["exit_code"] == 1
        assert done.returncode == 1


def test_failures_of_the_baseline_are_not_held_against_the_work(tmp_path):
    files = {**CALCULATOR, "calc.py": "def add(a, b):\n    return a * b\n"}
    repository = Repository(tmp_path / "broken", files)
    script = [[call("exec_command", {"cmd": "echo '# note' >> calc.py"})], [message("done")]]
    with codex_on(script) as (codex, _):
        task = codex.wait(codex.task("Add a note", cwd=repository.path))
        assert (task["verdict"], task["pull_request"]["draft"]) == ("passed", False)
        assert task["evidence"]["baseline"]["exit_code"] == task["evidence"]["verification"]["exit_code"] == 1
        assert task["evidence"]["still_broken"] == ["tests.test_calc.CalcTest.test_add"]


def test_a_repository_without_tests_says_so(tmp_path):
    repository = Repository(tmp_path / "plain", {"README": "hello\n"})
    script = [[call("exec_command", {"cmd": "echo more >> README"})], [message("done")]]
    with codex_on(script) as (codex, _):
        done = codex.run("task", "Say more", "--follow", cwd=repository.path)
        task = codex.tasks()[0]
        assert (task["verdict"], task["pull_request"]["draft"]) == ("no_tests", True)
        assert "--test" in done.stdout + done.stderr


def test_a_test_command_of_ones_own(repository):
    script = [[call("exec_command", {"cmd": "touch flag"})], [message("done")]]
    with codex_on(script) as (codex, _):
        task = codex.wait(codex.task("Raise the flag", "--test", "test -f flag || ! ls README", cwd=repository.path))
        assert task["evidence"]["verification"]["command"] == "test -f flag || ! ls README"
        assert task["verdict"] == "passed"


def test_no_change_needed_is_an_outcome(repository):
    with codex_on([[message("Nothing to do: it is right as it is.")]]) as (codex, _):
        task = codex.wait(codex.task("Check it", cwd=repository.path))
        assert (task["state"], task["branch"], task["pull_request"]) == ("completed", None, None)
        assert task["verdict"] == "none" and repository.branches() == {"main"}


@pytest.mark.slow
def test_a_task_cannot_fake_its_evidence(repository):
    """What the agent does to its own sandbox is not there when its commit is tested."""
    cheat = "mkdir -p ~/bin /tmp/bin; printf '#!/bin/sh\\nexit 0\\n' > ~/bin/python3; chmod +x ~/bin/python3; " \
            "echo 'PATH=$HOME/bin:$PATH' >> ~/.profile; echo 'PATH=$HOME/bin:$PATH' >> ~/.bashrc; " \
            "git config core.hooksPath /tmp/bin; bash -lc 'python3 -c \"raise SystemExit(9)\"'; echo status $?"
    script = [[call("exec_command", {"cmd": cheat}), custom_call("apply_patch", BREAK_ADD)]] + \
        [[message("Passes!")] for _ in range(4)]
    with codex_on(script) as (codex, model):
        task = codex.wait(codex.task("Cheat", cwd=repository.path))
        assert "status 0" in list(model.requests[1].outputs.values())[0]  # it did work in its own sandbox
        assert task["verdict"] == "failed"


def test_branches_do_not_collide(repository):
    repository.git("branch", "feat/subtract")
    with codex_on(GOOD_WORK) as (codex, _):
        first, second = (codex.task("Add subtract", cwd=repository.path) for _ in range(2))
        branches = {codex.wait(first)["branch"], codex.wait(second)["branch"]}
        assert branches == {"feat/subtract-2", "feat/subtract-3"} <= repository.branches()


def test_a_named_branch(repository):
    with codex_on(GOOD_WORK) as (codex, _):
        task = codex.wait(codex.task("Add subtract", "--branch", "mine/sub", cwd=repository.path))
        assert task["branch"] == "mine/sub" and "mine/sub" in repository.branches()
        refused = codex.run("task", "Again", "--branch", "mine/sub", cwd=repository.path, check=False)
        assert refused.returncode == 5 and "mine/sub" in refused.stderr and refused.stderr.count("\n") == 1


def test_a_plain_pull_request_is_merged_when_its_base_has_it(repository):
    with codex_on(GOOD_WORK) as (codex, _):
        task = codex.wait(codex.task("Add subtract", cwd=repository.path))
        repository.git("merge", "--quiet", "--ff-only", task["branch"])
        assert codex.status(task["id"])["pull_request"]["state"] == "merged"


def test_apply_puts_the_work_on_ones_checkout(repository):
    with codex_on(GOOD_WORK) as (codex, _):
        task = codex.wait(codex.task("Add subtract", cwd=repository.path))
        codex.run("apply", task["id"], cwd=repository.path)
        assert "def subtract" in (repository.path / "calc.py").read_text()


def test_no_credential_is_in_the_sandbox(repository):
    search = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; " \
             "grep -rs 'sk-real' / --include='*' --exclude-dir=usr --exclude-dir=proc --exclude-dir=sys | head"
    script = [[call("exec_command", {"cmd": search, "yield_time_ms": 30000})], [message("none")]]
    with codex_on(script) as (codex, model):
        codex.wait(codex.task("Look for keys", cwd=repository.path))
        output = list(model.requests[1].outputs.values())[0]
        assert "PATH=" in output and API_KEY not in output and "sk-real" not in output.replace("'sk-real'", "")


def test_cancel_keeps_the_work(repository):
    script = [[call("exec_command", {"cmd": "echo kept > kept.txt; sleep 1000", "yield_time_ms": 500})],
              [call("write_stdin", {"session_id": 1, "chars": "", "yield_time_ms": 300000})]]
    with codex_on(script, strict=False) as (codex, model):
        task = codex.task("Work for ever", cwd=repository.path)
        model.wait_for(2, 60)
        codex.run("cancel", task)
        ended = codex.wait(task, seconds=20)
        assert (ended["state"], ended["branch"]) == ("cancelled", None)
        assert "+kept" in codex.run("diff", task).stdout
        assert repository.branches() == {"main"}
        assert codex.run("status", task, check=False).returncode == 0


def test_the_queue_runs_so_many_at_a_time(repository):
    script = [[call("exec_command", {"cmd": "sleep 1"})], [message("done")]]
    with codex_on(script, "[server]\nmax_running = 2") as (codex, _):
        tasks = [codex.task(f"Sleep {n}", cwd=repository.path) for n in range(5)]
        most = 0
        while (now := [task["state"] for task in codex.tasks()]) and not all(s == "completed" for s in now):
            assert "failed" not in now
            most = max(most, sum(state not in ("queued", "completed") for state in now))
        assert most == 2
        started = [codex.status(task)["started_at"] for task in tasks]
        assert started == sorted(started)
