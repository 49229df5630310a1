"""The steps of codex-agent, as the tests call them: outside a sandbox, as root with the task's user, or
as whoever runs the tests."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from support.program import TASK_USER, run_program
from support.repository import ENVIRONMENT, Repository

AUTHOR = {"name": "Codex", "email": "codex@localhost"}
COMMIT_TIME = 1763920740


class Workspace:
    """A directory like a sandbox's /workspace, with a place for the agent's state beside it."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
        self.home.chmod(0o755)
        self.root = self.home / "workspace"
        self.root.mkdir()
        self.state = self.home / "state"
        self.state.mkdir(mode=0o700)
        self.path = self.root / "demo"
        self.own(self.root)
        self.task = {"task": "task-abc123", "turn": 1, "attempt": 1, "run": 1, "prompt": "Do the work",
                     "repo": "demo", "workdir": str(self.path), "base": "main", "base_commit": "0" * 40,
                     "test_command": None, "test_timeout_ms": 60000, "model": "o3", "effort": "high",
                     "base_url": "http://127.0.0.1:64080/v1", "api_key": "x", "author": AUTHOR,
                     "commit_time": COMMIT_TIME}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not shutil alone: it gives up on trees deeper than a path can name.
        subprocess.run(["rm", "-rf", str(self.home)], check=False)
        shutil.rmtree(self.home, ignore_errors=True)
        assert not self.home.exists()

    @staticmethod
    def own(path):
        """Give PATH and what is in it to the task's user."""
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "-h", f"{TASK_USER}:{TASK_USER}", str(path)], check=True)

    def step(self, name, *arguments, inputs=None, outputs=(3,), check=0, task=None, **options):
        """Run a step on the task; its result is descriptor 3."""
        text = json.dumps({**self.task, **(task or {})}).encode()
        return run_program("codex-agent", name, *arguments, inputs={0: text, **(inputs or {})},
                           outputs=outputs, check=check, **options)

    def checkout(self, base, work=None, commit=None, **options):
        """`checkout` of the bundle BASE of COMMIT."""
        if commit:
            self.task["base_commit"] = commit
        inputs = {4: base, **({5: work} if work is not None else {})}
        return self.step("checkout", inputs=inputs, **options)

    def commit(self, inputs=None, **options):
        """`commit`; descriptor 5 is the work bundle."""
        return self.step("commit", "--state", self.state, inputs=inputs, outputs=(3, 5), **options)

    def submit(self, **submission):
        (self.state / "submit.json").write_text(json.dumps(submission))

    def write(self, files):
        """Write FILES below the workspace, as the task's user would."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)
        self.own(self.path)

    def repository(self):
        return UserRepository(self.path)


class UserRepository(Repository):
    """The workspace's repository, worked on by the task's user."""

    def __init__(self, directory):  # pylint: disable=super-init-not-called
        self.path = pathlib.Path(directory)

    def git(self, *arguments, check=True):
        user = {"user": TASK_USER, "group": TASK_USER, "extra_groups": []} if os.getuid() == 0 else {}
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=ENVIRONMENT, check=False,
                              capture_output=True, text=True, errors="surrogateescape", **user)
        assert not check or done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout.rstrip("\n")

    def write(self, files):
        super().write(files)
        Workspace.own(self.path)
