"""`codex-runner --sandbox` in a state directory of the test's own, and what it must not leave behind."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from support.codex import BUILD, IMAGES, RUNTIME

SECONDS = 120
FIRST_UID = 0x70000000  # of the sandboxes' ranges, src/sandbox/uid_range.h
CGROUPS = pathlib.Path("/sys/fs/cgroup")


OTHER_RUNTIME = "crun" if RUNTIME == "runc" else "runc"


class Sandbox:
    """Run commands in sandboxes; `close` checks that nothing of them is left."""

    def __init__(self, runtime=RUNTIME):
        self.runtime = runtime
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
        self.home.chmod(0o755)
        self.state = self.home / "state"
        self.state.mkdir(mode=0o755)
        self.workdir = self.home / "project"
        self.workdir.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.check_nothing_left()
        finally:
            shutil.rmtree(self.home)

    def argv(self, *command, options=(), runtime=None):
        return [str(BUILD / "codex-runner"), "--sandbox", "--workdir", str(self.workdir), "--state",
                str(self.state), "--images", str(IMAGES), "--runtime", str(runtime or self.runtime), *map(str, options), "--", *map(str, command)]

    def start(self, *command, options=(), **popen):
        return subprocess.Popen(self.argv(*command, options=options), **popen)

    def run(self, *command, options=(), check=True, runtime=None, stdin="", seconds=SECONDS, **popen):
        done = subprocess.run(self.argv(*command, options=options, runtime=runtime), input=stdin, check=False,
                              capture_output=True, text=True, timeout=seconds, **popen)
        assert not check or done.returncode == 0, (
            f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def shell(self, script, **options):
        """Run bash SCRIPT inside; returns what it printed."""
        return self.run("bash", "-ec", script, **options).stdout

    def state_id(self):
        """How the cgroups of this state directory begin (as runner/sandbox_name.c)."""
        number = 0x811C9DC5
        for byte in os.fsencode(os.path.realpath(self.state)):
            number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
        return f"{number:08x}-"

    def cgroups(self):
        return [str(path) for path in CGROUPS.glob(f"*/codex/{self.state_id()}*")] + [
            str(path) for path in CGROUPS.glob(f"codex/{self.state_id()}*")]

    def processes(self):
        """Those that have this state directory on their command line or are in a cgroup of it."""
        found = set()
        for group in self.cgroups():
            with contextlib.suppress(OSError):
                found.update(map(int, (pathlib.Path(group) / "cgroup.procs").read_text().split()))
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and str(self.state).encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
        return sorted(found)

    def files(self):
        return sorted(str(path.relative_to(self.state)) for name in ("runs", "sandboxes")
                      for path in (self.state / name).glob("*"))

    def check_nothing_left(self):
        assert self.processes() == []
        assert self.cgroups() == []
        assert self.files() == []
        mounts = pathlib.Path("/proc/self/mounts").read_text()
        assert str(self.state) not in mounts and "/run/codex" not in mounts
        # crun makes who runs a command the owner of its standard streams.
        assert os.stat("/dev/null").st_uid < FIRST_UID


@contextlib.contextmanager
def sandbox_of_the_other_runtime():
    assert shutil.which(OTHER_RUNTIME), f"{OTHER_RUNTIME} is not installed: make setup"
    with Sandbox(runtime=OTHER_RUNTIME) as sandbox:
        yield sandbox
