"""The other OCI runtime, in short. All of the suite with it: CODEX_TEST_RUNTIME=runc."""
import os
import re
import shutil

import pytest

from support.codex import ROOT, RUNTIME, codex_on
from support.repository import CALCULATOR, Repository
from support.sandbox import Sandbox
from test_main_job import GOOD_WORK
from test_sandbox_isolation import EXPECTED

OTHER = "crun" if RUNTIME == "runc" else "runc"


@pytest.fixture(name="sandbox")
def fixture_sandbox():
    assert shutil.which(OTHER), f"{OTHER} is not installed: make setup"
    with Sandbox(runtime=OTHER) as sandbox:
        yield sandbox


# One sandbox, for much of what the isolation tests ask of the usual runtime.
PROBE = """
gcc -w -o /tmp/try -x c - && /tmp/try
echo == status; cat /proc/self/status; id
echo == limits; cat /proc/self/limits
echo == descriptors; python3 -c 'import os; print([n for n in sorted(os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{n}")])'
echo == devices; ls /dev
echo == hidden; cat /proc/keys /proc/kcore /proc/timer_list 2>/dev/null | wc -c; ls -A /root /sys/kernel 2>&1
echo == mounts; cat /proc/self/mountinfo
"""


def test_its_sandbox_refuses_what_the_usual_one_does(sandbox):
    source = (ROOT / "tests" / "attack" / "try_syscalls.c").read_text()
    done = sandbox.run("bash", "-c", f"HOST_PID={os.getpid()}; export HOST_PID; {PROBE}", stdin=source)
    parts = dict(zip(["calls", *re.findall(r"^== (\w+)$", done.stdout, re.M)],
                     re.split(r"^== \w+\n", done.stdout, flags=re.M)))
    results = dict(line.split() for line in parts["calls"].splitlines())
    assert set(results) == set(EXPECTED)
    assert not {name: result for name, result in results.items() if result not in EXPECTED[name]}
    for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000",
                 "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in parts["status"]
    assert "uid=1000(codex) gid=1000(codex) groups=1000(codex)" in parts["status"]
    assert re.search(r"Max processes +992 +992", parts["limits"]) and re.search(r"core file size +0 +0", parts["limits"])
    assert parts["descriptors"] == "['0', '1', '2']\n"
    assert not {"mem", "kvm", "fuse", "net", "loop-control", "vda", "sda"} & set(parts["devices"].split())
    assert parts["hidden"].startswith("0\n") and "cannot open directory '/root'" in parts["hidden"]
    assert str(sandbox.home) not in parts["mounts"] and "images" not in parts["mounts"]


def test_a_runtime_that_knows_no_seccomp_is_refused(sandbox):
    unknown = sandbox.home / "youki"
    unknown.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo youki version 0.3.0 || touch \"$(dirname \"$0\")/used\"\n")
    unknown.chmod(0o755)
    done = sandbox.run("true", check=False, runtime=unknown)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "is neither crun nor runc" in done.stderr and not (sandbox.home / "used").exists()


def test_a_task_becomes_a_branch_with_it(tmp_path):
    repository = Repository(tmp_path / "calculator", CALCULATOR)
    with codex_on(GOOD_WORK, f"[sandbox]\nruntime = {OTHER}\n") as (codex, _):
        task = codex.wait(codex.task("Add subtract", cwd=repository.path))
        assert (task["state"], task["verdict"]) == ("completed", "passed"), task
        assert repository.git("rev-parse", "feat/subtract") == task["commit"]
