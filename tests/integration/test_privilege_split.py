"""Who may do what: every program is looked at from outside while a real task is at work, and has to be what
docs/threat-model.md says of it."""
import dataclasses
import fnmatch
import os
import pathlib
import pwd
import re
import subprocess
import threading

import pytest

from support.codex import API_KEY, BUILD, IMAGES, IS_SANITIZED, ROOT, codex_on, wait_for
from support.git_server import TOKEN, GitServer, bare
from support.model_server import call, message
from support.portrait import ALL_CAPABILITIES, Portrait, mask
from support.processes import Family, kill, snapshot
from support.repository import Repository
from support.sandbox import FIRST_UID
from support.stops import Files, Stops

NOBODY, RANGE, TASK_USER = 65534, 65536, 1000
NONE, AGENT = 0, mask("SETUID", "SETGID", "KILL")
INSTALLER = mask("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "SETFCAP",
                 "NET_BIND_SERVICE")
OWN_WORLD = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}
QUEUES = ["both anon_inode:[[]eventpoll]", "both anon_inode:[[]signalfd]", "both anon_inode:[[]pidfd]",
          "both anon_inode:[[]timerfd]", "read anon_inode:inotify"]
STREAMS = ["both /dev/null", "read pipe", "write pipe"]
LOG = "write $HOME/codexd.log"
# Libraries that read what others wrote. A runner, root, may have none of them.
PARSERS = {"libcurl", "libcurl-gnutls", "libjansson", "libsqlite3", "libssl", "libcrypto", "libgnutls", "libexpat", "libxml2",
           "libarchive", "libz", "libzstd", "libinih", "libmicrohttpd", "libcares", "libsodium", "libyajl"}
EVERYBODY = {"libc", "ld-linux-x86-64", "ld-linux-aarch64"}
SANITIZERS = {"libm", "libgcc_s", "libstdc++", "libdl", "librt", "libpthread"} if IS_SANITIZED else set()


@dataclasses.dataclass
class Row:
    """What a program is. FILES: patterns of which each of its open files has one (support/portrait.py)."""
    who: str                # "root", "codex", "nobody", "sandbox's root", "sandbox's codex"
    capabilities: int       # permitted and effective; inheritable and ambient are always empty
    bounding: int
    no_new_privs: bool
    seccomp: bool
    closed: bool            # not dumpable: nobody of its uid can look into it
    namespaces: set         # of its own
    files: list
    only: set | None = None           # all the libraries that it may have
    none_of: set = dataclasses.field(default_factory=set)


TABLE = {
    "codexd": Row("codex", NONE, NONE, True, False, True, set(),
                  [*QUEUES, *STREAMS, LOG, "unix stream listener $STATE/codexd.sock", "unix stream $STATE/codexd.sock",
                   "unix seqpacket", "both $STATE/server/*", "read $STATE/server/*", "write $STATE/server/*",
                   "unix stream", "inet stream 127.0.0.1:*"],
                  none_of={"libseccomp", "libarchive", "libexpat", "libxml2"}),
    "spawner": Row("root", ALL_CAPABILITIES, ALL_CAPABILITIES, False, False, False, {"mnt"},
                   [*QUEUES, "both /dev/null", LOG, "unix seqpacket", "read $STATE/scratch/*"], none_of=PARSERS),
    "runner": Row("root", ALL_CAPABILITIES, ALL_CAPABILITIES, False, False, False, {"mnt"},
                  [*QUEUES, *STREAMS, LOG, "unix seqpacket", "both /memfd:request", "both /memfd:task.json",
                   "both /memfd:gateway.json", "* $STATE/server/tasks/$TASK/*", "read $STATE/runs",
                   "* $STATE/runs/$TASK-1*", "read user:*", "read $IMAGES/host-*", "both $STATE/layers/*.lock",
                   "read /",  # the top of the disk that a sandbox writes to
                   "both /run/codex/uid-ranges", "inet stream listener 127.0.0.1:6408[01]"],
                  only={*EVERYBODY, "libmd"}),
    "gateway": Row("nobody", NONE, NONE, True, True, True, {"ipc", "mnt", "pid"},
                   [*QUEUES, "both /dev/null", "read pipe", LOG, "unix seqpacket",
                    "both $STATE/server/tasks/$TASK/events-1.jsonl", "inet stream *"],
                   none_of={"libsqlite3", "libarchive", "libexpat", "libxml2"}),
    "codex-git fetch": Row("codex", NONE, NONE, True, False, False, {"cgroup", "ipc", "mnt", "pid", "uts"},
                           [*QUEUES, *STREAMS, "both /null", "both /memfd:access", "both /memfd:credentials",
                            "write $STATE/server/bundles/*$TASK*", "unix stream", "inet stream 127.0.0.1:*"],
                           only={*EVERYBODY, "libjansson", "libmd"}),
    "codex-git import": Row("nobody", NONE, NONE, True, False, False, {"cgroup", "ipc", "mnt", "net", "pid", "uts"},
                            [*QUEUES, *STREAMS, "both /null", "read $STATE/server/tasks/$TASK/*",
                             "both $STATE/server/tasks/$TASK/*", "write $STATE/server/tasks/$TASK/*"],
                            only={*EVERYBODY, "libjansson", "libmd"}),
    "codex-git push": Row("codex", NONE, NONE, True, False, False, {"cgroup", "ipc", "mnt", "pid", "uts"},
                          [*QUEUES, *STREAMS, "both /null", "both /memfd:access", "both /memfd:credentials",
                           "read $STATE/server/tasks/$TASK/*", "both $STATE/server/tasks/$TASK/push.bundle",
                           "unix stream", "inet stream 127.0.0.1:*"],
                          only={*EVERYBODY, "libjansson", "libmd"}),
    "codex-agent init": Row("sandbox's root", NONE, NONE, True, True, False, OWN_WORLD, [], only=set()),
    "codex-agent setup": Row("sandbox's root", INSTALLER, INSTALLER, True, True, False, OWN_WORLD,
                             [*QUEUES, *STREAMS, "read /memfd:task.json"], only=set()),
    "a command of set-up": Row("sandbox's root", INSTALLER, INSTALLER, True, True, False, OWN_WORLD, STREAMS),
    "codex-agent test": Row("sandbox's root", AGENT, AGENT, True, True, False, OWN_WORLD,
                            [*QUEUES, *STREAMS, "read /memfd:task.json", "both /memfd:nothing"], only=set()),
    "codex-agent run": Row("sandbox's root", AGENT, AGENT, True, True, False, OWN_WORLD,
                           [*QUEUES, *STREAMS, "read /memfd:task.json", "* /var/lib/codex*",
                            "inet stream 127.0.0.1:*"], only=set()),
    "a command of the task": Row("sandbox's codex", NONE, AGENT, True, True, False, OWN_WORLD, STREAMS),
    "a test of the task": Row("sandbox's codex", NONE, AGENT, True, True, False, OWN_WORLD, STREAMS),
}


# ---- one program beside its row

def identity(portrait):
    """Which of the names in the table the process has."""
    assert len(set(portrait.uids)) == 1 and len(set(portrait.gids)) == 1 and portrait.groups <= {portrait.gids[0]}, (
        portrait.uids, portrait.gids, portrait.groups)
    uid, gid = portrait.uids[0], portrait.gids[0]
    if uid >= FIRST_UID:
        assert uid == gid
        return {0: "sandbox's root", TASK_USER: "sandbox's codex"}[uid % RANGE]
    service = pwd.getpwnam("codex")
    return {(0, 0): "root", (NOBODY, NOBODY): "nobody", (service.pw_uid, service.pw_gid): "codex"}[uid, gid]


def is_one_of(patterns, file, task):
    return any(fnmatch.fnmatchcase(file, pattern.replace("$TASK", task)) for pattern in patterns)


def check(name, pid, codex, task):
    """The process PID is what the table says of the program NAME."""
    row, it = TABLE[name], Portrait(pid, {"$STATE": codex.state, "$HOME": codex.home, "$IMAGES": IMAGES})
    assert identity(it) == row.who, name
    assert it.capabilities == {"CapInh": 0, "CapAmb": 0, "CapPrm": row.capabilities, "CapEff": row.capabilities,
                    "CapBnd": row.bounding}, name
    assert (it.no_new_privs, it.seccomp) == (row.no_new_privs, 2 if row.seccomp else 0), name
    assert (it.owner != it.uids[0]) == row.closed, name
    assert it.namespaces == row.namespaces, name
    strange = {fd: file for fd, file in it.files.items() if not is_one_of(row.files, file, task)}
    assert not strange, f"{name}: {strange}"
    if row.only is not None and not (IS_SANITIZED and name.startswith("codex-agent")):
        assert it.libraries <= row.only | SANITIZERS, name
    assert not it.libraries & row.none_of, name
    return it


# ---- a task that is held wherever there is something to see

class Scene:
    """A codexd with one task of a remote repository; SEEN: {program: portrait}."""

    def __init__(self, directory):
        self.stops, self.family, self.codex, self.task = Stops(["fetch", "import", "push"]), None, None, "task-?"
        self.hold_model, self.model_asked, self.seen = threading.Event(), threading.Event(), {}
        repository = Repository(directory / "work", {"Makefile": "test:\n\tsleep 1002 || true\n"})
        (directory / "srv").mkdir()
        bare(repository, directory / "srv" / "it.git")
        self.git = GitServer(directory / "srv", hook=self.at_git_server)
        self.script = [[call("exec_command", {"cmd": "echo it >it; sleep 1003", "yield_time_ms": 250})], self.at_model]

    def at_git_server(self, *_):
        """Hold the requests of `codex-git fetch` and `push`, not those by which a submission is checked."""
        for pid, _ in self.family.roles()["codex-git"] if self.family else ():
            verb = snapshot_of(pid)[1:2]
            if verb in ([b"fetch"], [b"push"]):
                self.stops.arrive(verb[0].decode())

    def at_model(self, _):
        self.model_asked.set()
        self.hold_model.wait(60)
        return [message("Done.")]

    def look(self, name, pid):
        self.seen[name] = check(name, pid, self.codex, self.task)

    def in_sandbox(self, *argv):
        """The pid of a process with that command line."""
        def find():
            for process in snapshot().values():
                if process.argv == [word.encode() for word in argv] and self.family.cgroup in process.cgroups:
                    return process.pid
            return None
        return wait_for(find, what=" ".join(argv))

    def agent(self, step):
        return self.in_sandbox("/run/codex/codex-agent", step)

    def role(self, name):
        return wait_for(lambda: self.family.roles()[name], what=name)[0][0]

    def at(self, verb):
        """Look at a codex-git, and let it go."""
        stop = self.stops.next(60)
        assert stop.name == verb
        self.look(f"codex-git {verb}", self.role("codex-git"))
        stop.release()

    def play(self):
        submitted = subprocess.Popen([BUILD / "codex", "task", "Add it", "--setup", "sleep 1001 || true", "--repo",
                                      self.git.url("it.git")], env=self.codex.environment, stdout=subprocess.DEVNULL)
        stop = self.stops.next(60)
        assert submitted.wait(60) == 0
        self.task = self.codex.tasks()[0]["id"]
        self.stops.keep(stop)
        self.at("fetch")
        command = self.in_sandbox("sleep", "1001")
        self.look("a command of set-up", command)
        self.look("codex-agent setup", self.agent("setup"))
        kill(command)
        command = self.in_sandbox("sleep", "1002")
        self.look("a test of the task", command)
        self.look("codex-agent test", self.agent("test"))
        kill(command)
        assert self.model_asked.wait(60)
        self.look_at_work()
        self.hold_model.set()
        command = self.in_sandbox("sleep", "1002")  # of the verification, which has read its bundle
        with Files(self.stops) as files:
            files.at_read(self.codex.state / "server" / "tasks" / self.task / "work-1.bundle", "import")
            kill(command)
            self.at("import")
            self.at("push")
        return self.codex.wait(self.task)

    def end_commands(self):
        """After a failure the task would wait for them."""
        for process in snapshot().values():
            if process.argv[:1] == [b"sleep"] and self.family.cgroup in process.cgroups:
                kill(process.pid)

    def look_at_work(self):
        self.look("codexd", self.codex.server.pid)
        for name in ("spawner", "runner", "gateway"):
            self.look(name, self.role(name))
        self.look("codex-agent init", self.role("init"))
        self.look("codex-agent run", self.agent("run"))
        self.look("a command of the task", self.in_sandbox("sleep", "1003"))
        # Nothing of others that are nobody, too: codex-git with another task's work.
        gateway = self.role("gateway")
        assert [name for name in os.listdir(f"/proc/{gateway}/root/proc") if name.isdigit()] == ["1"]
        assert os.listdir(f"/proc/{gateway}/root/run/codex/private") == []
        for secret in (API_KEY, TOKEN):
            for name in ("agent", "init"):
                assert secret not in pathlib.Path(f"/proc/{self.role(name)}/environ").read_text()


def snapshot_of(pid):
    process = snapshot().get(pid)
    return process.argv if process else []


@pytest.mark.slow
def test_every_program_is_what_the_table_says(tmp_path):
    scene = Scene(tmp_path)
    with scene.git:
        forge = f'[forge "{scene.git.site}"]\nkind = plain\ntoken_env = FORGE_TOKEN\n'
        with codex_on(scene.script, forge, {"FORGE_TOKEN": TOKEN}) as (codex, _):
            scene.codex, scene.family = codex, Family(codex.state)
            try:
                done = scene.play()
            finally:
                scene.hold_model.set()
                scene.stops.release_all()
                scene.end_commands()
            assert done["state"] == "completed" and done["verdict"] == "passed", done
    assert scene.seen.keys() == TABLE.keys()
    # One sandbox is not another: set-up, tests and work had ids of their own.
    ranges = {scene.seen[name].uids[0] // RANGE for name in
              ("codex-agent setup", "codex-agent test", "codex-agent run")}
    assert len(ranges) == 3


# ---- what needs no task

def needed_by(program):
    out = subprocess.run(["readelf", "--dynamic", BUILD / program], check=True, capture_output=True, text=True).stdout
    return {match[1] for match in re.finditer(r"\(NEEDED\).*\[(.+?)\.so", out)}


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers bring libraries of their own")
def test_the_runner_links_nothing_that_reads_what_others_wrote():
    assert needed_by("codex-runner") == {"libc", "libmd"}
    assert needed_by("codex-agent") == set()
    assert "libsqlite3" in needed_by("codexd")  # that is how one that is linked looks


def test_the_table_is_the_documentations():
    text = (ROOT / "docs" / "threat-model.md").read_text()
    for name, row in TABLE.items():
        assert documented(name, row) in text, f"docs/threat-model.md lacks the line:\n{documented(name, row)}"


def documented(name, row):
    """ROW as a line of the page's table."""
    capabilities = {NONE: "none", ALL_CAPABILITIES: "all", AGENT: "SETUID, SETGID, KILL",
                    INSTALLER: "what installing packages needs"}
    bounding = "" if row.bounding == row.capabilities else f" (bounding set: {capabilities[row.bounding]})"
    namespaces = "all" if row.namespaces == OWN_WORLD else ", ".join(sorted(row.namespaces)) or "none"
    return (f"| {name} | {row.who} | {capabilities[row.capabilities]}{bounding} | {'yes' if row.no_new_privs else 'no'} | "
            f"{'yes' if row.seccomp else 'no'} | {'yes' if row.closed else 'no'} | {namespaces} |")


if __name__ == "__main__":  # prints the lines of the page
    for program, its_row in TABLE.items():
        print(documented(program, its_row))
