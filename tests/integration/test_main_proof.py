"""Whole tasks whose tests are compared one by one: rounds, verdicts, drafts and what is said about it."""
import pytest

from support.codex import codex_on
from support.model_server import call, message
from support.repository import Repository

TESTS = """import os
import unittest

from calc import add


class TestCalc(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(1, 2), 3)

    def test_zero(self):
        self.assertEqual(add(0, 0), 0)

    def test_flaky(self):
        if os.path.exists("flaky") and not os.path.exists("/tmp/once"):
            open("/tmp/once", "w").close()
            self.fail("now and then")

    def test_known(self):
        self.fail("a bug that everybody knows")
"""
FILES = {"calc.py": "def add(a, b):\n    return a + b\n", "tests/__init__.py": "", "tests/test_calc.py": TESTS}
KNOWN, ADD, ZERO, FLAKY = (f"tests.test_calc.TestCalc.test_{name}" for name in ("known", "add", "zero", "flaky"))
BREAK = "sed -i 's/a + b/a - b/' calc.py"
MEND = "sed -i 's/a - b/b + a/' calc.py"
DELETE = "sed -i '/def test_zero/,+2d' tests/test_calc.py && echo '# changed' >>calc.py"
SKIP = "sed -i 's/    def test_zero/    @unittest.skip(\"later\")\\n    def test_zero/' tests/test_calc.py"
FIX_KNOWN = "sed -i 's/self.fail(\"a bug.*/pass/' tests/test_calc.py"


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "calculator", FILES)


def shell(*commands):
    """A script of one round for each command."""
    return [turn for command in commands for turn in ([call("exec_command", {"cmd": command})], [message("Done.")])]


def work(codex, repository, *options, prompt="Work on it"):
    """One task to its end."""
    codex.run("task", prompt, *options, "--follow", cwd=repository.path, check=False)
    task = codex.tasks()[0]
    assert task["state"] == "completed", task
    return task


def statuses(codex, task, phase):
    return [event["status"] for event in codex.events(task["id"])
            if event["type"] == "phase.completed" and event["phase"] == phase]


def test_a_newly_broken_test_costs_a_round_and_is_mended(repository):
    """Also where the baseline has failed."""
    with codex_on({"Work on it": shell(BREAK, MEND), "Mend it": shell(FIX_KNOWN)}) as (codex, model):
        task = work(codex, repository)
        assert (task["verdict"], task["pull_request"]["draft"], task["round"]) == ("passed", False, 2)
        assert statuses(codex, task, "verifying") == [6, 5]
        evidence = task["evidence"]
        assert (evidence["compared"], evidence["still_broken"], evidence["newly_broken"]) == (True, [KNOWN], [])
        counts = {name: evidence["verification"][name] for name in ("passed", "failed", "skipped")}
        assert counts == {"passed": 3, "failed": 1, "skipped": 0} == {name: evidence["baseline"][name] for name in counts}

        feedback = model.requests[2].user_texts[-1]
        assert f"Newly broken, compared with the tests before your work:\n- {ADD}\n" in feedback and "-1 != 3" in feedback
        assert f"- {KNOWN}" not in feedback

        first, last = [event["result"] for event in codex.events(task["id"])
                       if event["type"] == "phase.completed" and event["phase"] == "verifying"]
        assert (first["newly_broken"], first["counts"]["newly_broken"], last["newly_broken"]) == ([ADD], 1, [])
        shown = codex.run("status", task["id"]).stdout
        assert "exit 1, 3 passed, 1 failed" in shown and f"still broken  {KNOWN}\n" in shown
        assert f"newly broken: {ADD}" in codex.run("logs", task["id"]).stdout
        body = task["pull_request"]["body"]
        assert f"| still broken | 1 | `{KNOWN}` |" in body and "only tests fail that failed before" in body

        # The next task at this commit knows the baseline, with its tests.
        again = work(codex, repository, prompt="Mend it")
        assert (again["verdict"], again["evidence"]["newly_fixed"], again["evidence"]["baseline"]["failed"]) == (
            "passed", [KNOWN], 1)
        cached, = [event for event in codex.events(again["id"])
                   if event["type"] == "phase.completed" and event["phase"] == "baseline"]
        assert cached["cached"] is True and (cached["result"]["passed"], cached["result"]["failed"]) == (3, 1)


def test_what_stays_broken_fails_when_the_rounds_are_used_up(repository):
    with codex_on(shell(BREAK, "true", "true", "true")) as (codex, _):
        task = work(codex, repository)
        assert (task["verdict"], task["pull_request"]["draft"]) == ("failed", True)
        assert statuses(codex, task, "verifying") == [6, 6, 6, 6] and task["evidence"]["newly_broken"] == [ADD]


@pytest.mark.parametrize("change, kind", [(DELETE, "tests_removed"), (SKIP, "newly_skipped")])
def test_fewer_tests_make_a_draft(repository, change, kind):
    with codex_on(shell(change)) as (codex, _):
        task = work(codex, repository)
        assert (task["verdict"], task["pull_request"]["draft"], task["evidence"][kind]) == ("passed", True, [ZERO])
        assert "A draft, because tests that ran before are gone or skipped now" in task["pull_request"]["body"]


def test_a_flaky_test_is_named_and_costs_no_round(repository):
    with codex_on(shell("touch flaky")) as (codex, _):
        task = work(codex, repository)
        assert (task["verdict"], task["pull_request"]["draft"], task["round"]) == ("passed", False, 1)
        assert (task["evidence"]["flaky"], task["evidence"]["newly_broken"]) == ([FLAKY], [])
        assert "the command is run once more" in codex.run("logs", task["id"]).stdout


def test_results_that_cannot_be_read_prove_nothing(repository):
    with codex_on(shell("echo '# more' >>calc.py")) as (codex, _):
        task = work(codex, repository, "--test", "echo something is wrong; exit 1")
        assert (task["verdict"], task["pull_request"]["draft"]) == ("unproven", True)
        evidence = task["evidence"]
        assert evidence["compared"] is False and evidence["verification"]["failed"] is None
        assert evidence["counts"]["newly_broken"] is None and evidence["newly_broken"] == []
        assert "single tests could not be compared" in task["pull_request"]["body"]
