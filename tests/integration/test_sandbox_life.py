"""Statuses, signals, terminals, and every way to fail half-way."""
import contextlib
import fcntl
import os
import pathlib
import pty
import signal
import struct
import subprocess
import tempfile
import termios
import time

import pytest

from support.codex import BUILD, IMAGES, RUNTIME, wait_for
from support.sandbox import Sandbox
from support.spawner import Spawner


@pytest.fixture(name="sandbox")
def fixture_sandbox():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("command, status", [
    (("true",), 0), (("bash", "-c", "exit 7"), 7), (("bash", "-c", "kill -TERM $$"), 143),
    (("bash", "-c", "kill -SEGV $$"), 139), (("bash", "-c", "exit 125"), 125),
])
def test_exit_statuses_pass_through(sandbox, command, status):
    assert sandbox.run(*command, check=False).returncode == status


def test_standard_input_and_both_outputs_pass_through(sandbox):
    done = sandbox.run("bash", "-c", "tr a-z A-Z; echo error >&2; echo again >/dev/stderr", stdin="hello")
    assert (done.stdout, done.stderr) == ("HELLO", "error\nagain\n")


def test_arguments_are_not_read_by_a_shell(sandbox):
    odd = ["$(touch x)", "a b", "", "-n", "\"", "'", "\\", "é\n", ";ls"]
    out = sandbox.run("python3", "-c", "import sys; print(sys.argv[1:])", *odd).stdout
    assert out == f"{odd}\n"


def test_files_given_as_standard_streams_keep_their_owner(sandbox):
    output = sandbox.home / "output"
    with open(output, "wb") as file, open("/dev/null", "rb") as null:
        subprocess.run(sandbox.argv("echo", "x"), stdin=null, stdout=file, stderr=file, check=True, timeout=60)
    assert output.read_text() == "x\n"
    assert output.stat().st_uid == os.getuid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded(sandbox, number):
    script = f"trap 'echo got; exit 9' {number.name}; echo ready; while :; do sleep 0.05; done"
    with sandbox.start("bash", "-c", script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "got\n"
    assert process.returncode == 9


def test_a_signal_that_ends_the_command_is_its_status(sandbox):
    with sandbox.start("bash", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
    assert process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_stopped_itself_can_be_ended(sandbox, number):
    with sandbox.start("bash", "-c", "echo ready; kill -STOP $$", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        wait_for(lambda: any("\nState:\tT" in (pathlib.Path("/proc") / pid / "status").read_text()
                             for group in sandbox.cgroups()
                             for pid in (pathlib.Path(group) / "cgroup.procs").read_text().split()), 10, "it stops")
        process.send_signal(number)
        try:
            assert process.wait(timeout=30) == 128 + number
        finally:
            process.kill()


def sandbox_is_gone(sandbox):
    """Whether no process is left in the sandboxes of this state directory."""
    def processes(group):
        with contextlib.suppress(OSError):  # it has just been removed
            return (pathlib.Path(group) / "cgroup.procs").read_text()
        return ""
    return not any(processes(group) for group in sandbox.cgroups())


def test_a_killed_runner_takes_its_sandbox_along_and_a_spawner_its_files():
    with Spawner(started=False) as sandbox:  # else its first cleaning may come after the kill
        killed_runner(sandbox)
        sandbox.start_spawner()
        wait_for(lambda: sandbox.cgroups() == [] and sandbox.files() == [], 30, "the spawner has cleaned up")


def killed_runner(sandbox):
    with sandbox.start("bash", "-c", "setsid sleep 1000 & echo ready; sleep 1000", stdout=subprocess.PIPE,
                       text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait()
        assert process.stdout.read() == ""  # whoever had it open is dead
    wait_for(lambda: sandbox_is_gone(sandbox), 10, "the sandbox ends with its runner")
    assert sandbox.files()  # what only its spawner can remove (cgroups: any may)


@pytest.mark.parametrize("argv, message", [
    (["--memory", "1K"], "bad value '1K' for --memory"), (["--cpus", "none"], "bad value 'none' for --cpus"),
    (["--pids", "0"], "bad value '0' for --pids"), (["--timeout", "x"], "bad value 'x' for --timeout"),
    (["--nonsense"], "usage:"),
])
def test_bad_usage_is_one_line_and_status_2(sandbox, argv, message):
    done = sandbox.run("true", check=False, options=argv)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_program_that_is_not_there(sandbox):
    done = sandbox.run("no-such-program", check=False)
    assert done.returncode == 127
    assert done.stderr.count("\n") == 1 and "no-such-program: not found" in done.stderr
    assert sandbox.run("/etc/passwd", check=False).returncode == 126


@pytest.mark.parametrize("workdir", ["/", "/nonexistent", "/etc/passwd"])
def test_a_workspace_that_cannot_be_one(sandbox, workdir):
    done = sandbox.run("true", check=False, options=("--workdir", workdir))
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1


def failing_runtime(sandbox, body):
    """A runtime that does BODY for each command ($command) before or instead of the real one ("$@")."""
    path = sandbox.home / "runtime"
    path.write_text(f"""#!/bin/bash
for command; do case $command in create|start|exec) break;; esac; done
{body}
""")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("at", ["create", "start", "exec"])
@pytest.mark.parametrize("how", ["instead", "after", "killed"])
def test_a_runtime_that_fails_half_way_leaves_nothing(sandbox, at, how):
    body = {
        "instead": f'[ $command = {at} ] && {{ echo "no luck today" >&2; exit 1; }}; exec {RUNTIME} "$@"',
        "after": f'{RUNTIME} "$@"; status=$?; [ $command = {at} ] && exit 1; exit $status',
        "killed": f'[ $command = {at} ] && {{ {RUNTIME} "$@" <&0 & sleep 0.004; kill -9 $! $$; }}; exec {RUNTIME} "$@"',
    }[how]
    done = sandbox.run("true", check=False, runtime=failing_runtime(sandbox, body))
    assert done.returncode == 125
    assert done.stderr.splitlines()[-1].startswith("codex: cannot")


def test_no_runtime_is_said(sandbox):
    done = sandbox.run("true", check=False, runtime="/nonexistent/crun")
    assert done.returncode == 125
    assert "cannot run '/nonexistent/crun'" in done.stderr


def test_no_agent_is_said(sandbox):
    done = sandbox.run("true", check=False, options=("--agent", "/nonexistent/codex-agent"))
    assert done.returncode == 125
    assert "cannot use '/nonexistent/codex-agent'" in done.stderr


def test_an_unsafe_image_directory_is_refused(sandbox):
    images = sandbox.home / "images"
    images.mkdir(mode=0o755)
    done = sandbox.run("true", check=False, options=("--images", images))
    assert done.returncode == 125
    assert "must belong to root with mode 0700" in done.stderr


def test_twenty_at_once(sandbox):
    processes = [sandbox.start("bash", "-c", f"sleep 0.3; exit {i}") for i in range(20)]
    assert [process.wait(timeout=120) for process in processes] == list(range(20))


class Terminal:
    """A pty of the host with a command on it."""

    def __init__(self, argv, rows=30, columns=100):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = ""

    def expect(self, text, seconds=30):
        os.set_blocking(self.master, False)
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} not in {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.01)
        before, _, self.seen = self.seen.partition(text)
        return before

    def send(self, text):
        os.write(self.master, text.encode())

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self):
        self.process.wait(timeout=60)
        after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        assert after == self.before
        return self.process.returncode


def test_a_terminal_gets_a_pty_inside(sandbox):
    terminal = Terminal(sandbox.argv("bash", "--norc", "-i"))
    terminal.send("tty; stty size; echo e$((1+1))nd\n")
    out = terminal.expect("e2nd")
    assert "/dev/pts/0" in out and "30 100" in out
    terminal.resize(40, 120)
    terminal.send("sleep 0.2; stty size; echo e$((1+2))nd\n")
    assert "40 120" in terminal.expect("e3nd")
    terminal.send("sleep 1000\n")
    time.sleep(0.3)
    terminal.send("\x03")  # Ctrl-C ends the sleep, not the shell
    terminal.send("echo $?-e$((1+3))nd\n")
    terminal.expect("130-e4nd")
    terminal.send("exit 5\n")
    assert terminal.close() == 5


def test_no_terminal_of_the_host_goes_inside_when_only_one_stream_is_one(sandbox):
    master, slave = pty.openpty()
    process = subprocess.Popen(sandbox.argv("bash", "-c", "[ -t 0 ] && echo tty; cat; stat -Lc %F /dev/fd/0"),
                               stdin=slave, stdout=subprocess.PIPE, text=True)
    os.write(master, b"typed\n\x04")
    out, _ = process.communicate(timeout=60)
    os.close(slave)
    os.close(master)
    assert out == "typed\nfifo\n"
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_the_image_is_made_once_by_one_of_many():
    images = pathlib.Path(tempfile.mkdtemp(prefix="images-", dir=IMAGES.parent))     # where links can be made
    (images / ".making").mkdir()  # what a maker that died has left
    (images / "host-0123456789abcdef" / "root").mkdir(parents=True)  # of an older state of the host
    processes = [subprocess.Popen([BUILD / "codex-runner", "--image", images], stdout=subprocess.PIPE, text=True)
                 for _ in range(3)]
    paths = {process.communicate(timeout=300)[0].strip() for process in processes}
    assert len(paths) == 1
    path = pathlib.Path(paths.pop())
    assert (path / "usr/bin/env").stat().st_ino == os.stat("/usr/bin/env").st_ino  # a link, when on one file system
    assert sorted(entry.name for entry in images.iterdir()) == [".lock", path.parent.name]
    for entry in ("usr/local/bin", "etc/ssl/certs", "var/lib/dpkg/info", "home/codex", "workspace"):
        assert (path / entry).is_dir()
    found = subprocess.run(["find", path, "-perm", "/6000", "-not", "-type", "d"], capture_output=True, check=True)
    assert found.stdout == b""
    found = subprocess.run(["find", path / "usr", "-type", "f", "-not", "-perm", "-004"], capture_output=True,
                           check=True)
    assert found.stdout == b""
    subprocess.run(["rm", "-r", images], check=True)


def test_nothing_is_made_in_the_hosts_tmp(sandbox):
    """Not even for a moment: what is made there, a killed crun would leave."""
    tmp = sandbox.home / "tmp"
    inside = tmp / sandbox.home.name
    inside.mkdir(parents=True)
    before = tmp.stat().st_mtime_ns
    mount = (f"mount --bind {sandbox.home} {inside} && mount --rbind {tmp} /tmp && exec \"$@\"")
    done = subprocess.run(["unshare", "--mount", "sh", "-c", mount, "-", *sandbox.argv("echo", "done")],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "done\n", done.stderr
    assert tmp.stat().st_mtime_ns == before
