"""Running one of our programs by itself, with descriptors of the test's choice."""
import contextlib
import json
import os
import signal
import tempfile
import time
import traceback

from support.codex import BUILD

NOBODY = 65534
TASK_USER = 1000
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
HIGH = 200  # above every number that a program is given


def memory_file(content):
    """A descriptor of a memory file with CONTENT (bytes), read-only as far as its readers go."""
    fd = os.memfd_create("test")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Result:
    """What a program did; FILES: the bytes that it wrote to each of its output descriptors."""

    def __init__(self, returncode, files):
        self.returncode = returncode
        self.files = files
        self.stdout = files.get(1, b"")
        self.stderr = files.get(2, b"").decode(errors="surrogateescape")

    def json(self, fd=3):
        return json.loads(self.files[fd])


def _become_program(path, arguments, fds, cwd, user, environment):
    """In the child: put the descriptors in place and execute."""
    try:
        for number, fd in fds.items():
            os.dup2(fd, HIGH + number)
        os.closerange(0, HIGH)
        for number in fds:
            os.dup2(HIGH + number, number)
        os.closerange(HIGH, HIGH + max(fds) + 1)
        os.setsid()
        os.umask(0o022)
        if cwd:
            os.chdir(cwd)
        if user is not None and os.getuid() != user:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        os.execve(path, [path, *arguments], environment)
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        os._exit(126)


def _wait(pid, timeout):
    """The exit code, or minus the signal's number. A process that takes too long is killed."""
    deadline = time.monotonic() + timeout
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"not done within {timeout} s")
        time.sleep(0.001)


def start_program(name, *arguments, fds, cwd=None, user=None, environment=None):
    """Start NAME from the build directory with exactly the descriptors FDS (number to descriptor);
    returns its pid."""
    path = str(BUILD / name)
    pid = os.fork()
    if pid == 0:
        _become_program(path, [str(a) for a in arguments], fds, cwd, user,
                        {**ENVIRONMENT, **(environment or {})})
    return pid


def run_program(name, *arguments, inputs=None, outputs=(), cwd=None, user=None, environment=None,
                timeout=120, check=None):
    """Run NAME to its end. INPUTS: number to bytes (a memory file) or to an open descriptor.
    OUTPUTS: numbers that get a file whose content comes back, beside 1 and 2 (unless in INPUTS). USER: its uid and gid.
    CHECK: the exit status that it must have."""
    with contextlib.ExitStack() as stack:
        fds = {}
        for number, content in {0: b"", **(inputs or {})}.items():
            if isinstance(content, bytes):
                content = memory_file(content)
                stack.callback(os.close, content)
            fds[number] = content
        files = {number: stack.enter_context(tempfile.TemporaryFile()) for number in {1, 2, *outputs} - fds.keys()}
        fds.update({number: file.fileno() for number, file in files.items()})
        pid = start_program(name, *arguments, fds=fds, cwd=cwd, user=user, environment=environment)
        returncode = _wait(pid, timeout)
        contents = {}
        for number, file in files.items():
            file.seek(0)
            contents[number] = file.read()
    result = Result(returncode, contents)
    assert check is None or returncode == check, (
        f"{name} {' '.join(map(str, arguments))} exited with {returncode}:\n"
        f"{result.stdout[-2000:].decode(errors='replace')}{result.stderr[-2000:]}")
    return result
