"""What the steps do only in a sandbox: end every process of the task's user, wherever it hides."""
import json
import os
import time

import pytest

from support.bundles import base_bundle
from support.namespace import AGENT, in_namespaces
from support.program import TASK_USER, memory_file
from support.repository import CALCULATOR, Repository

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

TASK = {"workdir": "/mnt/workspace/demo", "base": "main", "base_commit": "0" * 40, "prompt": "p",
        "author": {"name": "C", "email": "c@localhost"}, "commit_time": 1763920740, "test_timeout_ms": 30000}


def become(user):
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def step(name, task, inputs=None, user=0):
    """Run a step as USER of the namespace. INPUTS: number to bytes. Returns (exit code, number to what was
    written there); 5 is there also when it is of no use, as an empty file."""
    outputs = {number: memory_file(b"") for number in {1, 2, 3, 5}}
    fds = {0: memory_file(json.dumps({**TASK, **task}).encode()), **outputs,
           **{number: memory_file(content) for number, content in (inputs or {}).items()}}
    pid = os.fork()
    if pid == 0:
        become(user)
        for number, fd in fds.items():
            os.dup2(fd, 200 + number)
        os.closerange(0, 200)
        for number in fds:
            os.dup2(200 + number, number)
        os.closerange(200, 300)
        os.execve(AGENT, [AGENT, name], {"PATH": os.environ["PATH"]})
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, {number: os.pread(fd, 1 << 20, 0) for number, fd in outputs.items()}


def make_workspace():
    os.mkdir("/mnt/workspace/demo")
    os.chown("/mnt/workspace/demo", TASK_USER, TASK_USER)


def escape():
    """Leave a process of the task's user behind that has left its session, group and parent."""
    pid = os.fork()
    if pid == 0:
        become(TASK_USER)
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 300)
            time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)


def alive():
    """Processes of the task's user that are no zombies."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == TASK_USER:
                with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                    if ") Z" not in file.read():
                        found.append(int(entry))
        except OSError:
            pass
    return found


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alone():
    return wait_until(lambda: not alive())


@pytest.mark.parametrize("user", [0, TASK_USER])
def test_what_a_test_leaves_behind_is_ended(user):
    def check():
        make_workspace()
        command = "(setsid setsid sleep 1000 >/dev/null 2>&1 </dev/null &) ; sleep 0.1; id -u; echo done"
        code, contents = step("test", {"test_command": command}, user=user)
        return code, contents[1].decode(), alone()
    code, output, is_alone = in_namespaces(check)
    assert (code, output, is_alone) == (0, f"{TASK_USER}\ndone\n", True)


def test_a_timeout_reaches_what_has_escaped():
    def check():
        make_workspace()
        command = "trap '' TERM; setsid bash -c 'trap \"\" TERM; while :; do sleep 1; done' & while :; do sleep 1; done"
        code, contents = step("test", {"test_command": command, "test_timeout_ms": 300})
        return code, json.loads(contents[3])["timed_out"], alone()
    assert in_namespaces(check) == [4, True, True]


def test_as_root_the_step_survives_what_kills_everything_it_can():
    def check():
        make_workspace()
        code, contents = step("test", {"test_command": "kill -9 -1; echo survived; exit 0"})
        return code, contents[1].decode()
    code, output = in_namespaces(check)
    assert code == 0 and output == "survived\n"


def test_a_step_that_somebody_inside_starts_ends_only_its_own():
    """A person in `codex sandbox`, or a model that tries the program out, keeps its shell."""
    def check():
        make_workspace()
        escape()
        running = wait_until(lambda: len(alive()) >= 1)
        pid = os.fork()
        if pid == 0:
            code, _ = step("test", {"test_command": "true"}, user=TASK_USER)  # its parent is inside
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return running, code, len(alive())
    assert in_namespaces(check) == [True, 0, 1]


def test_commit_ends_what_an_agent_left_running(tmp_path):
    repository = Repository(tmp_path / "repo", CALCULATOR)
    bundle, commit = base_bundle(repository), repository.head()

    def check():
        task = {"base_commit": commit}
        checked_out, _ = step("checkout", task, inputs={4: bundle})
        with open("/mnt/workspace/demo/calc.py", "w", encoding="utf-8") as file:
            file.write("changed\n")
        escape()
        escape()
        running = wait_until(lambda: len(alive()) >= 2)
        code, contents = step("commit", task)
        return checked_out, running, code, json.loads(contents[3])["files"], contents[5][:4].decode(), alone()
    assert in_namespaces(check) == [0, True, 0, 1, "# v2", True]
