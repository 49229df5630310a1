"""Submodules: which are fetched, from where, with what; and how they arrive in the workspace."""
import pytest

from support.bundles import base_bundle, import_work, index_of, work_bundle
from support.codex import codex_on, wait_for
from support.git_server import TOKEN, GitServer, access, bare, certificate, git
from support.model_server import call, message
from support.program import run_program
from support.repository import CALCULATOR, Repository
from support.steps import Workspace
from test_main_job import SUBMIT

NEEDS_NEAR = {
    "calc.py": "import sys\nsys.path.insert(0, 'libs/near')\nfrom near import add  # noqa\n",
    "tests/__init__.py": "", "tests/test_calc.py": CALCULATOR["tests/test_calc.py"],
}


def modules(entries):
    """The text of .gitmodules: {path: url or (url, more)}."""
    text = ""
    for path, value in entries.items():
        url, more = value if isinstance(value, tuple) else (value, "")
        text += f"[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n{more}"
    return text


def add_modules(repository, entries, commits, more=None, message_="modules"):
    """Commit submodules: ENTRIES as for modules(), COMMITS {path: commit}."""
    repository.write({".gitmodules": modules(entries), **(more or {})})
    repository.git("add", "--all")
    for path, commit in commits.items():
        repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    repository.git("commit", "--quiet", "--message", message_)
    return repository.head()


class Forge:
    """A directory of repositories on a server."""

    def __init__(self, root, **options):
        self.root = root
        root.mkdir()
        self.server = GitServer(root / "srv", **options)
        (root / "srv").mkdir()

    def make(self, name, files):
        return Repository(self.root / name, files)

    def serve(self, repository, name):
        path = bare(repository, self.root / "srv" / f"{name}.git")
        git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
        return path


@pytest.mark.slow
def test_a_task_whose_tests_need_submodules(tmp_path):
    home, far = Forge(tmp_path / "home", tls=certificate(tmp_path)), Forge(tmp_path / "far", public=True)
    away = Forge(tmp_path / "away", public=True)
    deep = home.make("deep", {"deep.py": "def plus(a, b):\n    return a + b\n"})
    near = home.make("near", {"near.py": "from deep.deep import plus as add\n"})
    other = far.make("other", {"other.txt": "from elsewhere\n"})
    add_modules(near, {"deep": "../deep.git"}, {"deep": deep.head()},
                {"near.py": "import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n"
                            "from deep.deep import plus as add\n"})
    app = home.make("app", NEEDS_NEAR)
    first = app.head()
    with home.server, far.server, away.server:
        for forge, repository, name in ((home, deep, "deep"), (home, near, "near"), (far, other, "other"),
                                        (away, other, "other")):
            forge.serve(repository, name)
        urls = {"libs/near": "../near.git", "libs/far": far.server.url("other.git"), "self": "./../app.git",
                "libs/away": away.server.url("other.git"), "libs/ext": "ext::sh -c touch% /tmp/x",
                "libs/file": f"file://{home.root}/deep", "libs/path": str(deep.path),
                "libs/login": f"https://me:secret@{home.server.site}/deep.git", "libs/gone": "../gone.git",
                "libs/out": "../../../x.git", "libs/dead": "http://127.0.0.1:1/x.git"}
        commits = {path: first if path == "self" else deep.head() if path != "libs/near" else near.head()
                   for path in urls}
        # Another commit than any that is fetched: what came for one place would be had for all.
        missing = "1" * 40
        commits |= {path: missing for path in urls if path not in ("libs/near", "libs/far", "self")}
        commits["libs/far"] = other.head()
        away_commit = other.commit({"more.txt": "x\n"}, "second")
        other.git("push", "--quiet", str(away.root / "srv" / "other.git"), "HEAD:refs/heads/main")
        commits["libs/away"] = away_commit
        add_modules(app, urls, commits)
        served = home.serve(app, "app")
        look = ("git status --porcelain; git submodule status --recursive; find libs self -mindepth 1 -maxdepth 1 -not -name .git; "
                "cat libs/far/other.txt; find . -name config -path '*.git/config' -exec grep -H url {} +; "
                "cd libs/near && echo '# mine' >> near.py && git commit --quiet --all --message mine && "
                "echo '# more' >> near.py && git log --format=%an:%s")
        script = [[call("exec_command", {"cmd": look})],
                  [call("exec_command", {"cmd": "printf 'def subtract(a, b):\\n    return a - b\\n' >> calc.py"})],
                  [SUBMIT], [message("Done.")]]
        configuration = (f"[git]\nstall_timeout = 2s\nfetch_timeout = 20s\n[internet]\nallow_private = {far.server.site}, 127.0.0.1:1\n"
                         f"[forge \"{home.server.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\n"
                         f"ca_file = {home.server.tls[0]}\n")
        with codex_on(script, configuration, {"FORGE_TOKEN": TOKEN}) as (codex, model):
            task = codex.task("Add subtract", "--repo", home.server.url("app.git"), cwd=codex.home)
            ended = codex.wait(task, "completed")
            assert ended["verdict"] == "passed" and ended["evidence"]["baseline"]["exit_code"] == 0, ended
            log = codex.run("logs", task).stdout
            bundles = list((codex.state / "server" / "bundles").iterdir())
            mirrors = list((codex.state / "server" / "mirrors").iterdir())
        output = list(model.requests[1].outputs.values())[0]
        assert "from elsewhere" in output and "Codex:mine" in output, output
        status = output[output.index("Output:"):output.index("libs/away\n")].splitlines()
        there = {line.split()[1] for line in output.splitlines() if line.startswith(" ") and len(line.split()) > 1}
        assert there == {"libs/far", "libs/near", "libs/near/deep", "self"}, output
        assert not any(line[:3] in (" M ", "?? ", " D ") for line in status), output
        assert "self/calc.py" in output and "libs/away/" not in output and home.server.site not in output
        # Said, with the reason; and nothing of it ran.
        for path, why in {"libs/away": "no public address", "libs/ext": "only https://", "libs/file": "only https://",
                          "libs/path": "only https://",
                          "libs/login": "only https://", "libs/gone": "there is no", "libs/out": "leads nowhere",
                          "libs/dead": "cannot be reached"}.items():
            assert any(f"'{path}' was left out" in line and why in line for line in log.splitlines()), (path, log)
        assert "commits made in it cannot be delivered" in log and "changes to its files cannot be delivered" in log
        # The delivered branch has the submodules where they were.
        tree = git(served, "ls-tree", ended["branch"], "libs/near", "libs/far")
        assert near.head() in tree and other.git("rev-parse", "HEAD~1") in tree
        # Our token went to our host alone; the others were asked without any login, or not at all.
        assert far.server.requests and not any(header for _, _, header in far.server.requests)
        assert not away.server.requests
        assert len(mirrors) == 7  # app, near, deep, other; empty ones of what is gone, away or dead
        assert not bundles  # without what is only away for now, it is for nobody else
        assert TOKEN not in log


@pytest.mark.slow
def test_hosts_that_hang_keep_nobody_waiting(tmp_path):
    """So many tasks with a submodule on a host that never answers as there may be fetches at once; then another task."""
    home, far = Forge(tmp_path / "home"), Forge(tmp_path / "far", public=True)
    far.server.hook = lambda *_: far.server.released.wait() or True
    with home.server, far.server:
        for number in range(5):
            app = home.make(f"app{number}", CALCULATOR)
            if number < 4:
                add_modules(app, {"far": far.server.url(f"far{number}.git")}, {"far": app.head()})
            home.serve(app, f"app{number}")
        configuration = (f"[git]\nstall_timeout = 170s\n[internet]\nallow_private = {far.server.site}\n"
                         f"[forge \"{home.server.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\n")
        with codex_on([[message("Nothing to do.")]] * 5, configuration, {"FORGE_TOKEN": TOKEN}) as (codex, _):
            held = [codex.task("Wait", "--repo", home.server.url(f"app{number}.git"), cwd=codex.home) for number in range(4)]
            wait_for(lambda: len(far.server.requests) == 2, what="two ask the host that hangs")
            task = codex.task("Go", "--repo", home.server.url("app4.git"), cwd=codex.home)
            codex.wait(task, "completed")
            assert len(far.server.requests) == 2
            assert all(codex.status(other)["state"] in ("queued", "preparing") for other in held)
            far.server.released.set()


def list_of(remote, forge, commit, tmp_path):
    mirror = tmp_path / f"mirror-{commit[:12]}"
    mirror.mkdir()
    done = run_program("codex-git", "fetch", "--repo", remote, "--mirror", mirror, "--timeout", "20000", "--stall",
                       "9000", "--commit", commit, "--part", "base", inputs={3: access(token=TOKEN)}, outputs=(4,),
                       check=0)
    assert done.stdout.startswith(b"# v2 git bundle\n")
    return done.files[4].decode().splitlines()


def test_a_hostile_gitmodules_is_only_text(tmp_path):
    forge = Forge(tmp_path / "forge")
    sha = "2" * 40
    with forge.server:
        host = forge.server.base
        good = {"../x.git": f"{host}/o/x.git", "./x": f"{host}/o/app.git/x", "../../x": f"{host}/x",
                "https://other.example/a/b.git": "https://other.example/a/b.git",
                "git@other.example:a/b": "git@other.example:a/b"}
        bad = ["../../../x", "../..", "..", "/x", "ext::sh", "file:///x", "-x", "$(touch x)", "a\\nmodule " + sha + " https://e.x/y z",
               "https://u:p@h/x", "../x?y", "git://h/x", "https://h/../x", "../%2e%2e/x", "fd::17", "--upload-pack=x", "::x"]
        entries = {f"g{number}": url for number, url in enumerate(good)}
        entries |= {f"b{number}": f"\"{url}\"" for number, url in enumerate(bad)}
        entries[f"b{len(bad)}"] = ("../x", "\tupdate = !touch /tmp/x\n")  # git itself refuses to work with it
        bad.append("!")
        app = forge.make("app", {"a": "b\n"})
        # Paths that are none of the tree's, names that lead elsewhere, the same twice, control characters.
        odd = ("[submodule \"../../evil\"]\n\tpath = g0\n\turl = ../x.git\n[submodule \"u\"]\n\tpath = ../g0\n\turl = ../x\n"
               "[submodule \"g\"]\n\tpath = \":(glob)*\"\n\turl = ../x\n[submodule]\n\tpath = q\n[include]\n\tpath = /etc/passwd\n"
               "[submodule \"c\"]\n\tpath = \"a\"\n\turl = ../x\n")
        commit = add_modules(app, entries, {path: sha for path in entries})
        (app.path / ".gitmodules").write_text(modules(entries) + odd)
        app.git("add", ".gitmodules")
        app.git("commit", "--quiet", "--message", "odd")
        commit = app.head()
        (forge.root / "srv" / "o").mkdir()
        forge.serve(app, "o/app")
        url = f"{host}/o/app.git"
        lines = list_of(url, forge, commit, tmp_path)
        assert [line for line in lines if line.startswith("module ")] == [
            *(f"module {sha} {expected} g{number}" for number, expected in enumerate(good.values())),
            f"module {sha} {host}/o/x.git g0"]
        assert all(any(f"'b{number}' was left out" in line for line in lines) for number in range(len(bad))), lines
        assert all(line.startswith(("module ", "note ")) for line in lines)
        many = {f"m/{number}": "../x" for number in range(60)}
        commit = add_modules(app, many, {path: sha for path in many})
        app.git("push", "--quiet", "--force", str(forge.root / "srv" / "o" / "app.git"), "HEAD:refs/heads/main")
        lines = list_of(url, forge, commit, tmp_path)
        assert sum(line.startswith("module ") for line in lines) == 32 and "too many" in lines[-1]
        # What cannot be read, what is far too much, what is a link.
        app.write({".gitmodules": "[submodule \"x\"\n\tpath"})
        assert list_of_pushed(app, forge, url, tmp_path) == ["note submodules were left out: .gitmodules cannot be read"]
        app.write({".gitmodules": modules({f"g0/{number}": "../x" for number in range(20000)})})
        assert list_of_pushed(app, forge, url, tmp_path) in (
            [], ["note submodules were left out: .gitmodules cannot be read"])
        (app.path / ".gitmodules").unlink()
        (app.path / ".gitmodules").symlink_to("/etc/passwd")
        assert not any(line.startswith("module ") for line in list_of_pushed(app, forge, url, tmp_path))


def list_of_pushed(app, forge, url, tmp_path):
    app.git("add", "--all")
    app.git("commit", "--quiet", "--allow-empty", "--message", "more")
    app.git("push", "--quiet", "--force", str(forge.root / "srv" / "o" / "app.git"), "HEAD:refs/heads/main")
    return list_of(url, forge, app.head(), tmp_path)


def test_hosts_that_only_a_repository_names(tmp_path):
    """codex-git with a policy connects to what that allows, and is led nowhere else."""
    forge, secret = Forge(tmp_path / "forge", public=True), Forge(tmp_path / "secret", public=True)
    app = forge.make("app", {"a": "b\n"})
    with forge.server, secret.server:
        forge.serve(app, "app")
        secret.serve(app, "app")

        def fetch(status, internet, url=None, part="module"):
            mirror = tmp_path / "mirror"
            mirror.mkdir(exist_ok=True)
            done = run_program("codex-git", "fetch", "--repo", url or forge.server.url("app.git"), "--mirror", mirror,
                               "--timeout", "20000", "--stall", "9000", "--commit", app.head(), "--part", part,
                               inputs={3: access(internet=internet)}, outputs=(4,), check=status)
            assert status == 0 or done.stderr.count("\n") == 1, done.stderr
            return done.stderr
        assert "access is off" in fetch(1, '{"access":"off"}')
        assert "does not allow" in fetch(1, '{"access":"list","allow":["example.com"]}')
        for host in ("127.0.0.1", "0x7f.1", "2130706433", "localhost", "[::1]", "[::ffff:127.0.0.1]"):
            url = f"http://{host}:{forge.server.httpd.server_address[1]}/app.git"
            assert "allow" in fetch(1, '{"access":"public"}', url)
        fetch(1, "nonsense")
        fetch(1, '{"access":"public"}', "git@127.0.0.1:x")
        assert not forge.server.requests
        allowed = f'{{"access":"list","allow_private":["{forge.server.site}"]}}'
        # Redirected, even to a place that is allowed.
        forge.server.hook = lambda handler, path, query, body: handler._plain(
            301, b"", [("Location", f"{secret.server.base}{path}?{query}")]) or True
        fetch(1, allowed)
        assert not secret.server.requests
        forge.server.hook = None
        fetch(0, allowed)
        assert not any(header for _, _, header in forge.server.requests)


def trailer(kind, start):
    return f"\ncodex-part {kind} {start:016x}\n".encode()


def with_modules(base, *bundles):
    """BASE with module BUNDLES (bytes) behind it."""
    for bundle in bundles:
        start = len(base)
        base += bundle.replace(b"refs/codex/base", b"refs/codex/module", 1) + trailer("M", start)
    return base


def test_what_the_agent_does_with_submodules(tmp_path):
    sub = Repository(tmp_path / "sub", {"s.txt": "one\n"})
    old, new = sub.head(), sub.commit({"s.txt": "two\n"}, "second")
    app = Repository(tmp_path / "app", {"a": "b\n"})
    base = add_modules(app, {"sub": "../sub", "twin": "../sub", "none": "../none"},
                       {"sub": new, "twin": new, "none": "3" * 40})
    bundle = with_modules(base_bundle(app), base_bundle(sub))
    notes = len(bundle)
    bundle += b"submodule 'none' was left out: \x1b[2Jwhy\n" + trailer("N", notes)
    with Workspace() as workspace:
        done = workspace.checkout(bundle, commit=base)
        assert "note: submodule 'none' was left out: \\x1b[2Jwhy\n" in done.stderr
        assert "note: 1 submodule not fetched, and empty: none\n" in done.stderr
        repository = workspace.repository()
        assert (workspace.path / "sub" / "s.txt").read_text() == (workspace.path / "twin" / "s.txt").read_text() == "two\n"
        assert repository.git("status", "--porcelain") == ""
        assert repository.git("-C", "sub", "log", "--format=%s") == "second\nfirst"
        # Nothing but a note when files within are changed.
        workspace.write({"sub/s.txt": "mine\n", "sub/new.txt": "x\n"})
        done = workspace.commit(check=3)
        assert "'sub' is a submodule: changes to its files" in done.stderr and "twin" not in done.stderr
        # A commit of its own is not delivered; one that the remote has is.
        repository.git("-C", "sub", "-c", "user.name=A", "-c", "user.email=a@a", "commit", "--quiet", "--all", "--message", "x")
        repository.git("-C", "twin", "checkout", "--quiet", old)
        done = workspace.commit()
        assert "'sub' is a submodule: commits made in it" in done.stderr, done.stderr
        commit = done.json()["commit"]
        assert old in repository.git("ls-tree", commit, "twin") and new in repository.git("ls-tree", commit, "sub")
        assert repository.git("diff-tree", "--name-only", "-r", base, commit) == "twin"
        # As verification sees it, over the base.
        with Workspace() as fresh:
            fresh.checkout(bundle, commit=base)
            for _ in range(2):
                fresh.checkout(bundle, commit=base, work=done.files[5])
                assert (fresh.path / "twin" / "s.txt").read_text() == "one\n"
                assert (fresh.path / "sub" / "s.txt").read_text() == "two\n"
                assert fresh.repository().git("status", "--porcelain") == ""
                fresh.repository().git("-C", "twin", "checkout", "--quiet", new)
        # The base again without the agent's repository.
        workspace.repository().git("update-ref", "-d", "HEAD", check=False)
        (workspace.path / ".git" / "HEAD").write_text("x\n")
        assert workspace.commit(inputs={4: bundle}).returncode == 0


def test_malformed_parts(tmp_path):
    sub = Repository(tmp_path / "sub", {"s.txt": "one\n"})
    app = Repository(tmp_path / "app", {"a": "b\n"})
    base = add_modules(app, {"sub": "../sub"}, {"sub": sub.head()})
    plain, module = base_bundle(app), base_bundle(sub)
    whole = with_modules(plain, module)
    cut = with_modules(plain, module[:-40])
    cases = {"cut": cut, "not a bundle": plain + b"x" * 100 + trailer("M", len(plain)),
             "empty": plain + trailer("M", len(plain)), "of the base": with_modules(plain, plain),
             "kind": plain + module + trailer("X", len(plain)), "notes": plain + b"\0\xff\x1b" * 9 + trailer("N", len(plain)),
             "many notes": plain + b"x" * 40000 + trailer("N", len(plain))}
    for name, bundle in cases.items():
        with Workspace() as workspace:
            done = workspace.checkout(bundle, commit=base)
            assert not list((workspace.path / "sub").iterdir()), name
            assert "\x1b" not in done.stderr and "1 submodule not fetched" in done.stderr, (name, done.stderr)
    for name, bundle in {"past the end": whole + trailer("M", len(whole) + 999), "too many": plain + b"".join(
            trailer("N", len(plain) + 31 * number) for number in range(100))}.items():
        with Workspace() as workspace:
            done = workspace.checkout(bundle, commit=base, check=None)
            assert done.returncode in (0, 1) and "Traceback" not in done.stderr, (name, done.stderr)


def test_commits_that_came_along_keep_the_submodules(tmp_path):
    sub = Repository(tmp_path / "sub", {"s.txt": "one\n"})
    app = Repository(tmp_path / "app", {"a": "b\n"})
    known = add_modules(app, {"sub": "../sub"}, {"sub": sub.head()})
    app.write({"a": "c\n"})
    app.git("add", "a")
    app.git("commit", "--quiet", "--message", "mine")
    head = app.head()
    base = with_modules(base_bundle(app, known), base_bundle(sub))
    (tmp_path / "scratch").mkdir()
    # What comes behind the base bundle is no matter to the import, with an index of the base or without.
    work, index = work_bundle(app, head, known), index_of(base, tmp_path / "scratch")
    assert index == index_of(base_bundle(app, known), tmp_path / "scratch")
    plain = import_work(base_bundle(app, known), work, head, known, tmp_path / "scratch", check=0)
    for more in (None, index):
        assert import_work(base, work, head, known, tmp_path / "scratch", check=0, index=more).files == plain.files
    done = run_program("codex-git", "adopt", "--commit", head, "--base-commit", known, check=0, cwd=tmp_path / "scratch",
                       inputs={3: base, 4: work}, outputs=(5, 6))
    with Workspace() as workspace:
        workspace.checkout(done.files[6], commit=head)
        assert (workspace.path / "sub" / "s.txt").read_text() == "one\n"
        assert (workspace.path / "a").read_text() == "c\n"
        assert workspace.repository().git("submodule", "status").startswith(f" {sub.head()} sub")
