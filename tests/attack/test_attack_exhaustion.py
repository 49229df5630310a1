"""One sandbox takes all that it can get; the one beside it goes on."""
import contextlib
import signal
import subprocess

import pytest

from attempts import bring, outside_output
from support.sandbox import SECONDS, Sandbox

# The programs here are no programs of ours: a sanitizer has nothing to look at.
pytestmark = pytest.mark.tools_of_others

LIMIT_MIB = 128


class Neighbour:
    """A sandbox that uses one of everything when it is asked to."""

    def __init__(self, process):
        self.process = process

    def uses_everything(self):
        self.process.stdin.write("a")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@contextlib.contextmanager
def a_neighbour(sandbox):
    with sandbox.start("./attack-hog", "serve", options=("--memory", "256M"), stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, text=True) as process:
        neighbour = Neighbour(process)
        assert neighbour.uses_everything() == "ok\n"
        yield neighbour
        assert neighbour.uses_everything() == "ok\n"
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0


def test_all_that_can_be_held_beside_a_neighbour(sandbox):
    bring(sandbox, "hog")
    with a_neighbour(sandbox) as neighbour, \
            sandbox.start("./attack-hog", "hold", options=("--memory", f"{LIMIT_MIB}M"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as hog:
        ends = {}
        for line in iter(hog.stdout.readline, "full\n"):
            name, error, count = line.split()
            ends[name] = (error, int(count))
        assert neighbour.uses_everything() == "ok\n"
        hog.communicate(timeout=SECONDS)
        assert hog.returncode == 0
    # Of tmpfs the shares that docs/sandbox.md tells; of the rest, less than the machine has for all.
    assert ends["temporary_space"] == ("ENOSPC", LIMIT_MIB // 2) and ends["shared_memory"] == ("ENOSPC", LIMIT_MIB // 4)
    assert ends["terminals"] == ("ENOSPC", 128) and ends["aio"] == ("ENOSYS", 0)
    assert {ends[name][0] for name in ("descriptors", "inotify", "queues")} == {"EMFILE"}
    assert ends["signals"][0] == ends["timers"][0] == "EAGAIN" and ends["locked_memory"][0] in ("ENOMEM", "EPERM")


def test_memory_that_is_no_processs_counts_too(sandbox):
    """Of cgroup v1, what waits in sockets counts only when told to."""
    bring(sandbox, "hog")
    inside = sandbox.run("./attack-hog", "sockets", options=("--memory", "16M")).stdout.split()
    outside = outside_output("hog", "sockets").split()
    assert inside[0] == outside[0] == "sockets"
    assert int(inside[1]) <= 2 * 16 < 3 * 16 < int(outside[1])  # a little over the limit is allowed to each socket


def test_a_fork_bomb_beside_a_neighbour(sandbox):
    bring(sandbox, "hog")
    with a_neighbour(sandbox) as neighbour:
        with sandbox.start("./attack-hog", "forks", options=("--memory", "64M", "--pids", "64", "--cpus", "0.5"),
                           stdout=subprocess.PIPE, text=True) as bomb:
            assert bomb.stdout.readline() == "forks EAGAIN\n"
            for _ in range(5):
                assert neighbour.uses_everything() == "ok\n"
            bomb.send_signal(signal.SIGTERM)
            bomb.communicate(timeout=SECONDS)
            assert bomb.returncode == 143


def test_files_without_end(sandbox):
    """They are memory that the sandbox is charged for: an error, or its end, and never the machine's."""
    bring(sandbox, "hog")
    with Sandbox() as other:
        bring(other, "hog")
        with a_neighbour(other) as neighbour:
            done = sandbox.run("./attack-hog", "inodes", options=("--memory", "32M"), check=False)
            assert neighbour.uses_everything() == "ok\n"
    if done.returncode == 0:
        assert done.stdout.startswith("inodes ENOSPC ")
    else:
        assert done.returncode == 137 and "ran out of memory" in done.stderr
