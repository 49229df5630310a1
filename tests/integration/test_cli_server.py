"""Starting a private codexd, `codex sandbox` and `codex doctor`: what `codex` does with the programs beside it.
They are scripts here: a double of codexd that serves the API or fails, and a codex-runner that tells how it was
called."""
import fcntl
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from support.cli import CODEX, Cli, one_line, wait_for
from support.codex import BUILD
from support.repository import Repository

SUPPORT = pathlib.Path(__file__).resolve().parent
SERVER = f"""#!{sys.executable}
import fcntl, json, os, pathlib, struct, sys, time
sys.path.insert(0, {str(SUPPORT)!r})
from support.api_double import ApiDouble
state = pathlib.Path(os.environ["CODEX_STATE_DIR"])
(state / "server").mkdir(exist_ok=True)
lock = open(state / "server/lock", "w")
try:
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit("codexd is already running here")
(state / "started.json").write_text(json.dumps({{
    "argv": sys.argv[1:], "session": os.getsid(0) == os.getpid(), "cwd": os.getcwd(),
    "stdin": os.readlink("/proc/self/fd/0"), "stdout": os.readlink("/proc/self/fd/1"), "key": os.environ.get("KEY"),
    "fds": sorted(os.listdir("/proc/self/fd"))[:3]}}))
time.sleep(0.3)
with ApiDouble(state / "codexd.sock"):
    print("serving", file=sys.stderr, flush=True)
    time.sleep(60)
"""
LOG_LINE = "2026-11-23T17:59:00.123Z level=error task=- msg=\"the state directory is of a newer version\""


class Installed(Cli):
    """`codex` copied into a directory of its own, with what a test puts beside it."""

    def __init__(self, **environment):
        super().__init__(CODEX_SOCKET="", **environment)
        self.bin = self.home / "bin"
        self.bin.mkdir()
        self.codex = self.bin / "codex"
        shutil.copy2(CODEX, self.codex)
        self.state = pathlib.Path(self.environment["CODEX_STATE_DIR"])
        self.repository = Repository(self.home / "demo", {"README": "x\n"})

    def beside(self, name, script):
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def codex_run(self, *arguments, **options):
        return self.run(*arguments, program=self.codex, **{"cwd": self.repository.path, **options})

    def server_pid(self):
        done = self.codex_run("doctor", "--server-pid")
        return int(done.stdout) if done.returncode == 0 else None

    def __exit__(self, *rest):
        if pid := self.server_pid():
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not self.server_pid(), 10, "the double of codexd has ended")
        super().__exit__(*rest)


@pytest.fixture(name="cli")
def fixture_cli():
    with Installed() as cli:
        cli.api.vanish(keep_socket=False)
        yield cli


def test_a_private_server_is_started_and_stays(cli):
    cli.beside("codexd", SERVER)
    done = cli.codex_run("task", "x", KEY="secret")
    assert (done.returncode, done.stdout) == (0, "task-new001\n"), done.stderr
    pid = cli.server_pid()
    assert done.stderr.splitlines()[0] == f"started codexd (process {pid}, log '{cli.state}/server/codexd.log')"
    started = json.loads((cli.state / "started.json").read_text())
    assert started == {"argv": [], "session": True, "cwd": "/", "stdin": "/dev/null", "key": "secret",
                       "stdout": f"{cli.state}/server/codexd.log", "fds": ["0", "1", "2"]}
    server = (cli.state / "server").stat()
    assert (pwd.getpwuid(server.st_uid).pw_name, server.st_mode & 0o777) == ("codex", 0o700)
    again = cli.codex_run("task", "x")
    assert again.returncode == 0 and "started" not in again.stderr
    assert cli.codex_run("list", "--json").returncode == 0 and cli.server_pid() == pid
    assert "serving" in (cli.state / "server/codexd.log").read_text()


def test_the_configuration_is_passed_on(cli):
    cli.beside("codexd", SERVER)
    config = cli.home / "codex.conf"
    config.write_text("[model]\nname = o3\n")
    assert cli.codex_run("task", "x", CODEX_CONFIG=str(config)).returncode == 0
    assert json.loads((cli.state / "started.json").read_text())["argv"] == ["--config", str(config)]


def test_many_at_once_get_one_server(cli):
    cli.beside("codexd", SERVER)
    results = []
    threads = [threading.Thread(target=lambda: results.append(cli.codex_run("task", "x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in results] == [0] * 8, [done.stderr for done in results]
    assert sum("started codexd" in done.stderr for done in results) == 1


@pytest.mark.parametrize("script, said", [
    (f"#!/bin/sh\necho older >&2\necho '{LOG_LINE}' >&2\nexit 1\n", "the state directory is of a newer version"),
    ("#!/bin/sh\necho 'codexd: cannot do it' >&2\nexit 1\n", "did not start: cannot do it"),
    ("#!/bin/sh\nexit 1\n", "it said nothing"),
    ("#!/bin/sh\nkill -9 $$\n", "it said nothing"),
    ("#!/nonexistent\n", "cannot run '")])
def test_a_server_that_does_not_start_says_why(cli, script, said):
    cli.beside("codexd", script)
    began = time.monotonic()
    done = cli.codex_run("task", "x")
    one_line(done, 5 if "cannot run" in said else 4, said)
    assert time.monotonic() - began < 10
    one_line(cli.codex_run("task", "x"), done.returncode, said)  # not what an earlier one said


def test_no_codexd_beside_it(cli):
    done = cli.codex_run("task", "x")
    one_line(done, 4, "cannot find the program codexd beside codex or in")


def test_reading_starts_nothing(cli):
    cli.beside("codexd", SERVER)
    for arguments in (["list"], ["status"], ["logs", "task-abc123"], ["cancel", "task-abc123"]):
        one_line(cli.codex_run(*arguments), 4, "no codexd answers at")
    assert not cli.state.exists()


def test_a_configured_socket_starts_nothing(cli):
    cli.beside("codexd", SERVER)
    config = cli.home / "codex.conf"
    config.write_text(f"[server]\nsocket = {cli.home}/other.sock\n")
    one_line(cli.codex_run("task", "x", CODEX_CONFIG=str(config)), 4, f"{cli.home}/other.sock")
    one_line(cli.codex_run("task", "x", CODEX_SOCKET=f"{cli.home}/third.sock"), 4, f"{cli.home}/third.sock")
    assert not cli.state.exists()


@pytest.mark.parametrize("trap", ["link", "fifo", "hard link", "directory"])
def test_the_log_is_not_opened_through_what_the_service_user_put_there(cli, trap):
    """server/ belongs to the user that codexd becomes; root appends to the log."""
    cli.beside("codexd", SERVER)
    target = cli.home / "shadow"
    target.write_text("root:*\n")
    log = cli.state / "server/codexd.log"
    log.parent.mkdir(parents=True)
    {"link": lambda: log.symlink_to(target), "fifo": lambda: os.mkfifo(log), "directory": log.mkdir,
     "hard link": lambda: os.link(target, log)}[trap]()
    one_line(cli.codex_run("task", "x"), 5, "cannot start codexd", str(log))
    assert target.read_text() == "root:*\n" and not (cli.state / "started.json").exists()


NOBODY = pwd.getpwnam("nobody")


def as_nobody(cli, *arguments, **environment):
    """Run the installed codex as uid 65534."""
    for path in (cli.home, cli.bin, cli.repository.path):
        path.chmod(0o755)
    return subprocess.run([cli.codex, *arguments], cwd=cli.home, env={**cli.environment, **environment}, check=False,
                          user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], capture_output=True, text=True)


def test_without_root_it_says_what_to_do(cli):
    """An ordinary user's own server needs ids that root gives."""
    for name in ("codexd", "codex-runner"):
        (cli.bin / name).symlink_to(BUILD / name)
    os.chown(cli.home, NOBODY.pw_uid, NOBODY.pw_gid)
    done = as_nobody(cli, "task", "x", "--repo", str(cli.repository.path))
    one_line(done, 4, "codexd did not start", "subordinate ids", "usermod --add-subuids")
    done = as_nobody(cli, "sandbox", "--", "true")
    one_line(done, 125, "sandboxes without root need 65536 subordinate ids", "or run this as root")


def test_a_socket_that_one_may_not_use(cli):
    cli.api.start()
    os.chmod(cli.api.path, 0o660)
    one_line(as_nobody(cli, "list", CODEX_SOCKET=cli.api.path), 5, "you may not use the codexd at", "usermod -aG codex")


def as_member(cli, *arguments):
    """As uid 65534, who names no state directory, where the machine's server is our double (in a mount namespace)."""
    script = ("mount -t tmpfs none /var/lib && mkdir /var/lib/codex && touch /var/lib/codex/codexd.sock && "
              "mount --bind \"$0\" /var/lib/codex/codexd.sock && "
              "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"")
    environment = {name: value for name, value in cli.environment.items() if name != "CODEX_STATE_DIR"}
    return subprocess.run(["unshare", "--mount", "sh", "-c", script, cli.api.path, cli.codex, *arguments],
                          cwd=cli.home, env=environment, check=False, capture_output=True, text=True)


def test_the_machines_server_serves_who_has_none(cli):
    cli.api.start()
    os.chmod(cli.api.path, 0o666)
    done = as_member(cli, "list", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    found = checks(as_member(cli, "doctor", "--json"))
    assert found["server"]["status"] == "ok" and "state directory" not in found  # the server's own matter
    os.chmod(cli.api.path, 0o600)
    one_line(as_member(cli, "list"), 5, "you may not use the codexd at '/var/lib/codex/codexd.sock'")


RUNNER = """#!/bin/bash
printf '%s\\n' "$@" >"$HOME/arguments"
readlink /proc/$$/fd/0 >>"$HOME/arguments"
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def test_sandbox_becomes_the_runner(cli):
    cli.beside("codex-runner", RUNNER)
    done = cli.codex_run("sandbox", "--write", "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin="in put\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in put\n", "err\n")
    arguments = (cli.home / "arguments").read_text().splitlines()
    at = arguments.index("--")
    options = arguments[:at]
    assert options[:4] == ["--sandbox", "--write", "--workdir", str(cli.repository.path)]
    assert options[options.index("--state") + 1] == str(cli.state)
    assert options[options.index("--images") + 1] == f"{cli.state}/images"
    assert options[options.index("--runtime") + 1] == "crun"
    assert arguments[at + 1:at + 4] == ["sh", "-c", "cat; echo err >&2; exit 7"]


def test_sandbox_reads_its_part_of_the_configuration(cli):
    cli.beside("codex-runner", RUNNER)
    config = cli.home / "codex.conf"
    config.write_text("[sandbox]\nmemory = 3G\ncpus = 1.5\npids = 99\nimages = /srv/images\nruntime = /opt/crun\n")
    assert cli.codex_run("sandbox", "true", CODEX_CONFIG=str(config)).returncode == 0
    arguments = (cli.home / "arguments").read_text().splitlines()
    for option, value in (("--memory", "3072M"), ("--cpus", "1.500"), ("--pids", "99"), ("--images", "/srv/images"),
                          ("--runtime", "/opt/crun")):
        assert arguments[arguments.index(option) + 1] == value
    assert "--write" not in arguments
    config.write_text("[sandbox]\nmemory = lots\n")
    one_line(cli.codex_run("sandbox", "true", CODEX_CONFIG=str(config)), 2, f"{config}:2")


def test_sandbox_options_end_at_the_command(cli):
    cli.beside("codex-runner", RUNNER)
    assert cli.codex_run("sandbox", "echo", "--write", "-n", "--json").stdout == "--write -n --json\n"
    assert cli.codex_run("sandbox", "--", "echo", "--", "x").stdout == "-- x\n"


def test_sandbox_json_ends_with_the_exit_status(cli):
    cli.beside("codex-runner", RUNNER)
    done = cli.codex_run("sandbox", "--json", "--", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, 'out\n{"exit_code":3}\n')
    done = cli.codex_run("sandbox", "--json", "--", "sh", "-c", "kill -9 $$")
    assert (done.returncode, done.stdout) == (137, '{"exit_code":137}\n')


def test_sandbox_without_a_runner(cli):
    one_line(cli.codex_run("sandbox", "true"), 125, "cannot find the program codex-runner")


def checks(done):
    return {check["check"]: check for check in json.loads(done.stdout)}


def test_doctor_finds_this_machine_fit(cli):
    for name in ("codex-runner", "codex-agent", "codex-gateway"):
        (cli.bin / name).symlink_to(BUILD / name)
    done = cli.codex_run("doctor", "--json")
    found = checks(done)
    for name in ("kernel", "user namespaces", "git", "configuration", "service user", "subuids", "state directory", "disk",
                 "server", "model", "runtime", "cgroups", "limits", "image", "disk limit", "idmapped mounts", "overlay", "command",
                 "toolchain"):
        assert set(found[name]) == {"check", "status", "detail", "remedy"}
        assert found[name]["status"] in ("ok", "warn", "fail")
    assert all(check["remedy"] for check in found.values() if check["status"] == "fail")
    assert {name for name, check in found.items() if check["status"] == "fail"} == {"model"}  # there is no configuration
    text = cli.codex_run("doctor")
    assert text.returncode == done.returncode == 1
    assert f"ok    kernel            {found['kernel']['detail']}\n" in text.stdout and text.stderr == ""
    assert "FAIL  model             no model is configured\n                        -> set name and provider" in text.stdout
    assert not cli.state.exists()  # looking changes nothing
    config = cli.home / "codex.conf"
    config.write_text("[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:9/v1\n")
    assert cli.codex_run("doctor", CODEX_CONFIG=str(config)).returncode == 0


def test_doctor_without_the_other_programs(cli):
    found = checks(cli.codex_run("doctor", "--json"))
    assert found["machine"]["status"] == "fail" and "cannot find the program codex-runner" in found["machine"]["detail"]


def test_doctor_asks_the_server(cli):
    cli.api.doctor = [{"check": "model key", "status": "fail", "detail": "no key for 'openai'",
                       "remedy": "set\nOPENAI\x1b[2J"},
                      {"check": "image", "status": "warn", "detail": "not made", "remedy": "wait"},
                      {"check": "provider", "status": "ok", "detail": "http://x answers", "remedy": None}]
    cli.api.start()
    done = cli.codex_run("doctor", CODEX_SOCKET=cli.api.path)
    assert done.returncode == 1
    assert "FAIL  model key         no key for 'openai'\n                        -> set..." in done.stdout
    assert "warn  image             not made\n                        -> wait\n" in done.stdout
    assert "ok    provider          http://x answers" in done.stdout and "\x1b" not in done.stdout
    assert f"ok    server            version 0.1.0 answers at '{cli.api.path}'" in done.stdout
    assert [(method, target) for method, target, _, _ in cli.api.requests if "doctor" in target] == [("POST", "/v1/doctor")]
    cli.api.doctor = []
    cli.codex_run("doctor", "--offline", CODEX_SOCKET=cli.api.path)
    assert cli.api.requests[-1][:2] == ("GET", "/v1/doctor")


def test_doctor_compares_versions(cli):
    cli.api.version = "0.0.9"
    cli.api.start()
    found = checks(cli.codex_run("doctor", "--json", CODEX_SOCKET=cli.api.path))
    assert found["server"]["status"] == "warn" and "restart codexd" in found["server"]["remedy"]
    assert "version 0.0.9" in found["server"]["detail"] and "codex 0.1.0" in found["server"]["detail"]


def test_doctor_offers_the_key_that_the_shell_has(cli):
    cli.api.doctor = [{"check": "model", "status": "fail", "detail": "no key", "remedy": "codex secret set THE_KEY",
                       "env_key": "THE_KEY"}]
    cli.api.start()
    done = cli.codex_run("doctor", CODEX_SOCKET=cli.api.path, THE_KEY="sk-secret")
    assert "-> printenv THE_KEY | codex secret set THE_KEY\n" in done.stdout and "sk-secret" not in done.stdout
    assert "-> codex secret set THE_KEY\n" in cli.codex_run("doctor", CODEX_SOCKET=cli.api.path).stdout
    assert all(b"sk-secret" not in body for _, _, _, body in cli.api.requests)


def test_doctor_names_trouble_and_remedies(cli):
    config = cli.home / "codex.conf"
    config.write_text("[server]\nuser = nobody-has-this\n[sandbox]\nruntime = no-such-crun\n")
    (cli.bin / "codex-runner").symlink_to(BUILD / "codex-runner")
    closed = cli.home / "closed"
    closed.mkdir(mode=0o700)
    found = checks(cli.codex_run("doctor", "--json", CODEX_CONFIG=str(config), CODEX_STATE_DIR=f"{closed}/state",
                                 CODEX_SOCKET=f"{cli.home}/none.sock"))
    for name, detail, remedy in (("runtime", "no-such-crun", "apt-get install crun"),
                                 ("service user", "nobody-has-this", "useradd --system"),
                                 ("state directory", f"cannot pass '{closed}'", f"chmod o+x '{closed}'"),
                                 ("server", "no codexd answers", "codexd --config FILE")):
        assert found[name]["status"] == "fail"
        assert detail in found[name]["detail"] and remedy in found[name]["remedy"]
    config.write_text("[server]\nnonsense\n")
    done = cli.codex_run("doctor", "--json", CODEX_CONFIG=str(config))
    assert f"{config}:2" in checks(done)["configuration"]["detail"] and done.returncode == 1


def test_doctor_tries_whether_the_user_comes_to_the_state(cli):
    """Others may pass, and still he may not: an access control list tells him apart. A group does it here."""
    closed = cli.home / "closed"
    closed.mkdir()
    os.chown(closed, 0, pwd.getpwnam("codex").pw_gid)
    closed.chmod(0o705)  # his group is what he is denied by
    found = checks(cli.codex_run("doctor", "--json", CODEX_STATE_DIR=f"{closed}/state"))
    assert found["state directory"]["status"] == "fail" and str(closed) in found["state directory"]["detail"]
    closed.chmod(0o755)
    assert checks(cli.codex_run("doctor", "--json", CODEX_STATE_DIR=f"{closed}/state"))["state directory"]["status"] == "ok"


def on_a_disk(cli, options):
    """The doctor of a state directory on a small file system, in a mount namespace of its own."""
    disk = cli.home / "disk"
    disk.mkdir()
    script = f"mount -t tmpfs -o mode=755,{options} tmpfs '{disk}' && exec \"$@\""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "-", cli.codex, "doctor", "--json"], check=False,
                          env={**cli.environment, "CODEX_STATE_DIR": str(disk)}, capture_output=True, text=True)
    disk.rmdir()
    return checks(done)["disk"]


def test_doctor_sees_a_full_disk(cli):
    found = on_a_disk(cli, "size=60m")
    assert found["status"] == "fail" and "only 60.0 MiB free" in found["detail"] and found["remedy"] == "make room there"


def test_doctor_sees_that_inodes_run_out(cli):
    found = on_a_disk(cli, "size=8g,nr_inodes=1000")
    assert found["status"] == "fail" and "room for only 999 more files" in found["detail"]


def test_doctor_knows_which_git_is_too_old(cli):
    other = cli.home / "other"
    other.mkdir()
    for version, status in (("2.35.8", "fail"), ("2.36.0", "ok"), ("3.0.1", "ok")):
        (other / "git").write_text(f"#!/bin/sh\necho git version {version}\n")
        (other / "git").chmod(0o755)
        found = checks(cli.codex_run("doctor", "--json", PATH=f"{other}:{os.environ['PATH']}"))
        assert found["git"]["status"] == status and version in found["git"]["detail"]
    (other / "git").write_text("#!/bin/sh\nexit 1\n")
    assert checks(cli.codex_run("doctor", "--json", PATH=f"{other}:{os.environ['PATH']}"))["git"]["status"] == "fail"


def test_doctor_sees_other_programs_on_path(cli):
    other = cli.home / "node_modules" / "other"
    other.mkdir(parents=True)
    for name in ("codex", "node"):
        (other / name).write_text("#!/bin/sh\n")
        (other / name).chmod(0o755)
    found = json.loads(cli.codex_run("doctor", "--json", PATH=f"{other}:{cli.bin}:{os.environ['PATH']}").stdout)
    command, = [check for check in found if check["check"] == "command"]
    assert command["status"] == "warn" and f"(npm's): '{other}/codex'" in command["detail"] and command["remedy"]
    outside = [check["detail"] for check in found if check["check"] == "toolchain"]
    assert any(f"'{other}/node' is not in sandboxes" in detail for detail in outside)
    found = checks(cli.codex_run("doctor", "--json", PATH=f"{cli.bin}:{other}:/usr/bin:/bin"))
    assert found["command"]["status"] == "ok"


def test_doctor_without_root(cli):
    found = checks(as_nobody(cli, "doctor", "--json", CODEX_SOCKET=f"{cli.home}/of-others.sock"))
    assert "idmapped mounts" not in found and found["runtime"]["status"] == found["overlay"]["status"] == "ok"
    assert found["server"]["status"] == "fail" and "no codexd answers" in found["server"]["detail"]
    assert found["group"]["status"] == "warn" and "usermod -aG" in found["group"]["remedy"]
    # With a server of one's own in mind, what that would need.
    (cli.bin / "codex-runner").symlink_to(BUILD / "codex-runner")
    found = checks(as_nobody(cli, "doctor", "--json"))
    assert found["server"]["status"] == found["service user"]["status"] == "ok" and "group" not in found
    assert found["machine"]["status"] == "fail" and "subordinate ids" in found["machine"]["detail"]


def test_doctor_tells_the_server_process(cli):
    one_line(cli.codex_run("doctor", "--server-pid"), 4, "no codexd serves", str(cli.state))
    (cli.state / "server").mkdir(parents=True)
    with open(cli.state / "server/lock", "w", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        assert int(cli.codex_run("doctor", "--server-pid").stdout) == os.getpid()


def test_bash_completes(cli):
    script = pathlib.Path(__file__).resolve().parents[2] / "packaging/completions/codex"
    cli.api.start()
    cli.api.add("task-abc123")
    for line, expected in (("codex sta", ["status"]), ("codex task --ef", ["--effort"]),
                           ("codex logs task-", ["task-abc123"]),
                           ("codex secret ", ["set", "list", "rm"]),
                           ("codex task --effort ", ["low", "medium", "high", "xhigh"])):
        words = line.split(" ")
        command = (f"source {script}; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
                   f"COMP_CWORD={len(words) - 1}; _codex; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True,
                              env={**cli.environment, "PATH": f"{cli.bin}:{os.environ['PATH']}",
                                   "CODEX_SOCKET": cli.api.path})
        assert done.stdout.split() == expected and done.stderr == ""
