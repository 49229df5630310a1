"""What one process tries by itself: system calls, devices, the kernel's files, the platform's process and program."""
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from attempts import attempts_of, bring, outside, results
from cases import NOT_LIVE

# The programs here are no programs of ours: a sanitizer has nothing to look at.
pytestmark = pytest.mark.tools_of_others

PROGRAMS = ("kernel", "host", "files")
EPERM, EACCES, ENOENT, ENODATA = (f"refused {name}" for name in ("EPERM", "EACCES", "ENOENT", "ENODATA"))

# Everything else is refused with EPERM.
EXPECTED = {
    # What works in a sandbox as it does elsewhere.
    **dict.fromkeys(("clone_plain", "netlink_route", "unix", "mknod_fifo"), {"allowed"}),
    # Programs then do without.
    **dict.fromkeys(("clone3_user", "newer_call", "aio"), {"refused ENOSYS"}),
    **dict.fromkeys(("netlink_audit", "netlink_diag"), {"refused EPROTONOSUPPORT"}),
    **dict.fromkeys(("int80", "x32"), {"killed SYS"}),
    "nice": {EPERM, EACCES}, "lock_memory": {"refused ENOMEM", EPERM}, "oom_score": {EACCES, EPERM},
    # It is said to be done, and is not.
    **dict.fromkeys(("core_limit", "core_limit_by_prlimit", "core_limit_high_bits"), {ENODATA}),
    **dict.fromkeys(("dev_mem", "dev_kmsg", "dev_kvm", "dev_fuse", "dev_tun", "dev_loop_control"), {ENOENT}),
    **dict.fromkeys(("core_pattern", "modprobe", "file_max", "sysrq", "uevent_helper", "sys_write"),
                    {EACCES, ENOENT, "refused EROFS"}),
    **dict.fromkeys(("release_agent", "cgroup_limit", "cgroup_procs"), {ENOENT}),
    **dict.fromkeys(("kcore", "timer_list", "kallsyms", "key_users", "interrupts"), {EACCES, ENODATA, ENOENT}),
    "kill_host": {"refused ESRCH"},
    **dict.fromkeys(("proc_mem", "proc_environ", "proc_maps", "proc_root", "proc_cwd", "proc_descriptor", "proc_exe",
                     "proc_exe_write", "proc_ns"), {ENOENT}),
    "agent_write": {EACCES, "refused EROFS"}, "agent_chmod": {"refused EROFS"}, "agent_replace": {"refused EROFS"},
    "rename_whiteout": {"refused EINVAL"}, "lease_of_the_image": {EACCES},
}
# The container's root may what its user may, can send signals to process 1, which ignores them, and owns the image's
# files as far as it can see: what it does to them it does to copies.
AS_ROOT = {
    **dict.fromkeys(("kill_platform", "limit_platform", "file_capability", "give_away", "become_root",
                     "lease_of_the_image"), {"allowed"}),
    **dict.fromkeys(("proc_mem", "proc_environ", "proc_maps", "proc_root", "proc_cwd", "proc_exe", "proc_exe_write",
                     "proc_ns"), {EACCES}),
}
ATTEMPTS = {attempt for program in PROGRAMS for attempt in attempts_of(program)}
CONTROLS = {attempt for attempt in ATTEMPTS if EXPECTED.get(attempt) == {"allowed"}}


@pytest.fixture(name="stranger")
def make_stranger():
    """A process of the host's."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("options", [(), ("--root",)], ids=["user", "root"])
def test_inside_all_is_refused(sandbox, stranger, options):
    bring(sandbox, *PROGRAMS)
    # Process 1 is refused, or ignores it: the rest runs.
    script = (f"kill -9 1 2>/dev/null || true; export ATTACK_PID={stranger.pid}; " +
              "; ".join(f"./attack-{program}" for program in PROGRAMS))
    found = results(sandbox.shell(script, options=options))
    expected = {attempt: EXPECTED.get(attempt, {EPERM}) for attempt in ATTEMPTS} | (AS_ROOT if options else {})
    assert set(found) == set(expected)
    assert {attempt: result for attempt, result in found.items() if result not in expected[attempt]} == {}


def test_outside_the_same_attempts_are_live(stranger):
    with tempfile.TemporaryDirectory(prefix="codex-test-") as directory:
        place = pathlib.Path(directory)
        shutil.copy2("/bin/true", place / "agent")
        environment = {"ATTACK_PID": str(stranger.pid), "ATTACK_PROCESS": str(stranger.pid),
                       "ATTACK_AGENT": str(place / "agent")}
        found = {}
        for program in PROGRAMS:
            found |= outside(program, cwd=place, environment=environment)
    assert set(found) == ATTEMPTS
    dead = {attempt: result for attempt, result in found.items()
            if attempt not in CONTROLS and result in EXPECTED.get(attempt, {EPERM})}
    assert set(dead) <= set(NOT_LIVE), dead
    assert all(found[attempt] == "allowed" for attempt in CONTROLS)
