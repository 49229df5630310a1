"""The attack tests: a test that is skipped has not attacked anything, so it fails unless KNOWN_SKIPS names it."""
import pytest

from skips import is_here, refuse_skip
from support.sandbox import Sandbox


@pytest.fixture(name="sandbox")
def make_sandbox():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    if is_here(item.nodeid):
        outcome.force_result(refuse_skip(outcome.get_result()))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    if is_here(collector.nodeid):
        outcome.force_result(refuse_skip(outcome.get_result()))
