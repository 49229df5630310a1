"""codex-agent test: what became of each test, compared with the baseline, and the command that is run once more."""
import json

import pytest

from support.steps import Workspace

LIST = 5  # the descriptor that the list of tests goes to


@pytest.fixture(name="workspace")
def make_workspace():
    with Workspace() as workspace:
        workspace.path.mkdir()
        workspace.own(workspace.path)
        yield workspace


def list_of(passed=(), failed=(), skipped=(), flaky=(), whole=True):
    """A list of tests as bytes."""
    lines = sorted((name, status) for status, names in [("passed", passed), ("failed", failed), ("skipped", skipped),
                                                        ("flaky", flaky)] for name in names)
    return "".join([f"codex-tests 1 {'whole' if whole else 'cut'}\n", *[f"{status} {name}\n" for name, status in lines],
                    f"end {len(lines)}\n"]).encode()


def run(workspace, command=None, before=None, **task):
    """Run the step; returns (exit status, result, list)."""
    done = workspace.step("test", inputs={4: before} if before is not None else None, outputs=(3, LIST),
                          task={"test_command": command, **task}, check=None, timeout=120)
    return done.returncode, done.json(), done.files[LIST]


def tap(*points):
    """A command that prints POINTS ("name" or "-name") as TAP and fails when one of them does."""
    lines = [f"1..{len(points)}", *[f"{'not ok' if name[0] == '-' else 'ok'} {n} - {name.lstrip('-')}"
                                    for n, name in enumerate(points, 1)]]
    text = "\\n".join(lines)
    return f"printf '{text}\\n'; exit {int(any(name[0] == '-' for name in points))}"


def test_a_baseline_is_listed(workspace):
    status, result, listed = run(workspace, tap("a", "-b", "c # SKIP no"))
    assert (status, result["passed"], result["failed"], result["skipped"]) == (1, 1, 1, 1)
    assert listed == list_of(["a"], ["b"], ["c"]) and result["compared"] is False and "counts" not in result


def test_results_that_cannot_be_read_are_no_list(workspace):
    status, result, listed = run(workspace, "echo 1..2; echo ok 1; exit 1")
    assert (status, listed) == (1, list_of(["test 1"], whole=False)) and result["passed"] == 1
    status, result, listed = run(workspace, "echo all is well")
    assert (status, result["passed"], listed) == (0, None, b"")


def test_no_tests_are_an_empty_list(workspace):
    status, result, listed = run(workspace)
    assert (status, result["passed"], listed) == (3, 0, list_of())
    status, result, _ = run(workspace, tap("-a"), before=listed)
    assert (status, result["newly_broken"], result["tests_added"]) == (6, ["a"], ["a"])


@pytest.mark.parametrize("points, before, status", [
    (["a", "b"], (["a", "b"], []), 0),
    (["a", "-b"], (["a"], ["b"]), 5),           # exactly as before
    (["a", "-b", "c"], (["a"], ["b", "c"]), 5),  # and one is fixed
    (["a", "-b"], (["a", "b"], []), 6),
    (["a", "-b"], (["a"], []), 6),              # a new test that fails
    (["-a", "-b"], (["a"], ["b"]), 6),
])
def test_failures_are_compared(workspace, points, before, status):
    assert run(workspace, tap(*points), before=list_of(*before))[0] == status


def test_every_change_is_named(workspace):
    before = list_of(["broken", "gone", "same", "skipped"], ["fixed", "still"])
    status, result, _ = run(workspace, tap("-broken", "same", "fixed", "-still", "new", "skipped # SKIP x"), before=before)
    assert status == 6 and result["compared"] is True
    assert {name: result[name] for name in result["counts"]} == {
        "newly_broken": ["broken"], "newly_fixed": ["fixed"], "still_broken": ["still"], "flaky": [],
        "tests_added": ["new"], "tests_removed": ["gone"], "newly_skipped": ["skipped"]}
    assert result["counts"] == {"newly_broken": 1, "newly_fixed": 1, "still_broken": 1, "flaky": 0, "tests_added": 1,
                                "tests_removed": 1, "newly_skipped": 1}


def test_a_failure_that_nobody_names_is_not_explained(workspace):
    """The command fails although no test does, or after a test that is known to."""
    assert run(workspace, tap("a", "b") + "; exit 3", before=list_of(["a", "b"]))[0] == 0  # the shell left before
    command = tap("a").replace("exit 0", "exit 3")
    assert run(workspace, command, before=list_of(["a"]))[0] == 1
    assert run(workspace, command, before=list_of([], ["a"]))[0] == 1


@pytest.mark.parametrize("before", [b"", b"garbage", list_of(["a"], whole=False), list_of(["b", "a"])[:-4], b"\0" * 100000,
                                    b"x" * (5 << 20)], ids=["none", "garbage", "cut", "short", "zeros", "large"])
def test_a_baseline_that_is_of_no_use_is_not_compared_with(workspace, before):
    status, result, _ = run(workspace, tap("-a"), before=before)
    assert (status, result["compared"], result["failed"]) == (1, False, 1)


def test_a_flaky_test_is_run_again(workspace):
    command = f"if [ -e once ]; then {tap('a', 'b')}; else touch once; {tap('a', '-b')}; fi"
    status, result, listed = run(workspace, command, before=list_of(["a", "b"]))
    assert (status, result["ran_twice"], result["flaky"], result["newly_broken"]) == (0, True, ["b"], [])
    assert listed == list_of(["a"], flaky=["b"]) and result["exit_code"] == 0 and result["passed"] == 2


def test_a_test_that_fails_twice_is_broken(workspace):
    command = "echo run >>runs; " + tap("a", "-b")
    status, result, _ = run(workspace, command, before=list_of(["a", "b"]))
    assert (status, result["newly_broken"], (workspace.path / "runs").read_text()) == (6, ["b"], "run\nrun\n")


def test_flaky_beside_one_that_failed_before(workspace):
    command = f"if [ -e once ]; then {tap('-a', 'b')}; else touch once; {tap('-a', '-b')}; fi"
    status, result, _ = run(workspace, command, before=list_of(["b"], ["a"]))
    assert (status, result["flaky"], result["still_broken"]) == (5, ["b"], ["a"])


def test_a_new_test_that_fails_is_not_run_again(workspace):
    status, result, _ = run(workspace, "echo run >>runs; " + tap("a", "-b"), before=list_of(["a"]))
    assert (status, result["ran_twice"], (workspace.path / "runs").read_text()) == (6, False, "run\n")


def test_a_second_run_that_does_not_end_is_forgotten(workspace):
    command = f"if [ -e once ]; then sleep 100; else touch once; {tap('a', '-b')}; fi"
    status, result, _ = run(workspace, command, before=list_of(["a", "b"]), test_timeout_ms=3000)
    assert (status, result["ran_twice"], result["newly_broken"], result["timed_out"]) == (6, False, ["b"], False)


def test_a_run_that_is_ended_removes_nothing(workspace):
    command = "printf '1..1\\nok 1 - a\\n'; exec sleep 100"
    status, result, listed = run(workspace, command, before=list_of(["a", "b"]), test_timeout_ms=2000)
    assert (status, result["tests_removed"], listed) == (4, [], list_of(["a"], whole=False))
    assert run(workspace, "printf '1..1\\nok 1 - a\\n'; kill -9 $$", before=list_of(["a", "b"]))[1]["tests_removed"] == []


def test_what_broke_is_quoted_from_long_output(workspace):
    """The end of the output is in the result anyway; what stands before it is looked for."""
    report = "printf '____ test_late ____\\nE   the reason\\n'; seq 1 20000; "
    status, result, _ = run(workspace, report + tap("a", "-t.py::test_late"), before=list_of(["a", "t.py::test_late"]))
    assert status == 6
    [excerpt] = result["excerpts"]
    assert excerpt["test"] == "t.py::test_late" and excerpt["output"].startswith("____ test_late ____\nE   the reason\n1\n2\n")
    assert "the reason" not in result["output_tail"]


def test_the_result_stays_small_whatever_the_tests_are_called(workspace):
    script = ("import sys\nn = 3000\nprint(f'1..{n}')\nfor i in range(n): print('not ok', i + 1, '-', i, '\\\\\"\\x01' * 120)\n"
              "sys.exit(1)\n")
    workspace.write({"t.py": script})
    done = workspace.step("test", inputs={4: list_of(["a"])}, outputs=(3, LIST), check=None, timeout=120,
                          task={"test_command": "python3 t.py"})
    result = json.loads(done.files[3])
    assert done.returncode == 6 and len(done.files[3]) <= 65536 and result["counts"]["newly_broken"] == 3000
    assert len(done.files[LIST]) < 4 << 20 and done.files[LIST].endswith(b"end 3000\n")


def test_pytest_is_asked_for_names(workspace):
    workspace.write({"test_x.py": "def test_a():\n    pass\n\n\ndef test_b():\n    assert 0\n"})
    for command in (None, "python3 -m pytest -q"):
        status, result, listed = run(workspace, command, before=list_of(["test_x.py::test_a"], ["test_x.py::test_b"]))
        assert (status, result["passed"], result["failed"]) == (5, 1, 1)
        assert listed == list_of(["test_x.py::test_a"], ["test_x.py::test_b"])


def test_unittest_is_asked_for_names(workspace):
    workspace.write({"test_x.py": "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"})
    status, _, listed = run(workspace)
    assert (status, listed) == (0, list_of(["test_x.T.test_a"]))


def test_junit_files_are_read_when_the_output_names_no_test(workspace):
    workspace.write({"old.xml": "<testsuite><testcase name='old'/></testsuite>"})
    command = ("mkdir -p target/surefire-reports; echo '<testsuite><testcase classname=\"C\" name=\"a\"/></testsuite>' "
               ">target/surefire-reports/TEST-C.xml; sleep 0.1")
    status, _, listed = run(workspace, "sleep 0.1; " + command)
    assert (status, listed) == (0, list_of(["C.a"]))


def test_links_out_of_the_workspace_are_not_followed(workspace):
    secret = workspace.home / "secret.xml"
    secret.write_text("<testsuite><testcase name='secret'/></testsuite>")
    status, result, listed = run(workspace, f"ln -s {secret} a.xml; mkfifo b.xml; ln -s {workspace.home} c")
    assert (status, result["passed"], listed) == (0, None, b"")
