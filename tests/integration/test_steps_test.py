"""codex-agent test: the tests are found, run, bounded, and told apart."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from support.codex import wait_for
from support.program import TASK_USER, memory_file, start_program
from support.repository import CALCULATOR
from support.steps import Workspace

UNITTEST = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_x(self):\n        self.assertTrue({})\n"


@pytest.fixture(name="workspace")
def make_workspace():
    with Workspace() as workspace:
        workspace.path.mkdir()
        yield workspace


def run(workspace, command=None, check=None, **task):
    """Run the step; returns (exit status, result, output, complaint)."""
    done = workspace.step("test", task={"test_command": command, **task}, check=check)
    return done.returncode, done.json(), done.stdout.decode(errors="replace"), done.stderr


def test_a_command_that_passes(workspace):
    status, result, output, complaint = run(workspace, "echo out; echo err >&2; pwd")
    assert (status, complaint) == (0, "")
    assert output == f"out\nerr\n{workspace.path}\n"
    duration = result.pop("duration_ms")
    assert 0 <= duration < 60000
    assert result == {"command": "echo out; echo err >&2; pwd", "found": "test_command", "exit_code": 0, "signal": None,
                      "timed_out": False, "passed": None, "failed": None, "skipped": None, "compared": False,
                      "ran_twice": False, "output_tail": output}


@pytest.mark.parametrize("command, status, exit_code, number", [
    ("exit 1", 1, 1, None), ("exit 3", 1, 3, None), ("exit 255", 1, 255, None), ("nonexistent-program", 1, 127, None),
    ("kill -9 $$", 1, None, 9), ("kill -SEGV $$", 1, None, 11), ("exec 1>&- 2>&-; exit 7", 1, 7, None),
    ("syntax (error", 1, 2, None), ("true", 0, 0, None)])
def test_exit_and_signal_are_told_apart(workspace, command, status, exit_code, number):
    got, result, _, _ = run(workspace, command)
    assert (got, result["exit_code"], result["signal"], result["timed_out"]) == (status, exit_code, number, False)


def test_it_runs_as_the_task_user_with_nothing_of_ours(workspace):
    os.environ["CODEX_SECRET"] = "s"
    _, result, output, _ = run(workspace, "id -u; id -G; ls -l /proc/self/fd | wc -l; cat /proc/self/status; env; "
                                          "cut -d' ' -f6 /proc/self/stat; echo $$; ulimit -c")
    expected = str(TASK_USER if os.getuid() == 0 else os.getuid())
    lines = output.split("\n")
    assert lines[0] == expected and lines[2] == "5"  # 0, 1, 2, the directory, "total"
    assert "CapEff:\t0000000000000000" in output and "NoNewPrivs:\t1" in output
    assert "CODEX_SECRET" not in output and "CI=1" in output and "TERM=dumb" in output
    session, leader, core = output.split()[-3:]
    assert session == leader and core == "0" and result["exit_code"] == 0
    if os.getuid() == 0:
        assert "Groups:\t \n" in output


def test_a_timeout_ends_what_ignores_sigterm(workspace):
    command = "trap '' TERM; (trap '' TERM; exec sleep 987654) & echo started; while :; do sleep 1; done"
    status, result, output, _ = run(workspace, command, test_timeout_ms=2000)
    assert (status, result["timed_out"], result["signal"]) == (4, True, 9) and "started" in output
    assert not processes_of("sleep\x00987654")


def processes_of(command):
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                if entry.isdigit() and command in file.read():
                    found.append(int(entry))
        except OSError:
            pass
    return found


def test_a_timeout_leaves_time_for_last_words(workspace):
    status, result, output, _ = run(workspace, "trap 'echo stopped; exit 5' TERM; sleep 100 & wait", test_timeout_ms=3000)
    assert (status, result["timed_out"], result["exit_code"]) == (4, True, 5) and "stopped" in output


def test_what_is_left_in_the_background_is_ended_with_the_command(workspace):
    began = time.monotonic()
    status, _, output, _ = run(workspace, "sleep 876543 & (while :; do echo y; done) & echo done")
    assert status == 0 and "done" in output and time.monotonic() - began < 20
    assert not processes_of("sleep\x00876543")


def test_output_is_passed_on_whole_and_its_end_is_kept(workspace):
    status, result, output, _ = run(workspace, "seq 1 200000; exit 1")
    assert status == 1 and output == "".join(f"{i}\n" for i in range(1, 200001))
    assert result["output_tail"] == output[-12288:]


def test_the_result_stays_small_whatever_the_output_is(workspace):
    done = workspace.step("test", task={"test_command": "head -c 3000000 /dev/urandom; head -c 20000 /dev/zero; exit 1"}, check=1)
    assert len(done.files[3]) <= 65536 and json.loads(done.files[3])["exit_code"] == 1
    assert len(done.stdout) == 3020000


def test_a_long_command_is_cut_in_the_result(workspace):
    status, result, _, _ = run(workspace, ": " + "x" * 60000)
    assert status == 0 and len(result["command"]) == 2048


def test_a_slow_reader_holds_the_command_up_and_no_memory_is_used(workspace):
    """Much output to a reader that sleeps first: back-pressure, then all of it."""
    read_end, write_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    task = memory_file(json.dumps({**workspace.task, "test_command": "head -c 300000000 /dev/zero"}).encode())
    pid = start_program("codex-agent", "test", fds={0: task, 1: write_end, 2: null, 3: null})
    os.close(write_end)
    time.sleep(0.3)
    size = 0
    while chunk := os.read(read_end, 1 << 20):
        size += len(chunk)
    for fd in [read_end, null, task]:
        os.close(fd)
    assert os.waitpid(pid, 0)[1] == 0 and size == 300000000


def test_a_reader_that_never_reads_does_not_defeat_the_timeout(workspace):
    read_end, write_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    task = memory_file(json.dumps({**workspace.task, "test_command": "cat /dev/zero", "test_timeout_ms": 300}).encode())
    pid = start_program("codex-agent", "test", fds={0: task, 1: write_end, 2: null, 3: null})
    os.close(write_end)
    ended = []
    wait_for(lambda: ended or ended.extend(s for p, s in [os.waitpid(pid, os.WNOHANG)] if p), 20, "the step ends")
    for fd in [read_end, null, task]:
        os.close(fd)
    assert os.waitstatus_to_exitcode(ended[0]) == 4


def test_a_reader_that_is_gone_does_not_matter(workspace):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = workspace.step("test", inputs={1: write_end}, task={"test_command": "seq 1 100000; exit 0"}, check=0)
    os.close(write_end)
    assert done.json()["output_tail"].endswith("100000\n")


def test_the_command_does_not_outlive_the_step(workspace):
    null = os.open("/dev/null", os.O_RDWR)
    task = memory_file(json.dumps({**workspace.task, "test_command": "exec sleep 765432"}).encode())
    pid = start_program("codex-agent", "test", fds={0: task, 1: null, 2: null, 3: null})
    wait_for(lambda: processes_of("sleep\x00765432"), 20, "the command runs")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for fd in [null, task]:
        os.close(fd)
    wait_for(lambda: not processes_of("sleep\x00765432"), 20, "the command has ended")


def test_no_tests_found(workspace):
    workspace.write({"README.md": "nothing\n", "main.c": "int main;\n"})
    status, result, output, complaint = run(workspace)
    assert status == 3 and output == "" and complaint.count("\n") == 1
    assert complaint.startswith("codex-agent test: no tests found: looked for") and "--test" in complaint
    assert (result["command"], result["found"], result["exit_code"]) == (None, None, None)


def test_no_workspace(workspace):
    workspace.path.rmdir()
    for command in [None, "true"]:
        done = workspace.step("test", check=2, task={"test_command": command})
        assert "cannot enter" in done.stderr and done.stderr.count("\n") == 1


# What is found, by real tools.

def found(workspace, files, task=None):
    workspace.write(files)
    done = workspace.step("test", task=task, timeout=300, check=None)
    result = done.json()
    return done.returncode, result["found"], result["command"], result


@pytest.mark.parametrize("condition, status", [("True", 0), ("False", 1)])
def test_unittest(workspace, condition, status):
    assert found(workspace, {"test_x.py": UNITTEST.format(condition)})[:3] == (
        status, "unittest", "python3 -m unittest discover -v")


def test_unittest_in_a_package(workspace):
    status, kind, command, result = found(workspace, CALCULATOR)
    assert (status, kind, command) == (0, "unittest", "python3 -m unittest discover -v")
    assert "Ran 1 test" in result["output_tail"]


def test_unittest_in_a_directory_that_is_no_package(workspace):
    status, _, command, result = found(workspace, {"tests/test_x.py": UNITTEST.format("True"), "tests/deep/test_y.py": "x = 1\n"})
    assert (status, command) == (0, "python3 -m unittest discover -v -s tests") and "Ran 1 test" in result["output_tail"]


def test_unittest_with_names_the_other_way_round(workspace):
    status, _, command, result = found(workspace, {"x_test.py": UNITTEST.format("True")})
    assert (status, command) == (0, "python3 -m unittest discover -v -s . -p '*_test.py'")
    assert "Ran 1 test" in result["output_tail"]


def test_unittest_with_packages_below_src(workspace):
    status, _, command, _ = found(workspace, {
        "src/thing/__init__.py": "X = 1\n",
        "tests/test_x.py": "import unittest\nimport thing\n" + UNITTEST.format("thing.X")})
    assert (status, command) == (0, "PYTHONPATH=src python3 -m unittest discover -v -s tests")


def test_unittest_without_a_test(workspace):
    status, kind, _, _ = found(workspace, {"test_x.py": "import unittest\n"})
    assert (status, kind) == (3, "unittest")


def test_pytest(workspace):
    status, kind, command, _ = found(workspace, {"test_x.py": "def test_x():\n    assert 1 + 1 == 2\n"})
    assert (kind, command) == ("pytest", "python3 -m pytest") and status == 0
    status, _, _, result = found(workspace, {"test_x.py": "def test_x():\n    assert 1 + 1 == 3  # another size: no stale .pyc\n"})
    assert status == 1 and "1 failed" in result["output_tail"]


def test_pytest_that_collects_nothing(workspace):
    assert found(workspace, {"pytest.ini": "[pytest]\n", "test_x.py": "x = 1\n"})[:2] == (3, "pytest")


NODE = {"package.json": json.dumps({"name": "x", "scripts": {"test": "node --test"}}),
        "x.test.js": "const test = require('node:test');\nconst assert = require('node:assert');\n"
                     "test('x', () => assert.strictEqual(1, %s));\n"}


@pytest.mark.parametrize("number, status", [("1", 0), ("2", 1)])
def test_npm(workspace, number, status):
    files = {**NODE, "x.test.js": NODE["x.test.js"] % number}
    assert found(workspace, files)[:3] == (status, "package.json", "npm test")


def test_make(workspace):
    assert found(workspace, {"Makefile": "all:\n\ntest: all\n\t@echo tested\n"})[:3] == (0, "Makefile", "make test")
    assert found(workspace, {"Makefile": "check:\n\t@false\n"})[:3] == (1, "Makefile", "make check")


C_TEST = {"main.c": "#include <stdlib.h>\nint main(int c, char **v) { return c > 1 ? atoi(v[1]) : 0; }\n"}


def test_cmake(workspace):
    files = {**C_TEST, "CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(x C)\nenable_testing()\n"
                                         "add_executable(x main.c)\nadd_test(NAME x COMMAND x 0)\n"}
    status, kind, command, _ = found(workspace, files)
    assert (status, kind) == (0, "CMakeLists.txt") and command.startswith("cmake -S . -B build-codex && cmake --build")
    files["CMakeLists.txt"] = files["CMakeLists.txt"].replace("x 0", "x 1")
    assert found(workspace, files)[0] == 1


def test_cmake_that_does_not_build(workspace):
    status, _, _, result = found(workspace, {"main.c": "no C\n", "CMakeLists.txt": (
        "cmake_minimum_required(VERSION 3.10)\nproject(x C)\nenable_testing()\nadd_executable(x main.c)\n")})
    assert status == 1 and "ctest" not in result["output_tail"]


def test_meson(workspace):
    files = {**C_TEST, "meson.build": "project('x', 'c')\nx = executable('x', 'main.c')\ntest('x', x)\n"}
    status, kind, command, _ = found(workspace, files)
    assert (status, kind) == (0, "meson.build")
    assert command == "meson setup build-codex && meson test -C build-codex --print-errorlogs"


CARGO = shutil.which("cargo") or "/root/.cargo/bin/cargo"


def test_cargo(workspace, monkeypatch):
    """Where cargo can be used by the task's user: here it is below /root."""
    files = {"Cargo.toml": '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n',
             "src/lib.rs": "#[test]\nfn x() { assert_eq!(1, 1); }\n"}
    workspace.write(files)
    user = {"user": TASK_USER, "group": TASK_USER} if os.getuid() == 0 else {}
    try:
        usable = subprocess.run([CARGO, "--version"], check=False, capture_output=True, **user).returncode == 0
    except OSError:
        usable = False
    status, kind, command, result = found(workspace, files)
    assert (kind, command) == ("Cargo.toml", "cargo test --no-fail-fast")
    if usable:
        assert status == 0 and "1 passed" in result["output_tail"]
    else:
        assert status == 1 and result["exit_code"] == 127 and "cannot run 'cargo'" in result["output_tail"]


def test_a_command_of_the_task_comes_before_everything(workspace):
    assert found(workspace, NODE, task={"test_command": "true"})[:3] == (0, "test_command", "true")


def test_the_step_can_be_started_as_the_task_user(workspace):
    workspace.write({"test_x.py": UNITTEST.format("True")})
    user = TASK_USER if os.getuid() == 0 else None
    done = workspace.step("test", user=user)
    assert done.json()["exit_code"] == 0


def test_a_tree_full_of_traps_is_looked_at_and_left(workspace):
    """FIFOs, links in circles and to devices, directories that cannot be read, a wide directory."""
    os.mkfifo(workspace.path / "package.json")
    os.mkfifo(workspace.path / "test_x.py")
    (workspace.path / "Makefile").symlink_to("/dev/zero")
    (workspace.path / "setup.cfg").symlink_to("setup.cfg")
    (workspace.path / "loop").symlink_to(".")
    (workspace.path / "closed").mkdir(mode=0)
    deep = workspace.path
    for _ in range(30):
        deep = deep / "d"
        deep.mkdir()
    (deep / "test_y.py").write_text(UNITTEST.format("True"))
    for i in range(3000):
        (workspace.path / f"w{i}").touch()
    workspace.step("test", timeout=20, check=3)


def test_concurrent_runs_do_not_disturb_each_other(workspace):
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(run(workspace, f"sleep 0.2; echo {n}; exit {n % 2}")))
               for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((status, output) for status, _, output, _ in results) == [(0, "0\n"), (0, "2\n"), (1, "1\n"), (1, "3\n")]
