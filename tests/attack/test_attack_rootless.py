"""The same attempts in sandboxes of an ordinary user, without root anywhere."""
import os
import shutil

import pytest

from attempts import program, results
from support.rootless import User, why_not
from test_attack_alone import AS_ROOT, ATTEMPTS, EACCES, EPERM, EXPECTED, PROGRAMS

# The programs here are no programs of ours: a sanitizer has nothing to look at.
pytestmark = [pytest.mark.tools_of_others,
              pytest.mark.skipif(why_not() is not None, reason=f"rootless: {why_not()}")]

# The image's files are not even its own.
AS_ROOTLESS_ROOT = {**AS_ROOT, "lease_of_the_image": {EACCES}}


def test_inside_all_is_refused_without_root():
    user = User()
    workdir = user.home / "project"
    workdir.mkdir()
    for name in PROGRAMS:
        shutil.copy2(program(name), workdir)
    user.own()
    script = (f"kill -9 1 2>/dev/null || true; export ATTACK_PID={os.getpid()}; " +
              "; ".join(f"./attack-{name}" for name in PROGRAMS))
    try:
        for options, more in ((), {}), (("--root",), AS_ROOTLESS_ROOT):
            found = results(user.sandbox("bash", "-c", script, options=("--workdir", workdir, *options)).stdout)
            expected = {attempt: EXPECTED.get(attempt, {EPERM}) for attempt in ATTEMPTS} | more
            assert set(found) == set(expected)
            assert {attempt: result for attempt, result in found.items() if result not in expected[attempt]} == {}
    finally:
        user.close()
