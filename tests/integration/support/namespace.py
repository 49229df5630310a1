"""Running a test's function in namespaces like a sandbox's: users and processes of its own, and
codex-agent at its place. What the function forks is in there, with a parent outside, as the runner's
steps are. Needs root."""
import ctypes
import json
import os
import pathlib
import signal
import traceback

from support.codex import BUILD

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
BASE, COUNT = 1_500_000_000, 65536  # host ids that nobody else uses
AGENT = "/run/codex/codex-agent"
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(status, what):
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


def _mount(source, target, kind, flags=0):
    _check(LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None), f"mount {target}")


def _furnish(binary):
    """Root of the new namespaces; a /proc of them, the agent at its place, a /workspace."""
    _mount("none", "/", "none", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc")
    _mount("tmpfs", "/run", "tmpfs")
    pathlib.Path(AGENT).parent.mkdir()
    pathlib.Path(AGENT).write_bytes(binary)
    os.chmod(AGENT, 0o755)
    _mount("tmpfs", "/mnt", "tmpfs")
    os.mkdir("/mnt/workspace")
    os.chown("/mnt/workspace", 1000, 1000)


def _be_first_process(furnished, binary):
    """PID 1: what has lost its parent in there is its child; it is reaped by being ignored."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        _furnish(binary)
        os.write(furnished, b"x")
        while True:
            signal.pause()
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    os._exit(1)


def _enter(function, binary, report, ready, go):
    """The process outside, whose children are inside; what FUNCTION returns goes to REPORT."""
    _check(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS), "unshare")
    os.write(ready, b"x")
    os.read(go, 1)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    furnished = os.pipe()
    first = os.fork()
    if first == 0:
        _be_first_process(furnished[1], binary)
    os.close(furnished[1])
    try:
        assert os.read(furnished[0], 1) == b"x", "the namespaces could not be furnished"
        result = {"value": function()}
    except BaseException:  # pylint: disable=broad-except
        result = {"error": traceback.format_exc()}
    os.kill(first, signal.SIGKILL)
    os.write(report, json.dumps(result).encode())
    os._exit(0)


def in_namespaces(function):
    """Run FUNCTION so; returns what it returns (JSON)."""
    binary = (BUILD / "codex-agent").read_bytes()
    report, ready, go = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _enter(function, binary, report[1], ready[1], go[0])
        finally:
            os._exit(1)
    os.close(report[1])
    os.read(ready[0], 1)
    for name in ["uid_map", "gid_map"]:
        pathlib.Path(f"/proc/{pid}/{name}").write_text(f"0 {BASE} {COUNT}\n")
    os.write(go[1], b"x")
    text = b""
    while chunk := os.read(report[0], 65536):
        text += chunk
    os.waitpid(pid, 0)
    for fd in [report[0], *ready, *go]:
        os.close(fd)
    result = json.loads(text)
    assert "error" not in result, result["error"]
    return result["value"]
