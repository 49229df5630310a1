"""What a sandbox must not find of the host, and of another sandbox beside it."""
import contextlib
import fcntl
import os
import subprocess

import pytest

from attempts import bring, outside, program, results
from support.codex import IMAGES
from support.sandbox import SECONDS

# The programs here are no programs of ours: a sanitizer has nothing to look at.
pytestmark = pytest.mark.tools_of_others

FILE = "usr/share/common-licenses/GPL-3"  # of the image, shared by all sandboxes
NOT_THERE = {"kill": "refused ESRCH", "abstract_socket": "refused ECONNREFUSED", "file": "refused ENOENT",
             "see_process": "refused ESRCH", "posix_shm": "refused ENOENT", "posix_queue": "refused ENOENT",
             "system_v_shm": "refused ENOENT", "system_v_queue": "refused ENOENT",
             "loopback_service": "refused ECONNREFUSED"}


def port_of(planter):
    word, port = planter.stdout.readline().split()
    assert word == "planted"
    return port


@contextlib.contextmanager
def planted_on_host(tag):
    """Yields its pid and port. The program takes away what it made when its input ends."""
    with subprocess.Popen([program("neighbours"), "plant", tag], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as planter:
        try:
            yield str(planter.pid), port_of(planter)
        finally:
            planter.stdin.close()
            assert planter.wait(timeout=30) == 0


def test_nothing_of_the_host_and_of_another_sandbox(sandbox):
    """What is there shows it by being found from where it was put, with the same program."""
    mine, others = (f"attack-{os.getpid()}-{name}" for name in ("host", "other"))
    bring(sandbox, "neighbours")
    # One background process plants, and its pipe says when; the other looks, and all ends with standard input.
    script = (f"coproc ./attack-neighbours plant {others}; read -r word port <&${{COPROC[0]}}; echo $word $port; "
              f"./attack-neighbours try {others} $port $COPROC_PID; echo looked; read -r x")
    with planted_on_host(mine) as (pid, port), \
            sandbox.start("bash", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        found = subprocess.run([program("neighbours"), "try", mine, port, pid], check=True, capture_output=True, text=True)
        assert set(results(found.stdout).values()) == {"allowed"}
        other_port = port_of(other)
        lines = list(iter(other.stdout.readline, "looked\n"))
        assert set(results("".join(lines)).values()) == {"allowed"} and len(lines) == len(NOT_THERE)
        for tag, number in ((mine, port), (others, other_port)):
            inside = sandbox.run("./attack-neighbours", "try", tag, number, pid).stdout
            assert results(inside) == NOT_THERE
        # Nor does the host find in its own places what the other sandbox has.
        here = outside("neighbours", "try", others, other_port, "0", cwd="/", environment={})
        assert {name for name, result in here.items() if result == "allowed"} <= {"kill", "see_process"}
        other.communicate("\n", timeout=SECONDS)
        assert other.returncode == 0


LOCK = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)  # somebody wants what is leased
def is_held(attempt):
    try: return attempt() and False
    except BlockingIOError: return True
file, again = (os.open("/%s", os.O_RDWR) for _ in range(2))
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
leased = os.open("/etc/services", os.O_RDONLY)
fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("locked", is_held(lambda: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)),
      is_held(lambda: os.open("/etc/services", os.O_RDWR | os.O_NONBLOCK)), flush=True)
sys.stdin.readline()
""" % FILE


def image_file(name):
    return max(IMAGES.glob("host-*/root"), key=lambda path: path.stat().st_mtime) / name


def test_locks_on_the_image_hold_up_nobody_else(sandbox):
    """Not another sandbox, and not who opens a file to write on the host, and would wait for a lease."""
    with sandbox.start("python3", "-c", LOCK, options=("--root",), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                       text=True) as holder:
        assert holder.stdout.readline() == "locked True True\n"
        assert sandbox.run("python3", "-c", LOCK, options=("--root",), stdin="\n").stdout == "locked True True\n"
        with open(image_file(FILE), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(os.open(image_file("etc/services"), os.O_WRONLY | os.O_NONBLOCK))
        holder.communicate("\n", timeout=SECONDS)
        assert holder.returncode == 0
