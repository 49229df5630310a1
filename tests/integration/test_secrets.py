"""`codex secret` and the keys of the server: who may set them, what becomes of them, where they never are."""
import contextlib
import json
import os
import pathlib
import pwd
import stat
import subprocess

import pytest

from support.cli import Cli, one_line
from support.codex import API_KEY, BUILD, START_SECONDS, codex_on
from support.model_server import message
from support.repository import Repository
from support.server import Server
from support.terminal import Terminal

FILES = {"Makefile": "test:\n\ttrue\n"}
MODEL = ("[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:9/v1\n"
         "env_key = THE_KEY\n[forge \"git.example\"]\nkind = github\ntoken_env = THE_TOKEN\n")
SECRET = "sk-a-secret-that-nobody-may-see"


@pytest.fixture(name="server", scope="module")
def make_server():
    with Server(MODEL) as server:
        yield server


@pytest.fixture(name="repository", scope="module")
def make_repository(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("secrets") / "demo", FILES)


def put(server, name, value):
    return server.call("PUT", f"/v1/secrets/{name}", value, {"Content-Type": "text/plain"})


def test_set_list_and_remove(server):
    answer = put(server, "THE_KEY", SECRET.encode() + b"\n")
    assert answer.status == 200 and answer.json["name"] == "THE_KEY" and answer.json["used_by"] == ["provider p"]
    first = answer.json["set_at"]
    assert put(server, "THE_TOKEN", b"t").json["used_by"] == ["forge git.example"]
    assert put(server, "OTHER", b"o").json["used_by"] == []
    listed = server.call("GET", "/v1/secrets").json
    assert [secret["name"] for secret in listed] == ["OTHER", "THE_KEY", "THE_TOKEN"]
    assert all(set(secret) == {"name", "set_at", "used_by"} for secret in listed)
    again = put(server, "THE_KEY", b"another").json["set_at"]
    assert again >= first
    for name in ("THE_KEY", "THE_TOKEN", "OTHER"):
        answer = server.call("DELETE", f"/v1/secrets/{name}")
        assert (answer.status, answer.body) == (204, b"")
        assert server.call("DELETE", f"/v1/secrets/{name}").problem == \
            (404, "not_found", f"there is no secret '{name}'")
    assert server.call("GET", "/v1/secrets").json == []


def test_names_and_values_have_bounds(server):
    for name in ("1A", "A-B", "A.B", "..", "A%2FB", "A" * 65, "%00", "key.sealed", ""):
        status, code, _ = put(server, name, b"v").problem
        assert (status, code) in ((400, "bad_request"), (404, "not_found")), name
    assert put(server, "A" * 64, b"v").status == 200
    assert put(server, "key", b"v").status == 200  # the name of the key's own file is one like any other
    for value in (b"", b" \n", b"two words", b"a\nb", b"nul\0", "schlüssel".encode(), b"k" * 4097, b"say \"k\"", b"a\\b", b"\x1b[2J"):
        status, code, detail = put(server, "A", value).problem
        assert (status, code) == (400, "bad_request") and detail.startswith("the value "), value
    assert put(server, "A", b"k" * (2 << 20)).problem[:2] == (413, "bad_request")
    assert put(server, "A", b"k" * 4096).status == 200
    assert server.call("POST", "/v1/secrets/A").problem[0] == 405
    assert server.call("GET", "/v1/secrets/A").problem[0] == 405
    for name in ("A", "A" * 64, "key"):
        assert server.call("DELETE", f"/v1/secrets/{name}").status == 204


def test_only_root_and_the_servers_user_may(server):
    codex = pwd.getpwnam("codex")
    put(server, "THE_KEY", SECRET.encode())
    for method, path in (("GET", "/v1/secrets"), ("PUT", "/v1/secrets/THE_KEY"), ("DELETE", "/v1/secrets/THE_KEY"),
                         ("DELETE", "/v1/secrets/NO_SUCH")):
        status, problem = server.call_as(12345, codex.pw_gid, method, path)
        assert (status, problem["code"]) == (403, "forbidden") and "THE_KEY" not in problem["detail"]
    status, listed = server.call_as(codex.pw_uid, codex.pw_gid, "GET", "/v1/secrets")
    assert status == 200 and listed[0]["name"] == "THE_KEY"
    assert server.call("DELETE", "/v1/secrets/THE_KEY").status == 204


def test_files_and_log(server):
    put(server, "THE_KEY", SECRET.encode())
    directory = server.state / "server/secrets"
    user = pwd.getpwnam("codex")
    for path, mode in ((directory, 0o700), (directory / "key", 0o600), (directory / "THE_KEY.sealed", 0o600)):
        found = path.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (user.pw_uid, user.pw_gid, mode)
    log = server.log.read_text()
    assert "secret THE_KEY was set by uid 0" in log and SECRET not in log
    server.call("DELETE", "/v1/secrets/THE_KEY")


def everywhere(codex):
    """Every file of the state but the sandbox's image, and what the processes of this state were started with."""
    for directory, _, names in os.walk(codex.state):  # which does not mind that something is removed meanwhile
        for name in names:
            path = pathlib.Path(directory, name)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path, path.read_bytes()
    for pid in codex.processes():
        for name in ("cmdline", "environ"):
            path = pathlib.Path(f"/proc/{pid}/{name}")
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield path, path.read_bytes()


def test_a_whole_task_with_a_key_that_was_set(repository):
    """Set, replaced and removed while the server runs; what the provider sees is what was set last."""
    script = [[message("Nothing to do.")]] * 2
    with codex_on(script, environment={"SCRIPTED_KEY": ""}) as (codex, model):
        def task():
            return codex.run("task", "Look", "--json", cwd=repository.path, check=False)
        done = task()
        assert done.returncode == 5 and "codex secret set SCRIPTED_KEY" in done.stderr, done.stderr
        assert "is set" in codex.run("secret", "set", "SCRIPTED_KEY", stdin=API_KEY + "\n").stdout
        first = json.loads(task().stdout)["id"]
        assert codex.wait(first, "completed")["verdict"] == "none"
        codex.stop()
        codex.start()  # and it is there after a restart
        assert codex.wait(json.loads(task().stdout)["id"], "completed")
        assert {request.headers["Authorization"] for request in model.requests} == {f"Bearer {API_KEY}"}

        codex.run("secret", "set", "SCRIPTED_KEY", stdin=SECRET)
        failed = codex.wait(json.loads(task().stdout)["id"], "failed")
        assert failed["fault"]["kind"] == "user" and SECRET not in json.dumps(failed)
        assert SECRET not in codex.run("secret", "list", "--json").stdout
        for where, bytes_there in everywhere(codex):
            assert SECRET.encode() not in bytes_there and API_KEY.encode() not in bytes_there, where
        assert SECRET not in codex.log.read_text() and SECRET not in codex.run("logs", failed["id"], "--json").stdout

        codex.run("secret", "rm", "SCRIPTED_KEY")
        assert task().returncode == 5


@pytest.mark.parametrize("spoil, part", [
    (lambda key: key.write_bytes(os.urandom(32)), "is not the key that secret 'THE_KEY' was set with: restore"),
    (lambda key: key.write_bytes(b"x" * 31), "is no key of secrets (31 bytes, not 32)"),
    (lambda key: key.chmod(0o644), "may be read by others: chmod 600"),
    (lambda key: key.unlink(), "but not their key: restore"),
])
def test_a_wrong_key_file_is_refused(spoil, part):
    with Server(MODEL) as server:
        put(server, "THE_KEY", SECRET.encode())
        server.stop()
        key = server.state / "server/secrets/key"
        kept = key.read_bytes()
        spoil(key)
        done = subprocess.run([BUILD / "codexd", "--config", server.config], env=server.environment, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_SECONDS)
        lines = [line for line in done.stderr.splitlines() if "program=codex-runner" not in line]
        assert done.returncode == 1 and len(lines) == 1 and part in lines[0], done
        key.write_bytes(kept)
        os.chown(key, pwd.getpwnam("codex").pw_uid, -1)
        key.chmod(0o600)
        server.start()
        assert server.call("GET", "/v1/secrets").json[0]["set_at"]


def test_a_damaged_secret_is_told_and_not_passed_over(repository):
    with Server(MODEL, {"THE_KEY": "from-the-environment"}) as server:
        put(server, "THE_KEY", SECRET.encode())
        sealed = server.state / "server/secrets/THE_KEY.sealed"
        sealed.write_bytes(sealed.read_bytes()[:-1] + b"?")
        answer = server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(repository.path)})
        assert answer.problem[:2] == (409, "key_missing") and "is damaged: set it again" in answer.problem[2]
        assert server.call("GET", "/v1/secrets").json[0]["set_at"] is None
        server.stop()
        server.start()  # it is no reason not to start
        assert put(server, "THE_KEY", b"again").json["set_at"]


# --- the command line, with a double of the server ---

@pytest.fixture(name="cli")
def make_cli():
    with Cli() as cli:
        yield cli


@pytest.mark.parametrize("arguments, part", [
    (["set", "K", SECRET], "does not belong on the command line"),
    (["set", f"K={SECRET}"], "does not belong on the command line"),
    (["set", SECRET], "a name is letters"),
    (["set"], "the name is missing: codex secret set NAME"),
    (["rm"], "the name is missing: codex secret rm NAME"),
    (["rm", "A", "B"], "usage: codex secret rm NAME"),
    (["list", "A"], "usage: codex secret list"),
    (["get", "A"], "usage: codex secret set NAME | list | rm NAME"),
    (["set", "../x"], "a name is letters"),
])
def test_mistakes(cli, arguments, part):
    done = cli.run("secret", *arguments, stdin="v")
    one_line(done, 2, part)
    assert SECRET not in done.stderr and cli.api.requests == []


def test_the_value_goes_as_it_is_and_nowhere_else(cli):
    cli.api.secrets = []
    done = cli.run("secret", "set", "K", stdin=SECRET + "\n")
    assert done.returncode == 0 and done.stdout == "K is set; tasks that start from now on use it\n"
    assert "nothing uses it yet" in done.stderr and SECRET not in done.stdout + done.stderr
    (method, target, _, body), = cli.api.requests
    assert (method, target, body) == ("PUT", "/v1/secrets/K", SECRET.encode() + b"\n")
    assert cli.json("secret", "set", "K", stdin=SECRET)["name"] == "K"
    one_line(cli.run("secret", "set", "K", stdin="x" * 20000), 2, "the value is longer than 16384 bytes")
    assert cli.json("secret", "rm", "K") == {"name": "K", "removed": True}


def test_the_list_tells_names_and_uses(cli):
    cli.api.secrets = [
        {"name": "OPENAI_API_KEY", "set_at": "2026-11-24T10:00:00.000Z", "used_by": ["provider a", "provider b"]},
        {"name": "X", "set_at": None, "used_by": []}]
    lines = cli.run("secret", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "SET", "USED", "BY"]
    assert "OPENAI_API_KEY  2026-11-24T10:00:00.000Z  provider a, provider b" in lines[1]
    assert "damaged: set it again" in lines[2] and lines[2].endswith("nothing")
    assert cli.json("secret", "list") == cli.api.secrets
    cli.api.secrets = []
    assert cli.run("secret", "list").stderr == "no secret is set: 'codex secret set NAME' sets one\n"


def test_a_terminal_is_asked_once_without_echo(cli):
    cli.api.secrets = []
    with Terminal([BUILD / "codex", "secret", "set", "K"], cli.environment) as terminal:
        terminal.wait_for("value of K (not shown):")
        terminal.press(SECRET.encode() + b"\r")
        assert terminal.wait() == 0
        assert SECRET not in terminal.everything() and terminal.everything().count("value of K") == 1
        assert "K is set" in terminal.shown()
    assert cli.api.requests[-1][3] == SECRET.encode() + b"\n"


def test_an_interrupt_sets_nothing_and_the_echo_comes_back(cli):
    script = f"'{BUILD}/codex' secret set K; stty -a | grep -c ' -echo ' ; echo done"
    with Terminal(["bash", "-c", "trap : INT; " + script], cli.environment) as terminal:
        terminal.wait_for("value of K (not shown):")
        terminal.press(SECRET.encode())
        terminal.press(b"\x03")
        terminal.wait()
        assert "0\n" in terminal.everything().replace(" ", "") and SECRET not in terminal.everything()
    assert cli.api.requests == []


def test_members_of_the_group_are_told_to_use_sudo(cli):
    """The hint is the very command that hands the key over, for who may not set it himself."""
    repository = Repository(cli.home / "demo", FILES)
    cli.api.problems["POST /v1/tasks"] = (409, "key_missing", "no key", {"env_key": "K"})
    os.chmod(cli.api.path, 0o666)
    done = subprocess.run([BUILD / "codex", "task", "x", "--repo", repository.path], cwd=cli.home, check=False,
                          env={**cli.environment, "K": SECRET}, user=65534, group=65534, extra_groups=[],
                          capture_output=True, text=True)
    one_line(done, 5, f"codexd has not: printenv K | sudo CODEX_SOCKET='{cli.api.path}' codex secret set K)")
    assert SECRET not in done.stderr

