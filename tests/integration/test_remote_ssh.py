"""Remote repositories by ssh, with a real server and keys of the test."""
import subprocess

import pytest

from support.codex import codex_on
from support.git_server import access, bare, git, nothing_stays_in_run
from support.program import run_program
from support.repository import CALCULATOR, Repository
from support.ssh_server import SshServer, available
from test_main_job import GOOD_WORK

pytestmark = pytest.mark.skipif(not available(), reason="dropbear is not there")


@pytest.fixture(name="origin")
def make_origin(tmp_path):
    repository = Repository(tmp_path / "work", CALCULATOR)
    (tmp_path / "srv").mkdir()
    repository.bare = bare(repository, tmp_path / "srv" / "calculator.git")
    return repository


@pytest.fixture(name="server")
def make_server(tmp_path):
    with SshServer(tmp_path / "ssh") as server:
        yield server


def resolve(server, url, tmp_path, key=None, known_hosts=None, check=None):
    (tmp_path / "mirror").mkdir(exist_ok=True)
    secrets = access(ssh_key=(key or server.key).read_text(),
                     known_hosts=server.known_hosts if known_hosts is None else known_hosts)
    return run_program("codex-git", "resolve", "--repo", url, "--mirror", tmp_path / "mirror", "--timeout", "20000",
                       "--stall", "10000", inputs={3: secrets}, check=check)


def test_a_task_by_ssh(server, origin):
    known_hosts = server.directory / "known_hosts"
    known_hosts.write_text(server.known_hosts)
    section = (f"[forge \"{server.site}\"]\nkind = github\nssh_key_file = {server.key}\n"
               f"known_hosts = {known_hosts}\n")
    with nothing_stays_in_run(), codex_on(GOOD_WORK, section) as (codex, _):
        # A key is no token: nobody could open a pull request. It is kept here for who asks for that.
        refused = codex.run("task", "x", "--repo", server.url(origin.bare), check=False)
        assert refused.returncode == 5 and refused.stderr.count("\n") == 1, refused.stderr
        assert "codex secret set" in refused.stderr and refused.stderr.rstrip().endswith("--forge plain")
        codex.run("task", "Add subtract", "--repo", server.url(origin.bare), "--forge", "plain", "--follow")
        task, = codex.tasks()
        assert task["forge"] == task["pull_request"]["forge"] == "plain" and task["pull_request"]["url"] is None
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert git(origin.bare, "rev-parse", "feat/subtract") == task["commit"]
        # The key is nowhere that stays.
        secret = server.key.read_text().splitlines()[2]
        found = subprocess.run(["grep", "-rlF", secret, codex.state, "/run", "/dev/shm"], check=False,
                               capture_output=True, text=True).stdout
        assert found == ""


def test_what_ssh_refuses(server, origin, tmp_path):
    url = server.url(origin.bare)
    good = resolve(server, url, tmp_path, check=0)
    assert f"commit {origin.head()}".encode() in good.stdout

    def refused(status, *parts, url=url, **options):
        done = resolve(server, url, tmp_path, check=status, **options)
        assert done.stderr.count("\n") == 1 and all(part in done.stderr for part in parts), done.stderr
    refused(6, "refuses the ssh key", key=server.stranger)
    refused(1, "host key", "known_hosts", known_hosts="")
    other = server.stranger.with_suffix(".pub").read_text()
    refused(1, "host key", "known_hosts", known_hosts=f"[{server.site.replace(':', ']:')} {other}")
    refused(3, "there is no repository", url=server.url("/nonexistent"))
    refused(5, "cannot be reached", url="ssh://root@127.0.0.1:1/x")


def test_no_configuration_of_ours_is_used(server, origin, tmp_path):
    """ssh looks neither at a person's or the machine's configuration, nor at an agent."""
    canary = tmp_path / "canary"
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(f"Host *\n\tProxyCommand touch {canary}\n")
    (tmp_path / "mirror").mkdir()
    secrets = access(ssh_key=server.key.read_text(), known_hosts=server.known_hosts)
    with nothing_stays_in_run():
        done = run_program("codex-git", "resolve", "--repo", server.url(origin.bare), "--mirror", tmp_path / "mirror",
                           "--timeout", "20000", "--stall", "10000", inputs={3: secrets}, check=0,
                           environment={"HOME": str(home), "SSH_AUTH_SOCK": "/nonexistent",
                                        "GIT_SSH_COMMAND": f"touch {canary}", "GIT_SSH": f"{canary}",
                                        "GIT_PROXY_COMMAND": f"touch {canary}"})
    assert done.stdout and not canary.exists()
