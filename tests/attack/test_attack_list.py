"""The list of cases is whole, and what it names is there."""
import re

from attempts import attempts_of
from cases import CASES, KNOWN_SKIPS, NOT_LIVE
from skips import is_here, refuse_skip
from support.codex import ROOT

PROGRAMS = ("kernel", "host", "files", "neighbours")


def is_test(place):
    file, _, name = place.partition("::")
    folder = "attack" if file.startswith("test_attack_") else "integration"
    path = ROOT / "tests" / folder / file
    return path.is_file() and re.search(rf"^def {re.escape(name)}\(", path.read_text(), re.MULTILINE)


def is_there(number, place):
    return is_test(place) if "::" in place else number in attempts_of(place).values()


def test_every_case_has_its_tests():
    assert set(CASES) == set(range(1, 60))
    for number, (name, places) in CASES.items():
        assert name and places
        assert [place for place in places if not is_there(number, place)] == [], number


def test_the_list_has_nothing_else():
    for program in PROGRAMS:
        for attempt, number in attempts_of(program).items():
            assert number == 0 or program in CASES[number][1], attempt
    everything = [attempt for program in PROGRAMS for attempt in attempts_of(program)]
    assert len(everything) == len(set(everything))
    assert set(NOT_LIVE) <= set(everything) and all(NOT_LIVE.values())
    assert all(is_test(name.partition("[")[0]) for name in KNOWN_SKIPS)


class Report:
    """As much of pytest's as is looked at."""

    def __init__(self, outcome):
        self.nodeid = "tests/attack/test_attack_x.py::test_y"
        self.outcome = outcome
        self.skipped = outcome == "skipped"
        self.longrepr = "no luck"


def test_a_skip_that_nobody_expects_is_a_failure(monkeypatch):
    assert refuse_skip(Report("skipped")).outcome == "failed"
    assert refuse_skip(Report("passed")).outcome == "passed"
    monkeypatch.setitem(KNOWN_SKIPS, "test_attack_x.py::test_y", "because")
    assert refuse_skip(Report("skipped")).outcome == "skipped"
    assert is_here("attack/test_attack_x.py::test_y") and not is_here("integration/test_x.py::test_y")
