"""The processes of one codexd, by what they are to it, found from outside."""
import contextlib
import os
import signal

from support.codex import RUNTIME

ROLES = ("codexd", "spawner", "runner", "gateway", "agent", "codex-git", "crun", "init")


def state_id(state):
    """How the names of a state directory's cgroups begin (runner/sandbox_name.c)."""
    number = 0x811C9DC5
    for byte in os.fsencode(os.path.realpath(state)):
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{number:08x}-"


def read(path):
    """Bytes of a file below /proc; b"" when its process has gone."""
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            return file.read()
    return b""


class Process:
    """One entry of /proc, as it was when it was looked at."""

    def __init__(self, pid):
        self.pid = pid
        self.argv = read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]
        fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        self.parent = int(fields[1]) if fields else 0
        self.is_zombie = bool(fields) and fields[0] == b"Z"

    @property
    def cgroups(self):
        return read(f"/proc/{self.pid}/cgroup")

    def name(self):
        """The program's, without its directory."""
        return os.path.basename(self.argv[0]) if self.argv else b""

    def has(self, argument):
        return argument in self.argv


def snapshot():
    """Every process of the machine, by pid."""
    return {int(name): Process(int(name)) for name in os.listdir("/proc") if name.isdigit()}


class Family:
    """The processes of the codexd that works in STATE."""

    def __init__(self, state):
        self.state = os.fsencode(str(state))
        self.cgroup = b"/codex/" + state_id(state).encode()

    def roles(self):
        """{role: [(pid, task or None)]} of what lives now."""
        found = {role: [] for role in ROLES}
        all_of_them = snapshot()
        tasks = {}
        for process in all_of_them.values():
            if process.is_zombie or not process.argv:
                continue
            role, task = self._role(process, all_of_them, tasks)
            if role:
                found[role].append((process.pid, task))
        return found

    def _role(self, process, others, tasks):
        name = process.name()
        if name == b"codex-runner" and process.has(self.state):
            if process.has(b"--spawner"):
                return "spawner", None
            return ("runner", self._task_of(process.pid, tasks)) if process.has(b"--run") else (None, None)
        parent = others.get(process.parent)
        ours = parent and parent.name() == b"codex-runner" and parent.has(self.state)
        if name == b"codex-gateway" and ours:
            return "gateway", self._task_of(parent.pid, tasks)
        if name == b"codex-git" and ours:
            return "codex-git", None
        if name == os.fsencode(RUNTIME) and ours and parent.has(b"--run"):
            return "crun", self._task_of(parent.pid, tasks)
        if name == b"codex-agent" and self.cgroup in process.cgroups:
            role = "init" if process.has(b"init") else "agent"
            return role, self._task_of(process.parent, tasks)
        return None, None

    def _task_of(self, runner, tasks):
        """Which task a runner executes: by the lock that it holds."""
        if not tasks:
            tasks.update(self._holders())
        return tasks.get(runner)

    def _holders(self):
        inodes = {}
        with contextlib.suppress(OSError):
            for entry in os.scandir(os.fsdecode(self.state) + "/runs"):
                with contextlib.suppress(OSError):
                    inodes[os.stat(entry.path + "/lock").st_ino] = entry.name.rpartition("-")[0]
        holders = {0: None}
        for line in read("/proc/locks").decode().splitlines():
            fields = line.split()
            if "POSIX" in fields and "->" not in fields:
                inode = int(fields[-3].rpartition(":")[2])
                if inode in inodes:
                    holders[int(fields[-4])] = inodes[inode]
        return holders

    def all(self):
        """Every process that has anything to do with the state directory, with why."""
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            why = self._why(pid)
            if why and pid != os.getpid():
                found[pid] = why
        return found

    def _why(self, pid):
        if self.state in read(f"/proc/{pid}/cmdline"):
            return "command line"
        if self.cgroup in read(f"/proc/{pid}/cgroup"):
            return "cgroup"
        if self.state in read(f"/proc/{pid}/mountinfo"):
            return "mount"
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.fsencode(os.readlink(entry.path)).startswith(self.state):
                        return "descriptor"
        return None


def kill(pid):
    """Returns whether there was somebody to kill."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
