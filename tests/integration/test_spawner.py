"""The spawner's messages, codex-git's cage, and what survives whom."""
import ctypes
import fcntl
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import time

import pytest

from support.codex import wait_for
from support.sandbox import Sandbox
from support.spawner import (AS_SUBMITTER, CANCEL, CANCELLED, CHECK, DONE, FAILED, FAULTS, GATEWAY, GIT, GIT_END, GIT_ENDED,
                             GOOD, ISOLATED, MAGIC, MIRROR_FD, REMOTE, RUN, RUN_ENDED, Message, Spawner, Task, memfd)


@pytest.fixture(name="spawner")
def fixture_spawner():
    with Spawner() as spawner:
        yield spawner


def git_message(code, *arguments, number=1, as_=ISOLATED, uid=0, timeout_ms=30000, fd_numbers=(), repository="/"):
    message = Message(magic=MAGIC, type=GIT)
    git = message.body.git
    git.id, git.as_, git.uid, git.timeout_ms = number, as_, uid, timeout_ms
    git.argc = 1 + len(arguments)
    args = b"".join(argument.encode() + b"\0" for argument in (code, *arguments))
    ctypes.memmove(git.args, args, len(args))
    git.fds_count = len(fd_numbers)
    for index, fd_number in enumerate(fd_numbers):
        git.fd_numbers[index] = fd_number
    git.repository = str(repository).encode()
    return message


def run_git(spawner, code, *arguments, **options):
    """Returns (exit status or -signal, what it wrote to 1 and 2)."""
    reader, writer = os.pipe()
    spawner.send(git_message(code, *arguments, fd_numbers=(1, 2), **options), [writer, os.dup(writer)])
    os.close(writer)
    report = spawner.receive(GIT_ENDED)
    with os.fdopen(reader) as pipe:
        os.set_blocking(reader, False)
        out = pipe.read()
    return os.waitstatus_to_exitcode(report.wait_status), out


WHO = """
import os
status = open("/proc/self/status").read()
print(os.getresuid(), os.getresgid(), os.getgroups())
print(*[line.split()[1] for line in status.splitlines() if line.startswith(("Cap", "NoNewPrivs"))])
try: os.setuid(0); print("root again", [l for l in open("/proc/self/status") if l.startswith("CapEff")])
except OSError as e: print(e.strerror)
print(os.getpid(), sorted(map(int, os.listdir("/proc/self/fd")))[:3], dict(os.environ) and sorted(os.environ))
"""
NO_CAPABILITY = " ".join(["0" * 16] * 5) + " 1"


def test_isolated_git_is_nobody_in_a_cage(spawner):
    status, out = run_git(spawner, WHO + """
import socket
print(os.getcwd(), os.listdir("."), sorted(os.listdir("/")))
open("scratch", "w").write("x"); print(open("scratch").read())
for path in ("/etc/shadow", "/var/lib", "/home", "/root", "/etc/passwd", "/codex-git", "/usr/x", "/x"):
    try: open(path, "a"); print("opened", path)
    except OSError as e: print(path, e.strerror)
print([name for _, name in socket.if_nameindex()])
try: socket.create_connection(("127.0.0.1", 22), 2)
except OSError as e: print(e.strerror)
print(open("/proc/mounts").read().count(os.sep + "work"), len([p for p in os.listdir("/proc") if p.isdigit()]))
os.symlink("/etc", "link"); os.mkdir("d", 0); os.mkfifo("fifo")
""")
    assert status == 0, out
    lines = out.splitlines()
    assert lines[0] == "(65534, 65534, 65534) (65534, 65534, 65534) []"
    assert lines[1] == NO_CAPABILITY
    assert lines[2] == "Operation not permitted"
    assert lines[3].startswith("1 [0, 1, 2]") and lines[3].endswith("['HOME', 'LANG', 'PATH']")
    assert lines[4].startswith("/tmp [] ['bin', 'codex-git', 'dev', 'etc', 'lib',")
    assert lines[5] == "x"
    for line in lines[6:14]:
        assert "opened" not in line
    assert lines[14] == "['lo']"
    assert lines[15] == "Network is unreachable"
    assert lines[16] == "0 1"
    assert len(list((spawner.state / "scratch").glob("*/*"))) == 0


def run_remote(spawner, code, mirror, **options):
    """codex-git with a remote repository, as uid 1234; MIRROR: a directory."""
    reader, writer = os.pipe()
    fd = os.open(mirror, os.O_RDONLY | os.O_DIRECTORY)
    message = git_message(code, fd_numbers=(1, 2, MIRROR_FD), as_=REMOTE, uid=1234, **options)
    spawner.send(message, [writer, os.dup(writer), fd])
    os.close(writer)
    os.close(fd)
    report = spawner.receive(GIT_ENDED)
    with os.fdopen(reader) as pipe:
        os.set_blocking(reader, False)
        return os.waitstatus_to_exitcode(report.wait_status), pipe.read()


def test_git_with_a_remote_sees_its_mirror_and_the_network(spawner):
    mirror = spawner.home / "mirror"
    mirror.mkdir(mode=0o700)
    os.chown(mirror, 1234, 1234)
    # Another task's mirror, and what is beside them.
    (spawner.home / "other").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        status, out = run_remote(spawner, WHO + f"""
import socket
print(os.getcwd(), os.listdir("."), sorted(os.listdir("/")), sorted(os.listdir("/etc")), sorted(os.listdir("/run")))
open("/mirror/new", "w").write("x"); open("/run/secret", "w").write("x"); open("/tmp/scratch", "w").write("x")
for path in ("/etc/shadow", "/var", "/home", "/root", "/etc/passwd", "/codex-git", "/usr/x", "/x", "/etc/ssl/x",
             "/etc/hosts", "{spawner.home}/other/x", "/mirror/../other"):
    try: open(path, "a"); print("opened", path)
    except OSError as e: print(path, e.strerror)
socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5).close()
import pwd; print(pwd.getpwuid(os.getuid()).pw_dir)
print(len([p for p in os.listdir("/proc") if p.isdigit()]), sorted(map(int, os.listdir("/proc/self/fd"))))
""", mirror)
    assert status == 0, out
    lines = out.splitlines()
    assert lines[0].startswith("(1234, 1234, 1234)") and lines[0].endswith(" []") and lines[1] == NO_CAPABILITY
    assert lines[2] == "Operation not permitted"
    assert "'mirror', 'proc', 'run', 'sbin', 'tmp', 'usr']" in lines[4] and lines[4].endswith("[]")
    assert "'passwd'" in lines[4] and "'shadow'" not in lines[4]
    assert not any("opened" in line for line in lines[5:]), out
    assert lines[-2] == "/tmp" and lines[-1].startswith("1 ") and str(MIRROR_FD) not in lines[-1]
    assert [path.name for path in mirror.iterdir()] == ["new"]
    assert not list((spawner.state / "scratch").glob("*/*"))


def test_a_mirror_is_the_directory_that_was_opened(spawner):
    """Not what has come into its place, nor a file, nor a mere name."""
    mirror = spawner.home / "mirror"
    mirror.mkdir()
    fd = os.open(mirror, os.O_RDONLY | os.O_DIRECTORY)
    mirror.rename(spawner.home / "moved")
    (spawner.home / "mirror").symlink_to("/etc")
    os.rename(spawner.home / "moved", spawner.home / "again")
    spawner.send(git_message("pass", fd_numbers=(MIRROR_FD,), as_=REMOTE, uid=1234), [fd])
    assert os.waitstatus_to_exitcode(spawner.receive(GIT_ENDED).wait_status) == 0  # it is found where it is now
    os.rmdir(spawner.home / "again")
    spawner.send(git_message("pass", fd_numbers=(MIRROR_FD,), as_=REMOTE, uid=1234), [fd])
    spawner.receive(FAILED)
    os.close(fd)


@pytest.mark.parametrize("kind", ["none", "file", "path", "second"])
def test_what_is_no_mirror_closes_the_connection(spawner, kind):
    (spawner.home / "file").touch()
    fds = {"none": [], "file": [os.open(spawner.home / "file", os.O_RDONLY)],
           "path": [os.open(spawner.home, os.O_PATH)],
           "second": [os.open(spawner.home, os.O_RDONLY), os.open(spawner.home, os.O_RDONLY)]}[kind]
    numbers = (MIRROR_FD, 4)[:len(fds)]
    spawner.send(git_message("pass", fd_numbers=numbers, as_=REMOTE, uid=1234), fds)
    for fd in fds:
        os.close(fd)
    assert spawner.is_closed()


def test_git_works_in_its_cage(spawner):
    status, out = run_git(spawner, """
import subprocess
def git(*words, **options):
    done = subprocess.run(["git", *words], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
git("init", "--quiet", "--bare", "r.git")
blob = git("-C", "r.git", "hash-object", "-w", "--stdin", input="text")
tree = git("-C", "r.git", "mktree", input=f"100644 blob {blob}\\tname\\n")
commit = git("-C", "r.git", "-c", "user.name=T", "-c", "user.email=t@t", "commit-tree", "-m", "one", tree)
git("-C", "r.git", "update-ref", "refs/heads/main", commit)
git("-C", "r.git", "bundle", "create", "/tmp/b", "main")
git("clone", "--quiet", "--bare", "/tmp/b", "again.git")
print(git("-C", "again.git", "log", "--format=%s", "main"))
""")
    assert (status, out) == (0, "one\n"), out


def test_git_gets_just_its_descriptors_and_arguments(spawner):
    data = os.memfd_create("in")
    os.write(data, b"bundle")
    reader, writer = os.pipe()
    code = ("import os, sys; os.write(5, repr((sys.argv[2:], os.pread(3, 9, 0), [fd for fd in range(16) "
            "if os.path.exists(f'/proc/self/fd/{fd}')])).encode())")
    spawner.send(git_message(code, "--commit", "a b;$(x)\n", "", fd_numbers=(3, 5)), [data, writer])
    os.close(writer)
    os.close(data)
    assert spawner.receive(GIT_ENDED).wait_status == 0
    assert os.read(reader, 4096).decode() == repr((["--commit", "a b;$(x)\n", ""], b"bundle", [0, 1, 2, 3, 5]))
    os.close(reader)


def test_the_submitter_is_himself_with_his_groups(spawner):
    user = subprocess.run(["id", "-u", "games"], capture_output=True, text=True, check=True).stdout.strip()
    status, out = run_git(spawner, WHO, as_=AS_SUBMITTER, uid=int(user), repository="/tmp")
    assert status == 0, out
    groups = sorted(int(g) for g in subprocess.run(["id", "-G", "games"], capture_output=True, text=True,
                                                   check=True).stdout.split())
    lines = out.splitlines()
    assert lines[0].startswith(f"({user}, {user}, {user}) ")
    assert sorted(eval(lines[0].partition(") (")[2].partition(") ")[2])) == groups  # pylint: disable=eval-used
    assert lines[1] == NO_CAPABILITY
    assert lines[2] == "Operation not permitted"


def test_a_repository_of_somebody_is_handled_as_him_for_root(spawner):
    repository = spawner.home / "repository"
    repository.mkdir()
    os.chown(repository, 4242, 4343)
    status, out = run_git(spawner, WHO, as_=AS_SUBMITTER, uid=0, repository=repository)
    assert status == 0, out
    assert out.splitlines()[0] == "(4242, 4242, 4242) (4343, 4343, 4343) []"


def test_roots_own_repository_is_handled_without_a_capability(spawner):
    status, out = run_git(spawner, WHO + """
try: open("/etc/shadow"); print("read a file of shadow's group")
except OSError as e: print(e.strerror)
try: os.chown("/proc/self/fd/1", 1, 1); print("chown")
except OSError as e: print(e.strerror)
""", as_=AS_SUBMITTER, uid=0, repository="/root")
    assert status == 0, out
    lines = out.splitlines()
    assert lines[0].startswith("(0, 0, 0) (0, 0, 0)")
    assert lines[1] == NO_CAPABILITY
    assert "0000000000000000" in lines[2]
    assert lines[-1] == "Operation not permitted"


def test_a_missing_repository_is_said(spawner):
    spawner.send(git_message("pass", as_=AS_SUBMITTER, uid=0, repository="/nonexistent"))
    report = spawner.receive(FAILED)
    assert (report.id, report.message) == (1, b"cannot open '/nonexistent': No such file or directory")


SECONDS = f"{1000000 + os.getpid()}"  # nobody else's: these tests run side by side
TREE = (f"import subprocess, time; subprocess.Popen(['setsid', 'sleep', '{SECONDS}']); "
        "import os; os.write(1, b'up'); time.sleep(1000)")


def sleepers():
    """The processes that TREE has put into the background."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{SECONDS}\0".encode():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("as_", [ISOLATED, AS_SUBMITTER])
def test_a_git_that_takes_too_long_is_killed_with_its_tree(spawner, as_):
    status, out = run_git(spawner, TREE, timeout_ms=1000, as_=as_)
    assert (status, out) == (-signal.SIGKILL, "up")
    assert sleepers() == []


def test_a_git_that_is_no_longer_wanted_is_killed(spawner):
    reader, writer = os.pipe()
    spawner.send(git_message(TREE, fd_numbers=(1,), number=7), [writer])
    os.close(writer)
    assert os.read(reader, 2) == b"up"
    end = Message(magic=MAGIC, type=GIT_END)
    end.body.git.id = 7
    spawner.send(end)
    report = spawner.receive(GIT_ENDED)
    assert (report.id, report.wait_status) == (7, signal.SIGKILL)
    os.close(reader)
    assert sleepers() == []


def test_a_git_program_that_is_missing_is_said():
    with Spawner("/nonexistent/codex-git") as spawner:
        spawner.send(git_message("pass", as_=AS_SUBMITTER))
        assert b"cannot run" in spawner.receive(FAILED).message


def good_run():
    message = Message(magic=MAGIC, type=RUN)
    run = message.body.run
    run.name.task, run.name.turn, run.name.attempt, run.name.run = b"task-abc123", 1, 1, 1
    run.limits.memory_bytes, run.limits.pids = 1 << 30, 256
    run.limits.timeout_ms = run.limits.test_timeout_ms = 1000
    run.limits.archive_bytes = 1 << 20
    run.repo = b"demo"
    run.layer = b"a" * 64
    return message


def broken(change, make=good_run):
    message = make()
    change(message)
    return message


def set_run(path, value):
    def change(message):
        target = message.body.run
        *parents, last = path.split(".")
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)
    return lambda: broken(change)


def set_git(name, value):
    return lambda: broken(lambda message: setattr(message.body.git, name, value), lambda: git_message("pass"))


MALFORMED = {
    "short": lambda: b"x",
    "cut": lambda: bytes(good_run())[:-1],
    "magic": lambda: broken(lambda m: setattr(m, "magic", 1)),
    "type": lambda: broken(lambda m: setattr(m, "type", 9)),
    "report type": lambda: broken(lambda m: setattr(m, "type", RUN_ENDED)),
    "task": set_run("name.task", b"task-../../x"), "task case": set_run("name.task", b"task-ABC123"),
    "task long": set_run("name.task", b"task-" + b"a" * 27), "task prefix": set_run("name.task", b"abc123"),
    "attempt 0": set_run("name.attempt", 0), "run 0": set_run("name.run", 0), "flags": set_run("flags", 4),
    "memory": set_run("limits.memory_bytes", 0), "memory high": set_run("limits.memory_bytes", 1 << 63),
    "pids": set_run("limits.pids", 0), "cpu": set_run("limits.cpu_milli", 1 << 30),
    "timeout": set_run("limits.timeout_ms", -1), "timeout long": set_run("limits.timeout_ms", 1 << 60),
    "test timeout": set_run("limits.test_timeout_ms", 0), "archive": set_run("limits.archive_bytes", 0),
    "rounds": set_run("verify_rounds", 1 << 31), "baseline": set_run("baseline_status", 1000),
    "repo empty": set_run("repo", b""), "repo dots": set_run("repo", b".."), "repo slash": set_run("repo", b"a/b"),
    "repo control": set_run("repo", b"a\nb"), "repo long": set_run("repo", b"a" * 128),
    "as": set_git("as_", 3), "remote as root": set_git("as_", 2), "argc": set_git("argc", 0), "argc high": set_git("argc", 1000),
    "git timeout": set_git("timeout_ms", 0), "fds": set_git("fds_count", 2), "fds high": set_git("fds_count", 9),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_message_closes_the_connection(spawner, name):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(6)]
    message = bytes(MALFORMED[name]())
    is_git = len(message) == ctypes.sizeof(Message) and Message.from_buffer_copy(message).type == GIT
    spawner.send(message, [] if is_git else fds)
    for fd in fds:
        os.close(fd)
    assert spawner.is_closed()
    assert spawner.process.wait(timeout=30) == 0
    assert "closing the connection to codexd" in spawner.log.read_text()


@pytest.mark.parametrize("count", [0, 5, 7])
def test_the_wrong_number_of_descriptors_closes_the_connection(spawner, count):
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    spawner.send(good_run(), fds)
    for fd in fds:
        os.close(fd)
    assert spawner.is_closed()


def run_with(spawner, number, fd):
    """A run whose descriptor NUMBER is FD."""
    task = Task(spawner, GOOD, replay=True)
    task.run = 1
    fds = task.open_fds(replay=True)
    os.close(fds[number])
    fds[number] = fd
    spawner.send(task.message(replay=True), fds)
    for each in fds:
        os.close(each)


@pytest.mark.parametrize("number", range(9))
def test_a_path_is_no_open_file(spawner, number):
    # Who may only name a file can open it so; root, who opens it anew for a step, must not do it for him.
    secret = spawner.home / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    run_with(spawner, number, os.open(secret, os.O_PATH))
    assert spawner.is_closed()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def wrong_files(directory):
    """Descriptors that are not what their place in a run is for: (number, descriptor)."""
    def file(flags):
        return os.open(directory / "file", flags | os.O_CREAT, 0o644)
    yield from ((number, os.pipe()[0]) for number in range(9))
    yield from ((number, os.open(directory, os.O_RDONLY)) for number in range(9))
    yield from ((number, os.open("/dev/zero", os.O_RDWR)) for number in range(9))
    yield from ((number, file(os.O_RDWR)) for number in (0, 1, 5, 8))  # may change later; is not appended to
    yield from ((number, file(os.O_WRONLY)) for number in (2, 3, 5, 6, 7))
    yield from ((number, file(os.O_RDONLY)) for number in (3, 4, 5, 6, 7))


def test_descriptors_of_the_wrong_kind_close_the_connection(spawner):
    for number, fd in wrong_files(spawner.home):
        run_with(spawner, number, fd)
        assert spawner.is_closed(), number
        spawner.start_spawner()
    assert not list(spawner.state.glob("runs/*"))


def test_the_mode_of_what_codexd_hands_over_is_never_changed(spawner):
    # It may be a file that codexd can read and others shall not.
    task = Task(spawner, GOOD)
    task.run = 1
    (task.directory / "base.bundle").chmod(0o640)
    task.complete()
    assert task.ended()["fault"] == FAULTS.index("platform")
    assert stat.S_IMODE((task.directory / "base.bundle").stat().st_mode) == 0o640


@pytest.mark.parametrize("make", [lambda home: os.open(home, os.O_PATH), lambda home: os.open(home, os.O_RDONLY),
                                  lambda home: os.open("/dev/zero", os.O_RDWR)], ids=["path", "directory", "device"])
def test_git_is_given_files_and_pipes_only(spawner, make):
    fd = make(spawner.home)
    spawner.send(git_message("pass", fd_numbers=(3,)), [fd])
    os.close(fd)
    assert spawner.is_closed()


def test_cancelling_what_does_not_run_is_said(spawner):
    message = Message(magic=MAGIC, type=CANCEL)
    message.body.cancel = good_run().body.run.name
    spawner.send(message)
    assert spawner.receive(FAILED).message == b"nobody executes this run"


def test_a_run_outlives_codexd_and_the_spawner_stays_for_it(spawner):
    task = Task(spawner, GOOD + "step_run() { echo waiting; sleep 1; }")
    task.start(baseline=0)
    task.wait_for_output("waiting")
    first = spawner.process
    spawner.socket.close()
    assert first.wait(timeout=60) == 0
    assert task.ended()["outcome"] == DONE


WAITS = GOOD + "step_run() { trap 'exit 17' TERM; echo waiting; while :; do sleep 0.05; done; }\n"


def test_another_spawner_finds_and_cancels_a_run_that_it_did_not_start(spawner):
    task = Task(spawner, WAITS)
    task.start(baseline=0)
    task.wait_for_output("waiting")
    first = spawner.process
    spawner.start_spawner()
    task.cancel()
    report = spawner.receive(RUN_ENDED)
    name = report.name
    assert (name.task.decode(), name.turn, name.attempt, name.run) == (task.name, 1, 1, 1)
    assert report.wait_status == -1
    assert task.ended()["outcome"] == CANCELLED
    assert first.wait(timeout=30) == 0


def test_runs_outlive_a_killed_spawner_and_are_adopted(spawner):
    task = Task(spawner, WAITS)
    task.start(baseline=0)
    task.wait_for_output("waiting")
    spawner.process.kill()
    spawner.process.wait()
    spawner.start_spawner()
    task.cancel()
    assert spawner.receive(RUN_ENDED).wait_status == -1
    assert task.ended()["outcome"] == CANCELLED


def test_a_new_spawner_cleans_up_when_everything_was_killed(spawner):
    task = Task(spawner, WAITS + "step_test() { [ -e /workspace/demo/from-bundle ] || { echo baseline; sleep 1000; }; }")
    runner = task.start().pid
    task.wait_for_output("baseline")
    spawner.process.kill()
    spawner.process.wait()
    os.kill(runner, signal.SIGKILL)
    wait_for(lambda: len(spawner.cgroups()) > 0, 5, "cgroups are left")
    spawner.start_spawner()
    wait_for(lambda: spawner.cgroups() == [], 30, "the new spawner has ended them")
    wait_for(lambda: {path.name for path in task.workspace().iterdir()} == {"work", "layer"}, 30,
             "only the workspace is left")
    task.script = GOOD
    assert task.complete()["outcome"] == DONE


def test_what_a_killed_runner_has_kept_goes_when_no_run_follows(spawner):
    task = Task(spawner, WAITS)
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    task.forget()  # nothing happens while there is a runner
    run_git(spawner, "print()")  # one message after the other
    os.kill(runner, signal.SIGKILL)
    spawner.receive(RUN_ENDED)
    assert {path.name for path in task.workspace().iterdir()} == {"work", "layer"}
    task.forget()
    wait_for(lambda: not task.workspace().exists(), 30, "the workspace is gone")
    wait_for(lambda: not list((spawner.state / "runs").iterdir()), 30, "the run is gone")
    task.forget()
    # What a runner left deliberately stays.
    task.script = GOOD + "step_archive() { exit 1; }"
    assert not task.complete(baseline=0)["has_archive"]
    task.forget()
    run_git(spawner, "print()")
    assert (task.workspace() / "work").is_dir()
    task.script = GOOD
    assert task.complete(baseline=0)["has_archive"]


def test_signals_do_not_end_a_spawner(spawner):
    time.sleep(0.3)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        spawner.process.send_signal(number)
    assert run_git(spawner, "print('alive')") == (0, "alive\n")


def test_no_message_reaches_a_sandbox_of_another_state(spawner):
    with Sandbox() as other, other.start("bash", "-c", "echo ready; read x; echo alive", stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        spawner.start_spawner()
        assert run_git(spawner, "print('cleaned')") == (0, "cleaned\n")
        out, _ = process.communicate("\n", timeout=60)
        assert out == "alive\n"


# --- helpers: a look at the machine, a gateway without a run ---

def append_memfd():
    fd = os.memfd_create("events", os.MFD_CLOEXEC)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def test_a_look_at_the_machine_is_written_to_the_pipe(spawner):
    reader, writer = os.pipe()
    spawner.send(Message(magic=MAGIC, type=CHECK), [writer])
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = [json.loads(line) for line in pipe]
    assert {"runtime", "cgroups", "image"} <= {one["check"] for one in found}
    assert spawner.process.poll() is None


def test_a_gateway_without_a_run_is_nobody_and_ends_with_its_socket(spawner):
    (spawner.home / "codex-gateway").write_text(
        "#!/bin/sh\nid -u >&4; cat <&5 >&4; ls /proc/self/fd >&4; cat <&3 >/dev/null; echo end >&4\n")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    events = append_memfd()
    spawner.send(Message(magic=MAGIC, type=GATEWAY), [theirs.fileno(), events, memfd(b"configuration ")])
    theirs.close()

    def said():
        return os.pread(events, 4096, 0).decode().split()
    wait_for(lambda: "configuration" in said(), 30, "the gateway runs")
    assert said()[0] == "65534" and "end" not in said()
    ours.close()
    wait_for(lambda: said()[-1] == "end", 30, "the gateway has ended")


def helper_descriptors(directory):
    """Descriptors that CHECK and GATEWAY must refuse: (type, descriptors)."""
    def file(flags):
        return os.open(directory / "file", flags | os.O_CREAT, 0o644)
    stream, packets = (socket.socketpair(socket.AF_UNIX, kind)[0] for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET))
    yield CHECK, []
    yield CHECK, [os.pipe()[0]]  # its reading end
    yield CHECK, [file(os.O_WRONLY)]
    yield CHECK, [os.open(directory, os.O_PATH)]
    yield CHECK, [os.pipe()[1], os.pipe()[1]]
    yield GATEWAY, []
    yield GATEWAY, [os.dup(packets.fileno()), append_memfd()]
    yield GATEWAY, [os.dup(stream.fileno()), append_memfd(), memfd(b"")]
    yield GATEWAY, [os.dup(packets.fileno()), file(os.O_RDWR), memfd(b"")]  # does not append
    yield GATEWAY, [os.dup(packets.fileno()), os.pipe()[1], memfd(b"")]
    yield GATEWAY, [os.dup(packets.fileno()), append_memfd(), file(os.O_RDONLY)]  # may change later
    yield GATEWAY, [os.dup(packets.fileno()), append_memfd(), os.open(directory / "file", os.O_PATH)]
    yield GATEWAY, [os.dup(packets.fileno()), append_memfd(), memfd(b""), memfd(b"")]


def test_helpers_are_given_what_they_need_only(spawner):
    for number, (kind, fds) in enumerate(helper_descriptors(spawner.home)):
        spawner.send(Message(magic=MAGIC, type=kind), fds)
        for fd in fds:
            os.close(fd)
        assert spawner.is_closed(), number
        spawner.start_spawner()


def test_helpers_are_bounded(spawner):
    """A codexd that asks and asks does not fill the machine; what is not started is seen by its pipe."""
    (spawner.home / "codex-gateway").write_text("#!/bin/sh\ncat <&3 >/dev/null\n")
    sockets = []
    for _ in range(12):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        spawner.send(Message(magic=MAGIC, type=GATEWAY), [theirs.fileno(), append_memfd(), memfd(b"")])
        theirs.close()
        sockets.append(ours)
    wait_for(lambda: spawner.log.read_text().count("too many checks at once") == 4, 30, "four are refused")
    for ours in sockets:
        ours.close()
    assert spawner.process.poll() is None
