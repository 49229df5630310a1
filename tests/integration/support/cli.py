"""`codex` alone, with the double of its server."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile

from .api_double import ApiDouble
from .codex import BUILD, wait_for

CODEX = BUILD / "codex"
SECONDS = 30


class Cli:
    """A home of its own, a server's double at its socket, and `codex` that knows nothing else."""

    def __init__(self, **environment):
        self.directory = tempfile.TemporaryDirectory(prefix="codex-cli-")
        self.home = pathlib.Path(self.directory.name)
        self.home.chmod(0o755)
        self.api = ApiDouble(self.home / "codexd.sock")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"),
            "CODEX_STATE_DIR": str(self.home / "state"), "CODEX_SOCKET": self.api.path, "TZ": "UTC",
            "TERM": "xterm", "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", **environment,
        }

    def __enter__(self):
        self.api.start()
        return self

    def __exit__(self, *_):
        self.api.vanish()
        self.directory.cleanup()

    def run(self, *arguments, stdin="", cwd=None, program=CODEX, **environment):
        return subprocess.run([program, *map(str, arguments)], input=stdin, cwd=cwd or self.home,
                              env={**self.environment, **environment}, check=False, capture_output=True,
                              text=True, errors="surrogateescape", timeout=SECONDS)

    def json(self, *arguments, **options):
        done = self.run(*arguments, "--json", **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def started(self, *arguments, cwd=None):
        """`codex` running, its output in pipes; killed at the end if it still runs."""
        with subprocess.Popen([CODEX, *map(str, arguments)], cwd=cwd or self.home, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)


def one_line(done, status, *parts):
    """DONE failed with STATUS and one line on standard error that has all PARTS."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("codex"), done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr
    assert done.stdout == "", done.stdout


__all__ = ["CODEX", "Cli", "one_line", "wait_for"]
