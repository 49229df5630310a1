"""Running the real `codex-agent run` as the platform does: its descriptors, its task, its state.

As root it becomes uid 1000 for its commands, and at the end of a turn ends every process of that user
that it can see. In a sandbox these are the task's own. Here they would be other people's: so it runs in
a pid namespace of its own, whatever the machine.
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from support.codex import BUILD

AGENT = BUILD / "codex-agent"
COMMAND_UID = 1000     # what the agent's commands become when it runs as root
FAST_RETRIES = {"base_ms": 5, "max_ms": 20, "give_up_ms": 5000,
                "first_byte_timeout_ms": 5000, "idle_timeout_ms": 5000}

DONE, MODEL_FAILED, BUDGET, GAVE_UP, BAD_INPUT = 0, 10, 11, 12, 13
MODEL_BUSY, KEY_REFUSED, CONTEXT_FULL, STOPPED, INTERNAL = 14, 15, 16, 17, 18


@dataclasses.dataclass
class Result:
    """How one run of the agent ended."""
    status: int
    events: list
    errors: str    # standard error

    def items(self, kind=None):
        """The completed items, of one type if KIND is given."""
        found = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in found if kind in (None, item["type"])]

    def messages(self, kind):
        """The texts of `error` events, or of `turn.failed`."""
        return [event.get("message") or event.get("error", {}).get("message")
                for event in self.events if event["type"] == kind]


NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if os.geteuid() == 0 else []


class Agent:
    """An agent with a workspace and a state directory of its own. `task` may be changed between runs."""

    def __init__(self, base_url, prompt="do it", **task):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="codex-agent-test-"))
        self.home.chmod(0o755)
        self.workdir = self.home / "workspace" / "demo"
        (self.workdir / ".git").mkdir(parents=True)
        self.state = self.home / "state"
        self.journal = self.state / "journal.jsonl"
        if os.geteuid() == 0:
            for path in (self.workdir.parent, self.workdir, self.workdir / ".git"):
                os.chown(path, COMMAND_UID, COMMAND_UID)
        self.task = {"task": "task-abc123", "turn": 1, "attempt": 1, "run": 1, "prompt": prompt,
                     "repo": "demo", "workdir": str(self.workdir), "base": "main",
                     "base_commit": "0" * 40, "model": "o3", "effort": "high",
                     "base_url": base_url, "api_key": "sandbox-key", "retry": FAST_RETRIES, **task}
        self.process = None
        self._events = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self, feedback=None, events=None, task_text=None, namespace=None):
        """Start it. FEEDBACK: the result of a test, given on descriptor 6. EVENTS: a descriptor to use
        as 3 instead of a file; False: none. NAMESPACE: the command that starts it, instead of the usual."""
        self._events = tempfile.TemporaryFile()
        given = {0: _memory_file(task_text or json.dumps(self.task))}
        if events is not False:
            given[3] = os.dup(self._events.fileno() if events is None else events)
        if feedback is not None:
            given[6] = _memory_file(json.dumps(feedback))
        self.process = subprocess.Popen(
            ["bash", "-c", _redirections(given), "bash", *(NAMESPACE if namespace is None else namespace),
             AGENT, "run", "--state", self.state],
            pass_fds=list(given.values()), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for descriptor in given.values():
            os.close(descriptor)
        return self.process

    def wait_for_event(self, kind, timeout_s=60):
        """Wait until an event of type KIND is there. Reads at an offset: the agent writes at the shared one."""
        deadline = time.monotonic() + timeout_s
        while f'"type":"{kind}"'.encode() not in os.pread(self._events.fileno(), 1 << 20, 0):
            assert self.process.poll() is None and time.monotonic() < deadline, f"no event '{kind}'"
            time.sleep(0.005)

    def finish(self, timeout_s=60):
        """Wait for its end."""
        _, errors = self.process.communicate(timeout=timeout_s)
        self._events.seek(0)
        events = [json.loads(line) for line in self._events]
        self._events.close()
        return Result(self.process.returncode, events, errors.decode())

    def run(self, timeout_s=60, **how):
        """Start it and wait for its end."""
        self.start(**how)
        return self.finish(timeout_s)

    @property
    def pid(self):
        """Of the agent itself, seen from here; None when it has ended."""
        if not NAMESPACE:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while self.process.poll() is None:
            with contextlib.suppress(OSError):  # either may just have ended
                for pid in children.read_text().split():
                    if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(AGENT):
                        return int(pid)
            time.sleep(0.001)
        return None

    def stop(self, sig=signal.SIGTERM):
        """Send SIG; returns (result, seconds until it was gone)."""
        began = time.monotonic()
        pid = self.pid
        if pid:
            os.kill(pid, sig)
        result = self.finish(10)
        return result, time.monotonic() - began

    def records(self):
        """The whole lines of the journal."""
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


def _memory_file(text):
    descriptor = os.memfd_create("test")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _redirections(given):
    """Shell text that moves descriptors to their numbers, then becomes the program."""
    moves = [f"{to}<&{descriptor}" if to == 0 else f"{to}>&{descriptor}"
             for to, descriptor in given.items()]
    closes = [f"{descriptor}>&-" for descriptor in given.values()]
    return f'exec "$@" {" ".join(moves)} {" ".join(closes)}'
