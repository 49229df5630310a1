"""A spawner, spoken to as codexd does: messages of src/task/spawn.h over a socket pair."""
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess

from support.codex import BUILD, IMAGES, ROOT, RUNTIME, wait_for
from support.sandbox import Sandbox

MAGIC = 0x43445831
RUN, CANCEL, GIT, GIT_END, CHECK, GATEWAY, FORGET = range(1, 8)
RUN_STARTED, RUN_ENDED, GIT_ENDED, FAILED = 100, 101, 102, 103
BASELINE_KNOWN, WITH_REPLAY, SALVAGE = 1, 2, 4
ISOLATED, AS_SUBMITTER, REMOTE = range(3)
MIRROR_FD = 15
PREPARING, BASELINE, WORKING, VERIFYING, FINISHING = range(5)
DONE, CANCELLED, RUN_FAILED = range(3)
FAULTS = ("none", "platform", "environment", "model", "agent", "limit", "user")
SECONDS = 60
FAKE_GATEWAY = ROOT / "tests/integration/support/fake_gateway.py"
U32, I32, I64, U64 = ctypes.c_uint32, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64


class RunName(ctypes.Structure):
    _fields_ = [("task", ctypes.c_char * 32), ("turn", U32), ("attempt", U32), ("run", U32)]


class Limits(ctypes.Structure):
    _fields_ = [("memory_bytes", U64), ("cpu_milli", U32), ("pids", U32), ("disk_bytes", U64), ("inodes", U64),
                ("timeout_ms", I64),
                ("test_timeout_ms", I64), ("archive_bytes", U64)]


class Run(ctypes.Structure):
    _fields_ = [("name", RunName), ("flags", U32), ("baseline_status", I32), ("verify_rounds", U32),
                ("limits", Limits), ("repo", ctypes.c_char * 128), ("layer", ctypes.c_char * 65)]


class Git(ctypes.Structure):
    _fields_ = [("id", U32), ("as_", U32), ("uid", U32), ("argc", U32), ("timeout_ms", I64), ("fds_count", U32),
                ("fd_numbers", ctypes.c_uint8 * 8), ("repository", ctypes.c_char * 4096),
                ("args", ctypes.c_ubyte * 8192)]


class Report(ctypes.Structure):
    _fields_ = [("name", RunName), ("id", U32), ("pid", I32), ("wait_status", I32), ("message", ctypes.c_char * 512)]


class Body(ctypes.Union):
    _fields_ = [("run", Run), ("cancel", RunName), ("git", Git), ("report", Report)]


class Message(ctypes.Structure):
    _fields_ = [("magic", U32), ("type", U32), ("body", Body)]


def memfd(data):
    """A sealed memory file, as codexd makes them."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


class Spawner(Sandbox):
    """A state directory with a spawner on it. The gateway, the agent and codex-git are the tests' own."""

    def __init__(self, git=None, runtime=None, started=True, below=None):
        """RUNTIME: a script that stands for crun, with {home} where a test's own files are. STARTED: else with
        start_spawner(), before the end. BELOW: a shell command that prepares a mount namespace for it."""
        super().__init__()
        self.below = ["unshare", "--mount", "sh", "-c", f'{below} && exec "$@"', "sh"] if below else []
        self.runtime = self.home / "crun" if runtime else RUNTIME
        if runtime:
            self.runtime.write_text(runtime.replace("{home}", str(self.home)))
            self.runtime.chmod(0o755)
        self.gateway = self.home / "codex-gateway"  # where uid 65534 can read it
        shutil.copy(FAKE_GATEWAY, self.gateway)
        self.gateway.chmod(0o755)
        self.agent = self.home / "codex-agent"
        shutil.copy(BUILD / "tests/support/fake-agent", self.agent)
        self.git = git or BUILD / "tests/support/fake-git"
        self.tasks = self.home / "tasks"
        self.tasks.mkdir()
        self.log = self.home / "spawner.log"
        self.process = self.socket = None
        if started:
            self.start_spawner()

    def start_spawner(self):
        """Another one, when there was one before: that one lives on until its last child has ended."""
        if self.socket:
            self.socket.close()
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(SECONDS)
        argv = [*self.below, BUILD / "codex-runner", "--spawner", "--state", self.state, "--images", IMAGES, "--agent", self.agent,
                "--gateway", self.gateway, "--git", self.git, "--runtime", self.runtime]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(3,),
                                            preexec_fn=lambda: os.dup2(theirs.fileno(), 3), start_new_session=True)
        theirs.close()

    def close(self):
        self.socket.close()
        self.log_text = self.log.read_text()
        try:
            wait_for(lambda: not self.processes(), SECONDS, "the spawner has ended")
            assert not list((self.state / "scratch").glob("*"))
            super().close()
        finally:
            print(self.log_text[-5000:])

    def send(self, message, fds=()):
        socket.send_fds(self.socket, [bytes(message)], list(fds))

    def receive(self, expected):
        data = self.socket.recv(1 << 16)
        assert data, f"the spawner has closed the connection: {self.log.read_text()[-2000:]}"
        message = Message.from_buffer_copy(data)
        assert message.type == expected, (message.type, message.body.report.message, self.log.read_text()[-2000:])
        return message.body.report

    def is_closed(self):
        """Whether the spawner closes the connection."""
        with contextlib.suppress(ConnectionResetError):
            return self.socket.recv(1 << 16) == b""
        return True


NOTHING_TO_SET_UP = "step_setup() { return 3; }\n"


class Task:
    """A run of SCRIPT: bash functions step_checkout, step_test, …, for the fake agent."""

    def __init__(self, spawner, script, number=1, **options):
        self.spawner = spawner
        self.name = f"task-abc{number:03d}"
        self.directory = spawner.tasks / self.name
        self.directory.mkdir(exist_ok=True)
        self.script = script
        self.layer = hashlib.sha256(script.encode()).hexdigest()
        for name in ("base.bundle", "work.bundle", "archive", "tests.before", "tests.after"):
            (self.directory / name).touch(mode=0o644)
        (self.directory / "base.bundle").write_text("base")
        self.run = 0
        self.options = options

    def message(self, *, baseline=None, rounds=3, timeout_ms=120000, memory=512 << 20, pids=256, archive=1 << 30,
                test_timeout_ms=60000, replay=False,
                salvage=False, disk=0, inodes=0, cpu_milli=0):
        message = Message(magic=MAGIC, type=RUN)
        body = message.body.run
        body.name = self.run_name()
        body.flags = (BASELINE_KNOWN if baseline is not None else 0) | (WITH_REPLAY if replay else 0) | (
            SALVAGE if salvage else 0)
        body.baseline_status = baseline if baseline is not None else 0
        body.verify_rounds = rounds
        body.limits = Limits(memory, cpu_milli, pids, disk, inodes, timeout_ms, test_timeout_ms, archive)
        body.repo = b"demo"
        body.layer = self.layer.encode()
        return message

    def run_name(self):
        return RunName(self.name.encode(), 1, 1, self.run)

    def open_fds(self, replay=False):
        def file(name, flags):
            return os.open(self.directory / name, flags | os.O_CLOEXEC, 0o644)
        fds = [memfd((NOTHING_TO_SET_UP + self.script).encode()), memfd(b'{"key":"real"}'), file("base.bundle", os.O_RDONLY),
               file("work.bundle", os.O_RDWR), file("archive", os.O_WRONLY),
               file("events", os.O_RDWR | os.O_CREAT | os.O_APPEND), file("tests.before", os.O_RDWR),
               file("tests.after", os.O_RDWR)]
        return fds + ([memfd(b"replay")] if replay else [])

    def start(self, **options):
        """Send SPAWN_RUN; returns the report that it has started."""
        self.run += 1
        options = {**self.options, **options}
        fds = self.open_fds(options.get("replay", False))
        self.spawner.send(self.message(**options), fds)
        for fd in fds:
            os.close(fd)
        return self.spawner.receive(RUN_STARTED)

    def cancel(self):
        message = Message(magic=MAGIC, type=CANCEL)
        message.body.cancel = self.run_name()
        self.spawner.send(message)

    def forget(self):
        message = Message(magic=MAGIC, type=FORGET)
        message.body.cancel = self.run_name()
        self.spawner.send(message)

    def wait(self):
        """Until the spawner says that the runner is gone; returns its wait status."""
        report = self.spawner.receive(RUN_ENDED)
        assert report.name.task.decode() == self.name
        return report.wait_status

    def events(self):
        path = self.directory / "events"
        events = []
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):  # torn: its gateway was killed
                events.append(json.loads(line))
        return events

    def wait_for_output(self, text):
        wait_for(lambda: text in self.output(), SECONDS, f"output {text!r}")

    def output(self, phase=None):
        return "".join(event["text"] for event in self.events()
                       if event["type"] == "output" and phase in (None, event["phase"]))

    def phases(self):
        """(phase, round, status) of every phase that was completed."""
        return [(event["phase"], event["round"], event["status"]) for event in self.events()
                if event["type"] == "phase.completed"]

    def result(self, phase):
        return [event["result"] for event in self.events()
                if event["type"] == "phase.completed" and event["phase"] == phase]

    def ended(self):
        """The run.ended event, of which there is one for each run that came so far."""
        return [event for event in self.events() if event["type"] == "run.ended"][-1]

    def complete(self, **options):
        """Start, wait, expect that the runner exits with 0; returns run.ended."""
        self.start(**options)
        status = self.wait()
        assert status == 0, self.spawner.log.read_text()[-3000:]
        return self.ended()

    def file(self, name):
        return (self.directory / name).read_bytes()

    def sha256(self, name):
        return hashlib.sha256(self.file(name)).hexdigest()

    def workspace(self):
        return pathlib.Path(self.spawner.state / "sandboxes" / f"{self.name}-1")


# What a task does when nothing goes wrong.
GOOD = r"""
step_checkout() {
    echo checking out; cat /dev/fd/4
    mkdir -p /workspace/demo
    [ -e /dev/fd/5 ] && cp /dev/fd/5 /workspace/demo/from-bundle
    echo '{"commit":"c0"}' >&3
}
step_test() { echo testing; echo '{"exit_code":0}' >&3; }
step_run() {
    echo '{"type":"turn.started"}' >&3
    echo working; echo done >/tmp/made-by-agent
    setpriv --reuid 1000 --regid 1000 --clear-groups bash -c 'echo work >>/workspace/demo/work'
}
step_commit() { echo committing; echo '{"changed":true}' >&3; echo "bundle of $(cat /workspace/demo/work)" >&5; }
step_archive() { echo '{"files":1}' >&3; tar -C /workspace -c demo >&5; }
"""
