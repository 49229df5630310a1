"""codex-git on remote repositories that are hostile, broken or just elsewhere."""
import os
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from support.bundles import import_work
from support.git_server import TOKEN, GitServer, access, bare, git, nothing_stays_in_run
from support.program import run_program
from support.repository import CALCULATOR, ENVIRONMENT, Repository

NOTHING = "1" * 40


class Remote:
    """A server with one repository, and a mirror for it."""

    def __init__(self, directory, server, work, bare_path):
        self.directory, self.server, self.work, self.bare = directory, server, work, bare_path
        self.mirror = directory / "mirror"
        self.mirror.mkdir()
        self.url = server.url("calculator.git")

    def run(self, verb, *arguments, url=None, token=TOKEN, timeout_ms=15000, stall_ms=5000, inputs=None, **options):
        secrets = access(token=token) if token else b""
        return run_program("codex-git", verb, "--repo", url or self.url, "--mirror", self.mirror, "--timeout",
                           str(timeout_ms), "--stall", str(stall_ms), *arguments, inputs={3: secrets, **(inputs or {})},
                           **options)

    def refused(self, status, verb, *arguments, parts=(), **options):
        done = self.run(verb, *arguments, check=status, **options)
        assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr, done.stderr
        assert all(part in done.stderr for part in parts), done.stderr
        return done

    def facts(self, *arguments, **options):
        done = self.run("resolve", *arguments, check=0, **options)
        return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())


@pytest.fixture(name="remote")
def make_remote(tmp_path):
    work = Repository(tmp_path / "work", CALCULATOR)
    (tmp_path / "srv").mkdir()
    path = bare(work, tmp_path / "srv" / "calculator.git")
    with GitServer(tmp_path / "srv") as server:
        yield Remote(tmp_path, server, work, path)


def set_ref(remote, name, commit):
    git(remote.bare, "update-ref", name, commit)


def test_bases(remote):
    first, second = remote.work.head(), remote.work.commit({"x": "y\n"}, "second")
    remote.work.git("push", "--quiet", str(remote.bare), "HEAD:refs/heads/main", "HEAD:refs/heads/both",
                    f"{first}:refs/tags/both", f"{first}:refs/odd/name")
    git(remote.bare, "-c", "user.name=T", "-c", "user.email=t@t", "tag", "--annotate", "--message", "release", "v1", first)
    cases = {None: ("main", second), "HEAD": ("main", second), "main": ("main", second),
             "refs/heads/main": ("main", second), "v1": ("refs/tags/v1", first), "refs/tags/v1": ("refs/tags/v1", first),
             "both": ("both", second), "odd/name": ("refs/odd/name", first), first: (first, first)}
    for base, expected in cases.items():
        facts = remote.facts(*(("--base", base) if base else ()))
        assert (base, facts["base"], facts["commit"]) == (base, *expected)
    for base in ("HEAD~1", "main:x", "-x", "a b", "x*", "@{-1}"):
        remote.refused(2, "resolve", "--base", base)
    for base in ("nope", first[:10], "$(touch)"):
        remote.refused(3, "resolve", "--base", base)
    git(remote.bare, "symbolic-ref", "HEAD", "refs/heads/none")
    remote.refused(1, "resolve", parts=["no commit"])


def test_refs_with_evil_names(remote):
    head = remote.work.head()
    (remote.bare / "packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "".join(
            f"{head} refs/heads/{name}\n" for name in ("$(touch)", "--upload-pack=x", "a;b", "main", "refs/heads/main")))
    assert remote.facts("--base", "main")["commit"] == head
    (remote.bare / "HEAD").write_text("ref: refs/heads/--upload-pack=x\n")
    assert remote.facts()["base"] == head  # not a name that one could pass on
    assert remote.run("fetch", "--commit", head, check=0).stdout.startswith(b"# v2 git bundle\n")


def test_a_huge_list_of_refs(remote):
    head = remote.work.head()
    (remote.bare / "packed-refs").write_text(
        f"# pack-refs with: peeled fully-peeled sorted \n{head} refs/heads/main\n" + "".join(
            f"{head} refs/heads/n{number:07}\n" for number in range(100000)))
    assert remote.facts("--base", "main", timeout_ms=60000)["commit"] == head
    remote.run("fetch", "--commit", head, check=0, timeout_ms=60000)
    assert git(remote.mirror, "for-each-ref", "--format=%(refname)") == f"refs/codex/commits/{head}"


def test_packs_of_fetches_that_broke_off_go_with_a_later_one(remote):
    """If nobody is at them any more."""
    head = remote.work.head()
    remote.run("fetch", "--commit", head, check=0)
    packs = remote.mirror / "objects" / "pack"
    for name, age_s in (("tmp_pack_old", 7200), ("tmp_pack_new", 60)):
        (packs / name).write_text("half a pack")
        os.utime(packs / name, (time.time() - age_s,) * 2)
    remote.run("fetch", "--commit", head, check=0)
    assert [path.name for path in packs.glob("tmp_*")] == ["tmp_pack_new"]


def answer_raw(parts, hold=0.0):
    """A hook that answers every request by PARTS, waiting HOLD seconds before each."""
    def hook(handler, path, query, body):
        try:
            for part in parts:
                time.sleep(hold)
                handler.wfile.write(part)
        except OSError:
            pass
        handler.close_connection = True
        return True
    return hook


def head_of(kind="application/x-git-upload-pack-advertisement"):
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()


GARBAGE = {
    "nothing": [b""], "no http": [b"SSH-2.0-x\r\n" * 100], "html": [head_of("text/html"), b"<html>" * 1000],
    "zeros": [head_of(), b"\0" * 100000], "text": [head_of(), b"hello, world\n" * 1000],
    "bad length": [head_of(), b"zzzz# service"], "half": [head_of(), b"001e# service=git-upload-pack\n0000", b"00ff"],
    "escapes": [head_of(), b"001e# service=git-upload-pack\n0000", b"003dERR \x1b[2J\x07 evil\n"],
    "endless head": [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200000],
    "error 500": [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"], "error 418": [b"HTTP/1.1 418 T\r\nContent-Length: 0\r\n\r\n"],
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_in_one_line(remote, name):
    remote.server.hook = answer_raw(GARBAGE[name])
    for verb, arguments in (("resolve", ()), ("fetch", ("--commit", NOTHING)),
                            ("merged", ("--base", "main", "--commit", NOTHING))):
        done = remote.run(verb, *arguments)
        assert done.returncode in (1, 3, 5) and done.stderr.count("\n") == 1, (verb, done.returncode, done.stderr)
        assert "\x1b" not in done.stderr and not done.stdout
    assert not list((remote.mirror / "refs").rglob("codex/*/*"))


@pytest.mark.parametrize("parts, hold", [([b"x"], 60), ([b"HTTP/1.1 200 OK\r\n"] + [b"X"] * 1000, 0.5), ([head_of(), b"001e# service"] + [b"g"] * 99, 0.5)])
def test_servers_that_hang_or_drip_are_left(remote, parts, hold):
    remote.server.hook = answer_raw(parts, hold)
    start = time.monotonic()
    remote.refused(5, "resolve", timeout_ms=4000, stall_ms=2000, parts=["cannot be reached, or broke off"])
    remote.refused(5, "fetch", "--commit", NOTHING, timeout_ms=4000, stall_ms=2000)
    assert time.monotonic() - start < 20


def test_a_host_that_never_answers(remote):
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        held = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        for scheme in ("http", "https"):
            remote.refused(5, "resolve", url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", timeout_ms=3000,
                           stall_ms=1500)


def test_the_login_is_for_one_host_and_scheme():
    def ask(question, action="get", site="host:8443"):
        return run_program("codex-git", "credential", "https", site, action,
                           inputs={0: question.encode(), 3: b"username=u\npassword=secret\n"}, check=0).stdout
    assert ask("protocol=https\nhost=host:8443\n\n") == b"username=u\npassword=secret\n"
    assert ask("protocol=https\nhost=[::1]\n\n", site="::1") == b"username=u\npassword=secret\n"
    for question in ("protocol=http\nhost=host:8443\n", "protocol=https\nhost=host\n", "protocol=https\nhost=evil\n",
                     "protocol=https\nhost=host:8443.evil\n", "protocol=https\n", "", "\n" * 100, "host=host:8443\n",
                     "protocol=https\nhost=evil\npath=host=host:8443\n"):
        assert ask(question) == b""
    for action in ("store", "erase", "nonsense"):
        assert ask("protocol=https\nhost=host:8443\n\n", action) == b""


def test_nothing_of_the_environment_or_of_the_repository_is_run(remote, tmp_path):
    canary = tmp_path / "canary"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[core]\n\tgitProxy = touch {canary}\n[credential]\n\thelper = !touch {canary}\n"
                                     f"[url \"ext::touch {canary}\"]\n\tinsteadOf = http\n")
    evil = remote.work.commit({".gitmodules": f"[submodule \"x\"]\n\tpath = x\n\turl = ext::touch {canary}\n",
                               ".gitattributes": "* filter=evil diff=evil merge=evil\n", "x/.keep": ""}, "evil")
    remote.work.git("push", "--quiet", str(remote.bare), "HEAD:refs/heads/main")
    git(remote.bare, "config", "uploadpack.packObjectsHook", f"touch {canary};")
    environment = {"HOME": str(home), "GIT_PROXY_COMMAND": f"touch {canary}", "GIT_ASKPASS": f"touch {canary}",
                   "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.sshCommand", "GIT_CONFIG_VALUE_0": f"touch {canary}",
                   "http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1", "GIT_DIR": str(remote.work.path),
                   "GIT_ALLOW_PROTOCOL": "ext", "GIT_TRACE": str(canary), "GIT_EXEC_PATH": str(tmp_path)}
    remote.run("resolve", check=0, environment=environment, cwd=remote.work.path)
    remote.run("fetch", "--commit", evil, check=0, environment=environment, cwd=remote.work.path)
    assert not canary.exists()


def test_only_whole_histories_count(remote):
    """A pack with a hole in it leaves no ref, so the commit is not taken for there."""
    head = remote.work.head()
    tree = remote.work.git("rev-parse", "HEAD:tests")
    pack = next((remote.bare / "objects" / "pack").glob("*.pack"), None)
    if pack:
        moved = remote.directory / "moved.pack"
        pack.rename(moved)
        pack.with_suffix(".idx").unlink()
        with open(moved, "rb") as stream:
            subprocess.run(["git", "-C", str(remote.bare), "unpack-objects", "-q"], check=True, env=ENVIRONMENT,
                           stdin=stream)
    (remote.bare / "objects" / tree[:2] / tree[2:]).unlink()
    assert remote.run("fetch", "--commit", head).returncode in (1, 3, 5)
    assert not git(remote.mirror, "for-each-ref", "refs/codex/commits")


def work_on(remote, files=None, base=None):
    """Clean work on top of BASE: (bundle, commit, base)."""
    base = base or remote.work.head()
    base_bundle = remote.run("fetch", "--commit", base, check=0).stdout
    remote.work.git("checkout", "--quiet", "--detach", base)
    commit = remote.work.commit(files or {"new.txt": "new\n"}, "work")
    header = f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\n".encode()
    scratch = remote.directory / "scratch"
    scratch.mkdir(exist_ok=True)
    done = import_work(base_bundle, header + remote.work.pack(commit, base), commit, base, scratch, check=0)
    return done.files[5], commit, base


def test_a_push_creates_and_never_overwrites(remote):
    bundle, commit, base = work_on(remote)
    push = ["push", "--commit", commit, "--branch"]
    for _ in range(2):  # the second finds it there
        remote.run(*push, "feat/x", inputs={4: bundle}, check=0)
        assert git(remote.bare, "rev-parse", "feat/x") == commit
    set_ref(remote, "refs/heads/taken", base)
    remote.refused(4, *push, "taken", inputs={4: bundle})
    assert git(remote.bare, "rev-parse", "taken") == base
    remote.refused(1, *push, "feat", inputs={4: bundle})
    for name in ("$(touch x)", "a;b", "ä/ö"):
        remote.run(*push, name, inputs={4: bundle}, check=0) if " " not in name else remote.refused(
            2, *push, name, inputs={4: bundle})
        assert " " in name or git(remote.bare, "rev-parse", f"refs/heads/{name}") == commit
    # The work is in no mirror, and the mirror may be lost.
    assert commit not in git(remote.mirror, "cat-file", "--batch-all-objects", "--batch-check")
    subprocess.run(["rm", "-r", remote.mirror], check=True)
    remote.mirror.mkdir()
    remote.run(*push, "feat/y", inputs={4: bundle}, check=0)


def test_a_branch_that_appears_during_the_push_is_left_alone(remote):
    bundle, commit, base = work_on(remote)

    def hook(handler, path, query, body):
        if path.endswith("git-receive-pack"):
            set_ref(remote, "refs/heads/feat/x", base)
        return False
    remote.server.hook = hook
    done = remote.run("push", "--commit", commit, "--branch", "feat/x", inputs={4: bundle})
    assert done.returncode in (1, 4) and git(remote.bare, "rev-parse", "feat/x") == base


def test_a_cut_connection_leaves_one_branch(remote):
    """The push arrives and its answer is lost: the repetition finds it."""
    bundle, commit, _ = work_on(remote)
    cut = []

    def hook(handler, path, query, body):
        if not path.endswith("git-receive-pack") or len(body) < 50 or cut:
            return False
        cut.append(path)
        environment = {**ENVIRONMENT, "GIT_PROJECT_ROOT": str(remote.server.root), "GIT_HTTP_EXPORT_ALL": "1",
                       "PATH_INFO": path, "REQUEST_METHOD": "POST", "CONTENT_TYPE": handler.headers["Content-Type"],
                       "CONTENT_LENGTH": str(len(body)), "REMOTE_USER": "x", "GIT_CONFIG_COUNT": "1",
                       "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        subprocess.run(["/usr/lib/git-core/git-http-backend"], env=environment, input=body, check=True,
                       capture_output=True)
        handler.close_connection = True
        return True
    remote.server.hook = hook
    done = remote.run("push", "--commit", commit, "--branch", "feat/x", inputs={4: bundle})
    assert cut and done.returncode in (0, 5)  # curl itself sends it again, when it had used the connection before
    assert git(remote.bare, "rev-parse", "feat/x") == commit
    remote.run("push", "--commit", commit, "--branch", "feat/x", inputs={4: bundle}, check=0)


def test_a_base_that_moved_away(remote):
    """Pushed over there since: the commit is had by its name, or it is said to be gone."""
    first = remote.work.head()
    other = remote.work.commit({"x": "y\n"}, "other")
    remote.work.git("push", "--quiet", "--force", str(remote.bare), f"{other}:refs/heads/main")
    remote.run("fetch", "--commit", first, check=0)
    remote.refused(3, "fetch", "--commit", NOTHING, parts=["no longer has"])


def test_merged(remote):
    bundle, commit, base = work_on(remote)
    merged = ["merged", "--base", "main", "--commit", commit]
    assert remote.run(*merged).returncode == 1
    remote.run("push", "--commit", commit, "--branch", "feat/x", inputs={4: bundle}, check=0)
    assert remote.run(*merged).returncode == 1
    set_ref(remote, "refs/heads/main", commit)
    assert remote.run(*merged).returncode == 0
    assert remote.run("merged", "--base", base, "--commit", commit).returncode == 1
    assert remote.run("merged", "--base", "refs/tags/v1", "--commit", commit).returncode == 1
    remote.refused(3, "merged", "--base", "nope", "--commit", commit)


def test_moved(remote):
    base = remote.work.head()
    moved = ["moved", "--base", "main", "--base-commit", base]
    done = remote.run(*moved, inputs={4: b""}, check=0)
    assert done.stdout.decode() == f"commit {base}\nbehind 0\n"
    tip = remote.work.commit({"theirs.txt": "t\n"}, "theirs")
    git(remote.work.path, "push", "--quiet", str(remote.bare), "HEAD:refs/heads/main")
    with tempfile.TemporaryFile() as file:
        done = remote.run(*moved, inputs={4: file.fileno()}, check=0)
        assert done.stdout.decode() == f"commit {tip}\nbehind 1\n"
        assert os.pread(file.fileno(), 200, 0).startswith(f"# v2 git bundle\n-{base}\n{tip} refs/codex/moved".encode())
    assert remote.run(*moved, "--commit", tip, inputs={4: b""}, check=0).stdout.decode().endswith("behind 0\n")
    remote.refused(3, *moved[:2], "nope", *moved[3:], inputs={4: b""}, parts=["no branch 'nope' any more"])
    git(remote.bare, "symbolic-ref", "HEAD", "refs/heads/x")
    git(remote.bare, "update-ref", "-d", "refs/heads/main")
    remote.refused(3, *moved, inputs={4: b""}, parts=["no branch 'main' any more"])


def test_a_branch_that_somebody_has_built_on_holds_the_work(remote):
    bundle, commit, _ = work_on(remote)
    push = ["push", "--commit", commit, "--branch", "feat/x"]
    remote.run(*push, inputs={4: bundle}, check=0)
    theirs = git(remote.bare, "commit-tree", "-m", "theirs", "-p", commit, f"{commit}^{{tree}}")
    set_ref(remote, "refs/heads/feat/x", theirs)
    remote.run(*push, inputs={4: bundle}, check=0)
    assert git(remote.bare, "rev-parse", "feat/x") == theirs
    # Another's branch of that name is not ours, whatever else it holds.
    set_ref(remote, "refs/heads/feat/x", git(remote.bare, "commit-tree", "-m", "x", f"{commit}^{{tree}}"))
    remote.refused(4, *push, inputs={4: bundle})


@pytest.mark.parametrize("arguments", [
    ["resolve", "--repo", "https://h/x"], ["resolve", "--repo", "https://h/x", "--mirror", "/m"],
    ["resolve", "--repo", "https://h/x", "--mirror", "/m", "--timeout", "x", "--stall", "1"],
    ["resolve", "--repo", "https://h/x", "--mirror", "/m", "--timeout", "0", "--stall", "1"],
    ["resolve", "--repo", "ext::x", "--mirror", "/m", "--timeout", "1", "--stall", "1"],
    ["resolve", "--repo", "https://a:b@h/x", "--mirror", "/m", "--timeout", "1", "--stall", "1"],
    ["resolve", "--repo", "/srv", "--mirror", "/m", "--timeout", "1", "--stall", "1"],
    ["push", "--repo", "/srv", "--commit", NOTHING, "--branch", "x", "--base-commit", NOTHING]])
def test_bad_usage(arguments):
    done = run_program("codex-git", *arguments, inputs={3: b"", 4: b""}, check=2)
    assert done.stderr.count("\n") == 1


def test_a_malformed_access_is_refused(remote):
    with nothing_stays_in_run():
        for content in (b"token", b"token 5\n", b"token 5\nabc\n", b"token 3\nabcX", b"other 3\nabc\n",
                        b"token 3\nabc\ntoken 3\nabc\n", b"token -1\n\n", b"token 99999999999\nabc\n"):
            done = run_program("codex-git", "resolve", "--repo", remote.url, "--mirror", remote.mirror, "--timeout", "5000",
                               "--stall", "5000", inputs={3: content}, check=1)
            assert "malformed access" in done.stderr
