"""Whether a test of this directory may be skipped."""
from cases import KNOWN_SKIPS


def refuse_skip(report):
    """Make a failure of a REPORT that says "skipped" and is not expected to."""
    if report.skipped and report.nodeid.rpartition("/")[2] not in KNOWN_SKIPS:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and is not in KNOWN_SKIPS of tests/attack/cases.py: {report.longrepr}"
    return report


def is_here(nodeid):
    """Whether a test is one of this directory: hooks are called for all of a session."""
    return "attack/" in nodeid or nodeid.startswith("test_attack_")
