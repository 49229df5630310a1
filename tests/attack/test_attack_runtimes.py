"""The same attempts in a sandbox that the other OCI runtime has made, which gets the policy in another form."""
import os
import re

import pytest

from attempts import bring, results
from support.sandbox import sandbox_of_the_other_runtime
from test_attack_alone import AS_ROOT, ATTEMPTS, EPERM, EXPECTED, PROGRAMS

# The programs here are no programs of ours: a sanitizer has nothing to look at.
pytestmark = pytest.mark.tools_of_others

NOTHING = ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "CapInh:\t0000000000000000",
           "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2")
LOOK = """
echo == status; cat /proc/self/status; id
echo == limits; cat /proc/self/limits
echo == descriptors; python3 -c 'import os; print([n for n in sorted(os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{n}")])'
echo == mounts; cat /proc/self/mountinfo
"""


@pytest.fixture(name="other")
def make_other():
    with sandbox_of_the_other_runtime() as sandbox:
        yield sandbox


def parts_of(text):
    """What LOOK printed, by its headings, and "" for what came before."""
    return dict(zip(["", *re.findall(r"^== (\w+)$", text, re.M)], re.split(r"^== \w+\n", text, flags=re.M)))


@pytest.mark.parametrize("options", [(), ("--root",)], ids=["user", "root"])
def test_inside_all_is_refused_by_the_other_runtime(other, options):
    bring(other, *PROGRAMS)
    tries = "; ".join(f"./attack-{program}" for program in PROGRAMS)
    parts = parts_of(other.shell(f"kill -9 1 2>/dev/null || true; export ATTACK_PID={os.getpid()}; {tries}; {LOOK}",
                                 options=options))
    found = results(parts[""])
    expected = {attempt: EXPECTED.get(attempt, {EPERM}) for attempt in ATTEMPTS} | (AS_ROOT if options else {})
    assert set(found) == set(expected)
    assert {attempt: result for attempt, result in found.items() if result not in expected[attempt]} == {}
    if not options:
        assert all(line in parts["status"] for line in NOTHING)
        assert "uid=1000(codex) gid=1000(codex) groups=1000(codex)" in parts["status"]
        assert re.search(r"Max processes +992 +992", parts["limits"])
    assert re.search(r"core file size +1 +1", parts["limits"])
    assert parts["descriptors"] == "['0', '1', '2']\n"
    assert str(other.home) not in parts["mounts"] and "images" not in parts["mounts"]
