"""What all test files have in common: two marks, the order of tests, and a fixture.

    @pytest.mark.slow               takes ten seconds or more: not among the last ones, which all others wait for
    @pytest.mark.tools_of_others    its time goes into npm, pip and programs that attack, which no sanitizer of ours
                                    looks into: left out in the sanitizer build
"""
import os
import pathlib
import shutil
import tempfile

import pytest

from support.codex import IS_SANITIZED
from support.program import NOBODY


@pytest.fixture(name="scratch")
def make_scratch():
    """A directory that the user nobody can enter and write to."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes ten seconds or more")
    config.addinivalue_line("markers", "tools_of_others: its time goes into what no sanitizer of ours looks into")


def pytest_collection_modifyitems(config, items):
    if IS_SANITIZED:
        left_out = [item for item in items if item.get_closest_marker("tools_of_others")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    # Workers take the first half in runs of neighbours, and the rest a few at a time: one to each run.
    step = max(1, len(others) // 2 // (len(slow) or 1))
    for number, item in enumerate(slow):
        others.insert(number * (step + 1), item)
    items[:] = others
