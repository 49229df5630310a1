"""Running a test's function as the first process of namespaces like a sandbox's: its own users and
processes, and codex-agent at its place. Needs root."""
import ctypes
import json
import os
import pathlib
import traceback

from support.codex import BUILD

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
BASE, COUNT = 1_500_000_000, 65536  # host ids that nobody else uses
AGENT = "/run/codex/codex-agent"
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(status, what):
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


def _mount(source, target, kind, flags=0):
    _check(LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None), f"mount {target}")


def _become_first_process(binary):
    """In the new namespaces: root of them, a /proc of its own, the agent at its place, a /workspace."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _mount("none", "/", "none", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc")
    _mount("tmpfs", "/run", "tmpfs")
    pathlib.Path(AGENT).parent.mkdir()
    pathlib.Path(AGENT).write_bytes(binary)
    os.chmod(AGENT, 0o755)
    _mount("tmpfs", "/mnt", "tmpfs")
    os.mkdir("/mnt/workspace")
    os.chown("/mnt/workspace", 1000, 1000)


def _run(function, binary, report):
    """The process that becomes PID 1; what FUNCTION returns goes to REPORT."""
    try:
        _become_first_process(binary)
        result = {"value": function()}
    except BaseException:  # pylint: disable=broad-except
        result = {"error": traceback.format_exc()}
    os.write(report, json.dumps(result).encode())
    os._exit(0)


def _enter(function, binary, report, ready, go):
    _check(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS), "unshare")
    os.write(ready, b"x")
    os.read(go, 1)
    pid = os.fork()
    if pid == 0:
        _run(function, binary, report)
    os.waitpid(pid, 0)
    os._exit(0)


def in_namespaces(function):
    """FUNCTION() as PID 1 there; returns what it returns (JSON)."""
    binary = (BUILD / "codex-agent").read_bytes()
    report, ready, go = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _enter(function, binary, report[1], ready[1], go[0])
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
