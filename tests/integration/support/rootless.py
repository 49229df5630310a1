"""An ordinary user with subordinate ids, who is there for the test alone: in a mount namespace with a user database and
subuid(5) of the test's own. The machine's are not touched."""
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

from support.codex import BUILD, Codex

NAME = "codextest"
FIRST_UID, FIRST_SUBID = 41000, 0x60000000  # no sandbox of root's has the latter (src/sandbox/uid_range.h)
RANGE, USERS = 65536, 4000                  # tests run side by side: each has a user of its own
ENTER = 'for file in passwd group subuid subgid; do mount --bind "$0/$file" "/etc/$file"; done; exec "$@"'


def become(uid):
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--inh-caps=-all"]


def why_not():
    """Why this machine cannot show it; None: it can."""
    for program in ("newuidmap", "newgidmap"):
        if not shutil.which(program):
            return f"{program} is not installed (package uidmap)"
    for file in ("/etc/subuid", "/etc/subgid"):
        if not os.path.exists(file):
            return f"{file} is not there, to be covered for the user of the test"
    done = subprocess.run([*become(FIRST_UID), "unshare", "--user", "true"], capture_output=True, text=True, check=False)
    return f"an ordinary user gets no user namespace: {done.stderr.strip()}" if done.returncode else None


class User:
    """The user, and his home."""

    def __init__(self, subids=RANGE):
        number = random.randrange(USERS)
        self.uid, self.first_subid = FIRST_UID + number, FIRST_SUBID + RANGE * number
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
        self.place.chmod(0o755)
        self.home = self.place / "home"
        self.home.mkdir(mode=0o700)
        (self.place / "passwd").write_text(
            pathlib.Path("/etc/passwd").read_text() + f"{NAME}:x:{self.uid}:{self.uid}::{self.home}:/bin/bash\n")
        (self.place / "group").write_text(pathlib.Path("/etc/group").read_text() + f"{NAME}:x:{self.uid}:\n")
        for file in ("subuid", "subgid"):
            (self.place / file).write_text(f"{NAME}:{self.first_subid}:{subids}\n" if subids else "")
        self.own()

    def own(self):
        """Everything in the home is his."""
        subprocess.run(["chown", "-R", "--from=0:0", f"{self.uid}:{self.uid}", self.home], check=True)

    def argv(self, *command):
        return ["unshare", "--mount", "sh", "-ec", ENTER, str(self.place), *become(self.uid), *map(str, command)]

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TERM": "dumb", "LANG": "C.UTF-8"}

    def run(self, *command, check=True, cwd=None, **options):
        done = subprocess.run(self.argv(*command), check=False, capture_output=True, text=True, timeout=120,
                              cwd=cwd or self.home, env=self.environment(), stdin=subprocess.DEVNULL, **options)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def sandbox(self, *command, options=(), **more):
        return self.run(BUILD / "codex-runner", "--sandbox", "--state", self.home / "state", "--images",
                        self.home / "images", *options, "--", *command, **more)

    def processes(self):
        """Whatever runs as he, or with one of his subordinate ids."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                uid = int((entry / "status").read_text().split("\nUid:\t")[1].split()[0])
            except (OSError, IndexError):
                continue
            if uid == self.uid or self.is_subid(uid):
                found.append((entry.name, uid))
        return found

    def is_subid(self, uid):
        return self.first_subid <= uid < self.first_subid + RANGE

    def close(self):
        shutil.rmtree(self.place)


class RootlessCodex(Codex):
    """A codexd that USER starts, and the `codex` that he talks to it by."""

    def __init__(self, user, configuration, environment=None):
        super().__init__(configuration, environment)
        shutil.rmtree(self.home)
        self.user = user
        self.home = user.home
        self.state = user.home / "state"
        self.config = user.home / "codex.conf"
        self.log = user.home / "codexd.log"
        self.config.write_text(f"{configuration}\n[sandbox]\nimages = {user.home}/images\n")
        self.environment = {**user.environment(), "CODEX_CONFIG": str(self.config), "CODEX_STATE_DIR": str(self.state),
                            "CODEX_SOCKET": str(self.state / "codexd.sock"), **(environment or {})}
        user.own()

    def launch(self):
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(self.user.argv(BUILD / "codexd", "--config", self.config),
                                           env=self.environment, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, start_new_session=True)

    def run(self, *arguments, check=True, cwd=None, stdin=None, environment=None):
        done = subprocess.run(self.user.argv(BUILD / "codex", *arguments), cwd=cwd or self.home, input=stdin or "",
                              env={**self.environment, **(environment or {})}, check=False, capture_output=True,
                              text=True, errors="surrogateescape", timeout=180)
        assert not check or done.returncode == 0, (
            f"codex {' '.join(map(str, arguments))} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
            f"\ncodexd:\n{self.log.read_text()[-3000:]}")
        return done
