"""Whole tasks on remote repositories: real smart HTTP with TLS and a login, on loopback."""
import grp
import pathlib
import re
import subprocess

import pytest

from support.codex import API_KEY, codex_on, wait_for
from support.git_server import TOKEN, GitServer, bare, certificate, git
from support.model_server import ModelServer, call, message
from support.repository import CALCULATOR, ENVIRONMENT, Repository
from support.server import Server
from test_main_job import GOOD_WORK

HOLD = [[call("exec_command", {"cmd": "sleep 20", "yield_time_ms": 30000})], [message("done")]]


@pytest.fixture(name="tls", scope="module")
def make_certificate(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(name="origin")
def make_origin(tmp_path):
    """The repository that is served: a work tree to make commits in, and the bare one."""
    repository = Repository(tmp_path / "work", CALCULATOR)
    (tmp_path / "srv").mkdir()
    repository.bare = bare(repository, tmp_path / "srv" / "calculator.git")
    return repository


@pytest.fixture(name="server")
def make_server(tmp_path, origin, tls):
    with GitServer(tmp_path / "srv", tls=tls) as server:
        yield server


def forge(server, more=""):
    ca = f"ca_file = {server.tls[0]}\n" if server.tls else ""
    return (f"[git]\nstall_timeout = 2s\nfetch_timeout = 20s\n"
            f"[forge \"{server.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\n{ca}{more}")


def on(server, script=GOOD_WORK, token=TOKEN, more="", **options):
    return codex_on(script, forge(server, more), {"FORGE_TOKEN": token}, **options)


@pytest.mark.slow
def test_a_private_repository_becomes_a_branch_there(server, origin):
    with on(server) as (codex, _):
        done = codex.run("task", "Add subtract", "--repo", server.url("calculator.git"), "--follow")
        task = codex.tasks()[0]
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert task["repo"] == server.url("calculator.git")
        assert (task["base"], task["base_commit"], task["branch"]) == ("main", origin.head(), "feat/subtract")
        assert git(origin.bare, "rev-parse", "feat/subtract") == task["commit"]
        assert git(origin.bare, "rev-parse", "feat/subtract^") == origin.head()
        assert task["pull_request"]["forge"] == "plain" and task["pull_request"]["state"] == "open"
        assert "feat/subtract" in done.stdout
        # The workspace has the repository's name, and nothing of where it came from.
        events = codex.run("logs", task["id"], "--json").stdout
        assert "/workspace/calculator" in events and TOKEN not in events

        # Merged there: seen here.
        subprocess.run(["git", "-C", str(origin.bare), "update-ref", "refs/heads/main", "feat/subtract"], check=True,
                       env=ENVIRONMENT)
        wait_for(lambda: codex.status(task["id"])["pull_request"]["state"] == "merged", 40, "merged is seen")


def test_the_token_is_nowhere(server, origin):
    """Not in arguments, environments, the state directory, the log or the sandbox, while git is at work."""
    seen, looks = [], []

    def look(handler, path, query, body):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    data = (process / name).read_bytes()
                except OSError:
                    continue
                looks.append(name)
                if TOKEN.encode() in data and b"FORGE_TOKEN" not in data:
                    seen.append((process.name, name, data))
        return False
    server.hook = look
    script = [[call("exec_command", {"cmd": f"grep -rs {TOKEN[:9]} /proc/*/environ /workspace /tmp /run /etc /var; "
                                            "git config --list; git remote -v; env"})], *GOOD_WORK[1:]]
    with on(server, script) as (codex, model):
        task = codex.task("Add subtract", "--repo", server.url("calculator.git"), cwd=codex.home)
        assert codex.wait(task)["state"] == "completed"
        assert looks and not seen
        found = subprocess.run(["grep", "-rlF", TOKEN, codex.state], check=False, capture_output=True, text=True)
        assert found.stdout == ""
        assert TOKEN not in codex.log.read_text()
        output = list(model.requests[1].outputs.values())[0]
        assert TOKEN[:9] not in output and server.site not in output
    assert any("Basic" in header for _, _, header in server.requests)


def test_what_is_refused_at_submission(server, origin):
    url = server.url("calculator.git")
    with on(server) as (codex, _):
        def refused(status, *parts, repo=url, arguments=()):
            done = codex.run("task", "x", "--repo", repo, *arguments, check=False)
            assert done.returncode == status and done.stderr.count("\n") == 1, done.stderr
            assert all(part in done.stderr for part in parts), done.stderr
        refused(3, "there is no repository", repo=server.url("nope.git"))
        refused(3, "no branch or tag 'nope'", arguments=("--base", "nope"))
        refused(5, "branch 'main' exists already", arguments=("--branch", "main"))
        refused(5, "'main' is in the way", arguments=("--branch", "main/x"))
        refused(5, "cannot be reached", repo="https://127.0.0.1:1/x")
        refused(5, "http://", "allow_http", repo="http://forge.example/x")
        refused(5, "ssh_key_file", "known_hosts", repo="git@forge.example:x")
        refused(2, "holds a login", repo=f"https://me:secret@{server.site}/calculator.git")
        server.read_only = True
        refused(5, "no permission to push")
        server.read_only = False
        server.token = "another one"
        refused(5, "refuses the token", server.site)
        assert codex.tasks() == []
    with on(server, token="") as (codex, _):
        refused(5, "FORGE_TOKEN is empty")
    with codex_on(GOOD_WORK, f"[forge \"{server.site}\"]\nca_file = {server.tls[0]}\n") as (codex, _):
        refused(5, "asks for a login", "token_env", "codex secret set NAME")
    with codex_on(GOOD_WORK) as (codex, _):
        refused(5, "certificate", "ca_file")


def test_a_redirect_to_another_host_gets_nothing(server, origin, tmp_path):
    stranger = GitServer(tmp_path / "srv", public=True)

    def redirect(handler, path, query, body):
        handler._plain(302, b"", [("Location", f"{stranger.base}{path}?{query}")])
        return True
    with stranger, on(server) as (codex, _):
        server.hook = redirect
        done = codex.run("task", "x", "--repo", server.url("calculator.git"), check=False)
        assert done.returncode == 5, done.stderr
        assert not any(header for _, _, header in stranger.requests)
        # Within the host git follows it, except (git 2.39) when it had to log in first.
        server.hook = lambda handler, path, query, body: path.startswith("/old") and (
            handler._plain(301, b"", [("Location", f"{server.base}{path.replace('/old', '/calculator')}?{query}")]) or True)
        done = codex.run("task", "x", "--repo", server.url("old.git"), check=False)
        assert done.returncode == 5 and "has moved" in done.stderr, done.stderr
        server.public = True
        assert codex.run("task", "x", "--repo", server.url("old.git"), "--base", "nope", check=False).returncode == 3


def test_one_fetch_for_tasks_that_wait_and_none_for_those_that_follow(server, origin):
    posts = []

    def slow(handler, path, query, body):
        if path.endswith("git-upload-pack") and b"command=fetch" in body:
            posts.append(body)
            server.released.wait(1)
        return False
    with on(server, HOLD, more="[server]\nmax_running = 8\n") as (codex, _):
        server.hook = slow
        tasks = [codex.task("x", "--repo", server.url("calculator.git"), cwd=codex.home) for _ in range(3)]
        for task in tasks:
            codex.wait(task, "working")
        assert len(posts) == 1
        # A newer base: only what is new comes.
        new = origin.commit({"new.txt": "x\n"}, "second")
        origin.git("push", "--quiet", str(origin.bare), "HEAD:refs/heads/main")
        task = codex.task("x", "--repo", server.url("calculator.git"), cwd=codex.home)
        assert codex.wait(task, "working")["base_commit"] == new
        assert len(posts) == 2 and b"have " in posts[1]


@pytest.mark.slow
def test_a_fetch_that_hangs_is_ended_and_starves_nobody(server, origin, tmp_path):
    bare(origin, tmp_path / "srv" / "stuck.git")
    hung = []

    def hang(handler, path, query, body):
        if path.startswith("/stuck.git") and b"command=fetch" in body:
            hung.append(path)
            server.released.wait(60)
            return True
        return False
    with on(server, more="[server]\nmax_running = 1\n") as (codex, _):
        server.hook = hang
        stuck = [codex.task("x", "--repo", server.url("stuck.git"), cwd=codex.home) for _ in range(2)]
        wait_for(lambda: hung, 30, "the fetch hangs")
        good = codex.task("Add subtract", "--repo", server.url("calculator.git"), cwd=codex.home)
        assert codex.wait(good)["state"] == "completed"
        for task in stuck:
            ended = codex.wait(task, "failed")
            assert ended["fault"]["kind"] == "environment" and ended["fault"]["step"] == "preparing"
            assert "in 3 tries" in ended["fault"]["message"], ended["fault"]
        assert len(hung) == 3


@pytest.mark.slow
def test_a_fetch_that_breaks_off_is_tried_again(server, origin):
    broken = []

    def break_off(handler, path, query, body):
        if b"command=fetch" in body and len(broken) < 2:
            broken.append(path)
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n"
                                b"Content-Length: 100000\r\n\r\n0011packfile")
            handler.close_connection = True
            return True
        return False
    with on(server) as (codex, _):
        server.hook = break_off
        task = codex.task("Add subtract", "--repo", server.url("calculator.git"), cwd=codex.home)
        assert codex.wait(task)["state"] == "completed" and len(broken) == 2


@pytest.mark.slow
def test_a_push_that_is_refused_keeps_the_work(server, origin):
    hook = origin.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'error: GH006: Protected branch' >&2\nexit 1\n")
    hook.chmod(0o755)
    with on(server) as (codex, _):
        task = codex.task("Add subtract", "--repo", server.url("calculator.git"), cwd=codex.home)
        ended = codex.wait(task, "failed")
        assert ended["fault"]["kind"] == "user" and ended["fault"]["step"] == "delivering"
        assert re.search(r"pre-receive hook declined.*GH006", ended["fault"]["message"]), ended["fault"]
        assert "+def subtract" in codex.run("diff", task).stdout
        assert git(origin.bare, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
        assert f"codex deliver {task}" in ended["fault"]["message"]
        # Refused again, then put right.
        assert "delivered again" in codex.run("deliver", task).stdout
        assert codex.wait(task, "failed")["fault"]["step"] == "delivering"
        codex.kill()
        codex.start()
        hook.unlink()
        codex.run("deliver", task)
        delivered = codex.wait(task, "completed")
        assert delivered["commit"] == ended["commit"] == git(origin.bare, "rev-parse", "feat/subtract")
        assert delivered["verdict"] == "passed" and delivered["fault"] is None
        assert delivered["pull_request"]["state"] == "open"
        refused = codex.run("deliver", task, check=False)
        assert refused.returncode == 5 and "it is completed" not in refused.stdout
        assert "completed" in refused.stderr
        events = codex.events(task)
        assert sum(event["type"] == "delivery.branch" for event in events) == 1
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.slow
def test_names_that_are_taken_there_get_a_number(server, origin):
    origin.git("branch", "feat/subtract", "HEAD")
    origin.git("push", "--quiet", str(origin.bare), "feat/subtract")
    with on(server) as (codex, _):
        task = codex.task("Add subtract", "--repo", server.url("calculator.git"), cwd=codex.home)
        ended = codex.wait(task, "completed")
        assert ended["branch"] == "feat/subtract-2"
        assert git(origin.bare, "rev-parse", "feat/subtract") == origin.head()
        assert git(origin.bare, "rev-parse", "feat/subtract-2") == ended["commit"]


def test_a_checkout_of_a_remote_repository(server, origin):
    origin.git("remote", "add", "origin", server.url("calculator.git"))
    origin.git("update-ref", "refs/remotes/origin/main", "HEAD")
    with on(server) as (codex, _):
        task = codex.task("Add subtract", cwd=origin.path)
        assert codex.wait(task, "completed")["repo"] == server.url("calculator.git")
        assert "feat/subtract" in git(origin.bare, "branch", "--list")
        assert origin.branches() == {"main"}


def unpushed(origin, server):
    """ORIGIN as a checkout of the remote with two commits that this does not have, on a branch of their own."""
    origin.git("remote", "add", "origin", server.url("calculator.git"))
    origin.git("update-ref", "refs/remotes/origin/main", "HEAD")
    known = origin.head()
    origin.git("checkout", "--quiet", "-b", "topic")
    origin.commit({"notes.txt": "one\n"}, "mine")
    origin.commit({"more.txt": "two\n"}, "mine too")
    return known


def test_commits_that_the_remote_lacks_go_along(server, origin):
    known = unpushed(origin, server)
    script = [[call("exec_command", {"cmd": "git log --format=%s; ls"})], *GOOD_WORK[1:]]
    with on(server, script) as (codex, model):
        done = codex.run("task", "Add subtract", "--json", cwd=origin.path)
        assert "2 commits that origin lacks go along" in done.stderr
        task = codex.tasks()[0]["id"]
        ended = codex.wait(task, "completed")
        assert ended["base_commit"] == origin.head() and ended["base"] == "main" and ended["verdict"] == "passed"
        output = list(model.requests[1].outputs.values())[0]
        assert "mine too\nmine\nfirst\n" in output and "notes.txt" in output
        # The branch is there, with all that it builds on.
        assert git(origin.bare, "log", "--format=%s", f"{known}..feat/subtract") == "Add subtract\nmine too\nmine"
        # Nothing that came along is in the mirror, or left over.
        mirror = next((codex.state / "server" / "mirrors").iterdir())
        assert origin.head() not in git(mirror, "rev-list", "--all", "--objects")
        assert subprocess.run(["git", "-c", "safe.directory=*", "-C", str(mirror), "cat-file", "-e", origin.head()],
                              check=False, capture_output=True, env=ENVIRONMENT).returncode != 0
        assert not list((codex.state / "server" / "uploads").iterdir())
        assert not list((codex.state / "server" / "tasks" / task).glob("*.bundle"))


def test_commits_that_came_along_survive_a_kill(server, origin):
    unpushed(origin, server)
    with on(server) as (codex, _):
        task = codex.task("Add subtract", cwd=origin.path)
        codex.kill()
        codex.start()
        assert codex.wait(task, "completed")["base_commit"] == origin.head()


def test_a_checkout_without_anything_of_origin_is_told_what_to_do(server, origin, tmp_path):
    other = Repository(tmp_path / "other", {"x": "y\n"})
    other.git("remote", "add", "origin", server.url("calculator.git"))
    with on(server) as (codex, _):
        done = codex.run("task", "x", cwd=other.path, check=False)
        assert done.returncode == 5 and "--repo ." in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_bundles_of_strangers(server, origin):
    """What comes along is as hostile as anything from a sandbox."""
    known = unpushed(origin, server)
    head, url = origin.head(), server.url("calculator.git")
    good = f"# v2 git bundle\n-{known}\n{head} refs/codex/work\n\n".encode() + origin.pack(head, known)
    with ModelServer(GOOD_WORK, api_key=API_KEY) as model, Server(
            forge(server) + f"[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = {model.base_url}\n"
            "env_key = KEY\n", {"KEY": API_KEY, "FORGE_TOKEN": TOKEN}) as codex:
        def upload(content):
            answer = codex.call("POST", "/v1/bundles", content, {"Content-Type": "application/octet-stream"})
            assert answer.status == 201, answer.body
            return answer.json["bundle"]

        def submit(**more):
            return codex.call("POST", "/v1/tasks", {"prompt": "x", "repo": url, **more})
        along = {"base_commit": head, "bundle_base": known}
        # Malformed, of another commit, cut, with a hole, with a hostile .gitmodules.
        origin.git("checkout", "--quiet", "--detach", known)
        evil = origin.commit({".gitmodules": "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/x\n"}, "evil")
        evil_bundle = f"# v2 git bundle\n-{known}\n{evil} refs/codex/work\n\n".encode() + origin.pack(evil, known)
        for content, commit in ((b"x", head), (evil_bundle, head), (good[:-30], head),
                                (good[:good.index(b"PACK")] + origin.pack(head, head + "~1"), head), (evil_bundle, evil)):
            answer = submit(bundle=upload(content), base_commit=commit, bundle_base=known)
            assert answer.status == 201, answer.body
            ended = codex.wait(answer.json["id"], "failed")
            assert ended["fault"]["kind"] == "user" and "came along" in ended["fault"]["message"], ended["fault"]
        # A base that the remote does not have.
        ended = codex.wait(submit(bundle=upload(good), base_commit=head, bundle_base="1" * 40).json["id"], "failed")
        assert ended["fault"]["kind"] == "user"
        assert submit(bundle="bundle-nope", **along).problem[:2] == (404, "not_found")
        assert submit(bundle="../../codex.db", **along).problem[:2] == (404, "not_found")
        mine = upload(good)
        assert submit(bundle=mine).problem[:2] == (400, "bad_request")
        assert submit(bundle=mine, base_commit=head).problem[:2] == (400, "bad_request")
        assert submit(bundle=mine, base_commit="HEAD", bundle_base=known).problem[:2] == (400, "bad_request")
        local = codex.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(origin.path), "bundle": mine, **along})
        assert local.problem[:2] == (400, "bad_request")
        # It is not others' to use, and is gone once it was used.
        group = grp.getgrnam("codex").gr_gid
        body = {"prompt": "x", "repo": url, "bundle": mine, **along}
        assert codex.call_as(1234, group, "POST", "/v1/tasks", body)[0] == 404
        assert codex.call("POST", "/v1/tasks", body).status == 201
        assert codex.call("POST", "/v1/tasks", body).status == 404
        # Bounded in size and number.
        assert codex.call("POST", "/v1/bundles", b"x" * (33 << 20),
                          {"Content-Type": "application/octet-stream"}).problem[0] == 413
        for _ in range(4):
            upload(b"x")
        assert codex.call("POST", "/v1/bundles", b"x", {"Content-Type": "application/octet-stream"}).status == 409
