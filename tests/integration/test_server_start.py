"""codexd's start: what it refuses, whom it becomes, what it leaves to whom."""
import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import stat
import subprocess

import pytest

from support.codex import BUILD, START_SECONDS, wait_for
from support.server import Server, UnixConnection

MODEL = "[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:9/v1\n"


@pytest.fixture(name="server")
def make_server():
    with Server(MODEL) as server:
        yield server


def start_refused(server, configuration=None, environment=None, user=None):
    """Start another codexd with the same environment; the one line with which it refuses."""
    arguments = [BUILD / "codexd"]
    if configuration is not None:
        path = server.home / "other.conf"
        path.write_text(configuration)
        arguments += ["--config", path]
    done = subprocess.run(arguments, env={**server.environment, **(environment or {})}, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS,
                          **({"user": user, "group": user, "extra_groups": []} if user else {}))
    lines = [line for line in done.stderr.splitlines() if "program=codex-runner" not in line]
    assert done.returncode == 1 and done.stdout == "" and len(lines) == 1, done
    return lines[0]


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def test_codexd_is_the_service_user_for_good(server):
    user = pwd.getpwnam("codex")
    status = status_of(server.server.pid)
    assert status["Uid"] == [str(user.pw_uid)] * 4
    assert status["Gid"] == [str(user.pw_gid)] * 4
    assert "0" not in status["Groups"]
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities][0], 16) == 0, capabilities
    assert status["NoNewPrivs"] == ["1"]
    # Not dumpable: its own uid cannot look into it.
    peek = subprocess.run(["cat", f"/proc/{server.server.pid}/environ"], user="codex", group="codex",
                          extra_groups=[], check=False, capture_output=True)
    assert peek.returncode != 0 and peek.stdout == b""
    limits = pathlib.Path(f"/proc/{server.server.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)


def test_owners_and_modes_of_the_state(server):
    user = pwd.getpwnam("codex")
    expected = {
        "": (0, 0, 0o755), "server": (user.pw_uid, user.pw_gid, 0o700), "runs": (0, 0, 0o755),
        "sandboxes": (0, 0, 0o700), "server/tasks": (user.pw_uid, user.pw_gid, 0o700),
        "server/bundles": (user.pw_uid, user.pw_gid, 0o700), "codexd.sock": (0, user.pw_gid, 0o660),
        "server/codex.db": (user.pw_uid, user.pw_gid, 0o600),
    }
    for name, (uid, gid, mode) in expected.items():
        found = os.stat(server.state / name)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (uid, gid, mode), name


def test_a_second_codexd_names_the_first(server):
    line = start_refused(server)
    assert line == f"codexd: codexd runs already on '{server.state}': it is process {server.server.pid}"
    assert server.call("GET", "/healthz").status == 200


def test_a_stale_socket_is_replaced_but_not_a_live_one_or_a_file(server):
    server.kill()
    assert (server.state / "codexd.sock").exists()
    server.start()
    other = {"CODEX_STATE_DIR": str(server.home / "other")}
    assert start_refused(server, environment=other) == \
        f"codexd: another server listens on '{server.state}/codexd.sock'"
    wait_for(lambda: not server.processes() or server.call("GET", "/healthz").status == 200, 10, "it answers")
    path = server.home / "file"
    path.write_text("precious")
    line = start_refused(server, environment={**other, "CODEX_SOCKET": str(path)})
    assert line == f"codexd: '{path}' is there and is not a socket"
    assert path.read_text() == "precious"
    line = start_refused(server, environment={**other, "CODEX_SOCKET": str(server.home / ("x" * 120))})
    assert "longer than 107 bytes" in line


def test_configuration_errors_name_file_and_line(server):
    line = start_refused(server, "[server]\n\nmax_runing = 3\n")
    assert line == f"codexd: {server.home}/other.conf:3: unknown key 'max_runing' in [server]"
    line = start_refused(server, environment={"CODEX_CONFIG": "/nonexistent/codex.conf"})
    assert line == "codexd: cannot open '/nonexistent/codex.conf': No such file or directory"
    assert "does not serve as root" in start_refused(server, "[server]\nuser = root\n")
    assert "there is no user 'nobody-at-all'" in start_refused(server, "[server]\nuser = nobody-at-all\n")


def test_without_root_and_subordinate_ids_it_is_refused(server):
    line = start_refused(server, user=65534)
    assert line.startswith("codexd: sandboxes without root need 65536 subordinate ids, and /etc/subuid has none for 'nobody'")


def test_usage():
    done = subprocess.run([BUILD / "codexd", "--wrong"], check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "usage: codexd" in done.stderr
    done = subprocess.run([BUILD / "codexd", "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and "usage: codexd" in done.stdout
    done = subprocess.run([BUILD / "codexd", "--version"], check=False, capture_output=True, text=True)
    assert done.returncode == 0 and re.fullmatch(r"codexd \d+\.\d+\.\d+\n", done.stdout)


def test_a_state_directory_that_the_user_cannot_enter(server):
    closed = server.home / "closed"
    closed.mkdir(mode=0o700)
    line = start_refused(server, environment={"CODEX_STATE_DIR": str(closed / "state")})
    assert line.startswith(f"codexd: user 'codex' cannot enter '{closed}/state/server'")
    assert "CODEX_STATE_DIR" in line and line.endswith(": Permission denied")


def test_directories_of_others_are_not_taken_over(server):
    other = server.home / "other"
    other.mkdir()
    (other / "server").mkdir()
    line = start_refused(server, environment={"CODEX_STATE_DIR": str(other)})
    assert re.fullmatch(rf"codexd: '{other}/server' belongs to uid 0, not to uid \d+", line)
    (other / "server").rmdir()
    (other / "server").symlink_to("/etc")
    line = start_refused(server, environment={"CODEX_STATE_DIR": str(other)})
    assert line == f"codexd: '{other}/server' is not a directory"


def answers(path):
    with contextlib.suppress(OSError), contextlib.closing(UnixConnection(path)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def test_many_first_starts_at_once_make_one_server(server):
    for number in range(10):
        state = server.home / f"fresh-{number}"
        environment = {**server.environment, "CODEX_STATE_DIR": str(state), "CODEX_SOCKET": str(state / "codexd.sock")}
        starts = [subprocess.Popen([BUILD / "codexd"], env=environment, stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(6)]
        wait_for(lambda: sum(start.poll() is None for start in starts) == 1, START_SECONDS, "one is left")
        one, = [start for start in starts if start.poll() is None]
        for start in starts:
            if start is not one:
                out = start.communicate()[0]
                assert out == f"codexd: codexd runs already on '{state}': it is process {one.pid}\n"
        wait_for(lambda: answers(state / "codexd.sock"), START_SECONDS, "it answers")
        one.terminate()
        one.communicate(timeout=START_SECONDS)
        assert one.returncode == 0
        assert not list(state.glob("*.new-*"))


def test_what_the_user_left_in_his_directory_does_not_become_his(server):
    server.stop()
    secret = server.home / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    lock = server.state / "server" / "lock"
    lock.unlink()
    os.link(secret, lock)  # as he could on a machine without fs.protected_hardlinks
    assert start_refused(server) == f"codexd: cannot open '{lock}': Permission denied"
    assert secret.stat().st_uid == 0
    lock.unlink()
    lock.symlink_to(secret)
    assert start_refused(server) == f"codexd: cannot open '{lock}': Too many levels of symbolic links"
    lock.unlink()
    server.start()


def test_sigterm_stops_and_the_next_one_starts(server):
    server.server.send_signal(signal.SIGTERM)
    assert server.server.wait(timeout=START_SECONDS) == 0
    server.start()
    assert server.tasks() == []


def spawners_of(server):
    """Children of codexd's. A child that a spawner has just started looks as itself until it executes another."""
    def is_spawner(pid):
        try:
            process = pathlib.Path(f"/proc/{pid}")
            return (b"\0--spawner\0" in (process / "cmdline").read_bytes() and
                    f"\nPPid:\t{server.server.pid}\n" in (process / "status").read_text())
        except (FileNotFoundError, ProcessLookupError):
            return False
    return [pid for pid in server.processes() if is_spawner(pid)]


def test_the_end_of_the_spawner_is_noticed(server):
    spawners = spawners_of(server)
    assert len(spawners) == 1
    os.kill(spawners[0], signal.SIGKILL)
    assert server.server.wait(timeout=START_SECONDS) == 1
    assert "the spawner has ended" in server.log.read_text()
    server.start()
    assert server.call("GET", "/healthz").status == 200


def test_the_spawner_gets_no_key():
    with Server(MODEL + "env_key = THE_KEY\n", {"THE_KEY": "sk-very-secret"}) as server:
        spawner, = spawners_of(server)
        environ = pathlib.Path(f"/proc/{spawner}/environ").read_bytes()
        assert environ.startswith(b"PATH=") and b"THE_KEY" not in environ and b"sk-very" not in environ
        # Nor is it left in codexd's own, which root may read.
        assert b"sk-very" not in pathlib.Path(f"/proc/{server.server.pid}/environ").read_bytes()
        assert "sk-very" not in server.log.read_text()


@pytest.mark.parametrize("key, why", [
    ('sk-"x"', "the key in THE_KEY has characters that no key has"),
    ("sk-\u00e4", "the key in THE_KEY has characters that no key has"),
    ("x" * 4097, "the key in THE_KEY is longer than 4096 bytes"), (" \n", "THE_KEY is empty")])
def test_keys_that_no_request_could_carry(tmp_path, key, why):
    with Server(MODEL + "env_key = THE_KEY\n", {"THE_KEY": key}) as server:
        status, code, detail = server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(tmp_path)}).problem
        assert (status, code) == (409, "key_missing") and why in detail and "sk-" not in detail


def test_a_damaged_store_is_told():
    with Server(MODEL) as server:
        server.kill()
        database = server.state / "server" / "codex.db"
        kept = database.read_bytes()
        for name in ("codex.db-wal", "codex.db-shm"):
            (server.state / "server" / name).unlink(missing_ok=True)
        database.write_bytes(b"no database" * 1000)
        line = start_refused(server)
        assert line.startswith(f"codexd: cannot open the store '{database}'") and "damaged" in line
        database.write_bytes(kept)
        server.start()


def test_descriptors_of_the_parent_are_not_kept():
    left, right = socket.socketpair()
    with Server(MODEL) as server:
        server.kill()
        with open(server.log, "ab") as log:
            server.server = subprocess.Popen([BUILD / "codexd", "--config", server.config], env=server.environment,
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             pass_fds=[right.fileno()], start_new_session=True)
        wait_for(server._answers, START_SECONDS, "codexd answers")
        right.close()
        left.settimeout(10)
        assert left.recv(1) == b""
    left.close()
