"""What may not be left when a codexd's tasks are over: everything that lives outside of its store."""
import array
import contextlib
import fcntl
import glob
import os
import pathlib
import subprocess

from support.processes import Family, read, state_id

CGROUPS = ("/sys/fs/cgroup/*/codex/{id}*", "/sys/fs/cgroup/codex/{id}*")
KEPT_OF_A_TASK = {"diff.patch", "archive.tar.zst", "work.bundle"}


def _cgroups(state):
    return [path for pattern in CGROUPS for path in glob.glob(pattern.format(id=state_id(state)))]


def _files(state, tasks_are_over):
    left = [str(path) for name in ("sandboxes", "runs") for path in (state / name).glob("*")]
    left += [str(path) for path in (state / "scratch").glob("*/*")]
    left += [str(path) for path in (state / "server/bundles").iterdir() if ".tmp" in path.name]
    for task in (state / "server/tasks").iterdir() if tasks_are_over else ():
        left += [str(path) for path in task.iterdir() if path.name not in KEPT_OF_A_TASK]
    return left


def _images(images):
    """Half-made and half-removed ones begin with a dot."""
    return [str(path) for path in pathlib.Path(images).glob(".*") if path.name != ".lock"]


def _run_codex():
    """/run/codex holds one file, and directories to mount on, which are empty for everybody else."""
    left = []
    for entry in os.scandir("/run/codex") if os.path.isdir("/run/codex") else ():
        if entry.is_dir() and os.listdir(entry.path):
            left.append(entry.path)
        elif not entry.is_dir() and entry.name != "uid-ranges":
            left.append(entry.path)
    return left


def _kernel(state):
    """Mounts of our own namespace, loop devices, named network namespaces, Unix sockets."""
    text = os.fsencode(str(state))
    left = [f"mount: {line.decode()}" for line in read("/proc/self/mountinfo").splitlines() if text in line]
    left += [f"mounted namespace: {line.decode()}" for line in read("/proc/self/mountinfo").splitlines()
             if b" - nsfs " in line]
    loops = subprocess.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"],
                           capture_output=True, check=True).stdout
    left += [f"loop device: {line.decode()}" for line in loops.splitlines() if text in line]
    left += [f"socket: {line.decode()}" for line in read("/proc/net/unix").splitlines()
             if text in line and not line.endswith(b"codexd.sock")]
    return left


NS_GET_ID = 0x8008b70d  # linux/nsfs.h: unlike the number in a link, no other namespace ever gets it


def _namespace(path):
    """What is known of the namespace that PATH leads to; OSError where the kernel (before 6.18) has no name for it."""
    number = array.array("Q", [0])
    with open(path, "rb") as file:
        fcntl.ioctl(file, NS_GET_ID, number)
    return number[0]


def _names(directory):
    with contextlib.suppress(OSError):
        return os.listdir(directory)
    return []


class Namespaces:
    """Those that processes of ours were seen in. Before Linux 6.18 they cannot be told from later ones: none."""

    def __init__(self):
        self.host, self.seen = set(), set()
        with contextlib.suppress(OSError):
            self.host = {_namespace(entry.path) for entry in os.scandir("/proc/self/ns")}

    def note(self, pids):
        for pid in pids:
            with contextlib.suppress(OSError):
                self.seen |= {_namespace(entry.path) for entry in os.scandir(f"/proc/{pid}/ns")} - self.host

    def left(self):
        left = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for folder in ("ns", "fd"):
                for name in _names(f"/proc/{pid}/{folder}"):
                    with contextlib.suppress(OSError):
                        link = os.readlink(f"/proc/{pid}/{folder}/{name}")
                        if ":[" in link and _namespace(f"/proc/{pid}/{folder}/{name}") in self.seen:
                            left.append(f"namespace: {link} is held by process {pid}")
        return left


def while_it_serves(state, images, server_pids):
    """Descriptions of what is left while codexd and its spawner (SERVER_PIDS) go on. Empty: nothing."""
    processes = [f"process {pid} ({why}): {read(f'/proc/{pid}/cmdline')[:200]}"
                 for pid, why in Family(state).all().items() if pid not in server_pids]
    return processes + _cgroups(state) + _files(state, True) + _images(images) + _run_codex() + _kernel(state)


def after_its_end(state, images):
    """The same when codexd has been ended."""
    left = while_it_serves(state, images, ())
    left += [line.decode() for line in read("/proc/net/unix").splitlines() if os.fsencode(str(state)) in line]
    return left + [str(path) for path in (state / "scratch").glob("*")]
