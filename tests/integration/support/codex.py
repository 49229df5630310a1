"""A codexd of the test's own, and the `codex` that talks to it."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from support.model_server import ModelServer

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("CODEX_BUILD", ROOT / "build"))
# Their own memory and time are not the programs'.
IS_SANITIZED = b"__asan" in (BUILD / "codexd").read_bytes()
# Every test's codexd shares one `host` image: it is made once, by whichever needs it first.
IMAGES = pathlib.Path(os.environ.get("CODEX_TEST_IMAGES", ROOT / "build" / "images"))
# Which OCI runtime all sandboxes of the suite are made by: `CODEX_TEST_RUNTIME=runc`.
RUNTIME = os.environ.get("CODEX_TEST_RUNTIME", "crun")
API_KEY = "sk-real-key-of-the-provider"
ENDED = ("completed", "failed", "cancelled")
START_SECONDS = 30
TASK_SECONDS = 180


PATIENCE = 30   # seconds: a busy machine is no failure, and nobody waits for what comes in time


def wait_for(condition, seconds=PATIENCE, what="condition"):
    """Poll until CONDITION() is true, and return what it returned. Ever more seldom: asking has its price."""
    deadline = time.monotonic() + max(seconds, PATIENCE)
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {max(seconds, PATIENCE)} s"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.15)


class Codex:
    """CONFIGURATION: the text of codex.conf, to which the image directory is added."""

    def __init__(self, configuration, environment=None):
        # Not pytest's tmp_path: the service user must be able to enter it.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
        self.home.chmod(0o755)
        self.state = self.home / "state"
        self.config = self.home / "codex.conf"
        runtime = "" if "\nruntime =" in configuration else f"runtime = {RUNTIME}\n"
        # Disks cost time: the build as shipped has them everywhere, the other one where they are what a test is about.
        disk = "disk = 0\n" if IS_SANITIZED and "\ndisk =" not in configuration else ""
        self.config.write_text(configuration + f"\n[sandbox]\nimages = {IMAGES}\n{runtime}{disk}")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "TERM": "dumb", "LANG": "C.UTF-8",
            "CODEX_CONFIG": str(self.config), "CODEX_STATE_DIR": str(self.state),
            "CODEX_SOCKET": str(self.state / "codexd.sock"), **(environment or {}),
        }
        self.server = None
        self.log = self.home / "codexd.log"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        """Start codexd and wait until it answers."""
        self.launch()
        wait_for(self._answers, START_SECONDS, "codexd answers")

    def launch(self):
        """Start codexd."""
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen([BUILD / "codexd", "--config", self.config],
                                           env=self.environment, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True)

    def _answers(self):
        assert self.server.poll() is None, f"codexd ended: {self.log.read_text()}"
        return self.run("list", check=False).returncode == 0

    def kill(self):
        """kill -9 of codexd alone; its spawner and runners go on."""
        self.server.kill()
        self.server.wait()

    def stop(self):
        """SIGTERM, and wait for the end."""
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(timeout=START_SECONDS)

    def close(self):
        """Cancel what still runs, stop, and remove everything."""
        try:
            if self.server.poll() is not None:
                self.start()
            for task in self.tasks():
                if task["state"] not in ENDED:
                    self.cancel(task["id"])
            wait_for(lambda: all(task["state"] in ENDED for task in self.tasks()), TASK_SECONDS,
                     "all tasks have ended")
        finally:
            self.stop()
            self.log_tail = self.log.read_text()[-4000:]
            wait_for(lambda: not self.processes(), START_SECONDS, "the spawner has ended")
            shutil.rmtree(self.home)

    def cancel(self, task):
        return self.run("cancel", task, check=False)

    def processes(self):
        """The processes that were given this state directory on their command line."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and str(self.state).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def run(self, *arguments, check=True, cwd=None, stdin=None, environment=None):
        """Run `codex ARGUMENTS`; CHECK: it must exit with 0."""
        done = subprocess.run([BUILD / "codex", *map(str, arguments)], cwd=cwd or self.home,
                              input=stdin or "", env={**self.environment, **(environment or {})},
                              check=False, capture_output=True, text=True, errors="surrogateescape",
                              timeout=TASK_SECONDS)
        assert not check or done.returncode == 0, (
            f"codex {' '.join(map(str, arguments))} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
            f"\ncodexd:\n{self.log.read_text()[-3000:]}")
        return done

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options).stdout.splitlines()[-1])

    def tasks(self):
        return self.json("list")

    def task(self, prompt, *arguments, cwd):
        """Submit, from the checkout CWD; returns the task's id."""
        return self.json("task", prompt, *arguments, cwd=cwd)["id"]

    def status(self, task):
        return self.json("status", task)

    def wait(self, task, *states, seconds=TASK_SECONDS):
        """Wait until TASK is in one of STATES (default: it has ended), and return it."""
        states = states or ENDED

        def reached():
            now = self.status(task)
            assert now["state"] in states or now["state"] not in ENDED, f"{task} ended as {now}"
            return now if now["state"] in states else None
        try:
            return wait_for(reached, seconds, f"{task} is {' or '.join(states)}")
        except AssertionError:
            print(self.run("logs", task, check=False).stdout[-4000:], self.log.read_text()[-4000:], sep="\n")
            raise

    def events(self, task):
        return [json.loads(line) for line in self.run("logs", task, "--json").stdout.splitlines()]


@contextlib.contextmanager
def codex_on(script, configuration="", environment=None, wire="responses", provider="", **server_options):
    """A codexd whose provider is a ModelServer with SCRIPT, on WIRE; yields both.

    CONFIGURATION is put before the sections that this makes ([model], [provider "scripted"], [sandbox]),
    PROVIDER are more lines of the provider."""
    with ModelServer(script, api_key=API_KEY, **server_options) as model:
        text = (f"{configuration}\n[model]\nname = o3\nprovider = scripted\n"
                f"[provider \"scripted\"]\nbase_url = {model.base_url}\nwire_api = {wire}\n"
                f"env_key = SCRIPTED_KEY\n{provider}\n")
        with Codex(text, {"SCRIPTED_KEY": API_KEY, **(environment or {})}) as codex:
            yield codex, model
