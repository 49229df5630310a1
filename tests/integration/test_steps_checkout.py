"""codex-agent checkout: from bundles to a workspace."""
import os
import subprocess

import pytest

from support.bundles import base_bundle, work_bundle
from support.program import TASK_USER
from support.large_files import pointer
from support.repository import Repository
from support.steps import Workspace

NO_LIMITS = {"memory_bytes": None, "cpu_milli": None, "pids": None, "disk_bytes": None}


@pytest.fixture(name="workspace")
def make_workspace():
    with Workspace() as workspace:
        yield workspace


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    repository = Repository(tmp_path / "repo", {"a.txt": "one\n", "dir/run.sh": "#!/bin/sh\n"})
    (repository.path / "dir" / "run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("a.txt")
    repository.commit({"a.txt": "two\n"}, "second")
    return repository


def test_the_workspace_is_an_ordinary_clone(workspace, repository):
    done = workspace.checkout(base_bundle(repository), commit=repository.head())
    assert done.json() == {"commit": repository.head(), "internet": None, "limits": NO_LIMITS}
    clone = workspace.repository()
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert clone.git("log", "--format=%s") == "second\nfirst"
    assert clone.git("remote") == "" and clone.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert clone.git("config", "user.name") == "Codex" and clone.git("config", "user.email") == "codex@localhost"
    assert clone.git("fsck", "--strict") == ""
    assert os.access(workspace.path / "dir" / "run.sh", os.X_OK)
    assert os.readlink(workspace.path / "link") == "a.txt"
    assert [p.name for p in workspace.root.iterdir()] == ["demo"]


def test_everything_belongs_to_the_task_user(workspace, repository):
    workspace.checkout(base_bundle(repository), commit=repository.head())
    expected = TASK_USER if os.getuid() == 0 else os.getuid()
    for top, directories, files in os.walk(workspace.path):
        for name in [".", *directories, *files]:
            assert os.lstat(os.path.join(top, name)).st_uid == expected


def test_a_second_run_finds_it_done(workspace, repository):
    bundle = base_bundle(repository)
    workspace.checkout(bundle, commit=repository.head())
    workspace.write({"a.txt": "the agent's\n"})
    done = workspace.checkout(bundle)
    assert done.json() == {"commit": repository.head()}
    assert (workspace.path / "a.txt").read_text() == "the agent's\n"


def test_the_base_says_what_it_narrows_and_the_work_does_not(workspace, repository):
    """What the agent makes of the file is in no result: not of its workspace, and not of its commit."""
    base = repository.commit({".codex/environment.conf": "internet = list\nallow = a.test\npids = 99\n"}, "narrow")
    bundle = base_bundle(repository)
    done = workspace.checkout(bundle, commit=base)
    assert done.json() == {"commit": base, "internet": {"access": "list", "allow": ["a.test"]},
                           "limits": {**NO_LIMITS, "pids": 99}}
    workspace.write({".codex/environment.conf": "internet = public\n"})
    assert workspace.checkout(bundle, commit=base).json() == {"commit": base}
    repository.git("checkout", "--quiet", "-b", "work")
    work = repository.commit({".codex/environment.conf": "internet = nonsense\n"}, "widen")
    done = workspace.checkout(bundle, work_bundle(repository, work, base), commit=base)
    assert done.json() == {"commit": work}


def test_a_run_that_was_cut_short_leaves_nothing_that_counts(workspace, repository):
    (workspace.root / ".codex-checkout" / ".git").mkdir(parents=True)
    (workspace.root / ".codex-checkout" / "half.txt").write_text("half")
    workspace.path.mkdir()
    workspace.own(workspace.root)
    workspace.checkout(base_bundle(repository), commit=repository.head())
    assert sorted(p.name for p in workspace.path.iterdir()) == [".git", "a.txt", "dir", "link"]
    assert [p.name for p in workspace.root.iterdir()] == ["demo"]


@pytest.mark.parametrize("base", ["refs/tags/v1", "refs/remotes/origin/x", None])
def test_a_base_that_is_no_branch_is_detached(workspace, repository, base):
    workspace.task["base"] = base or repository.head()
    workspace.checkout(base_bundle(repository), commit=repository.head())
    clone = workspace.repository()
    assert clone.git("rev-parse", "HEAD") == repository.head()
    assert clone.git("symbolic-ref", "HEAD", check=False) == ""


@pytest.mark.parametrize("base", ["feat/$(x)", "ü　x", "release-1.0", "refs-like/x"])
def test_branch_names_are_literal(workspace, repository, base):
    workspace.task["base"] = base
    workspace.checkout(base_bundle(repository), commit=repository.head())
    assert workspace.repository().git("symbolic-ref", "HEAD") == f"refs/heads/{base}"


def test_names_of_authors_are_literal(workspace, repository):
    workspace.task["author"] = {"name": 'A "quoted\\ name # ; [core]', "email": "a'b@$(x)"}
    workspace.checkout(base_bundle(repository), commit=repository.head())
    clone = workspace.repository()
    assert clone.git("config", "user.name") == 'A "quoted\\ name # ; [core]'
    assert clone.git("config", "user.email") == "a'b@$(x)"


def test_in_verification_the_work_is_checked_out(workspace, repository):
    base = repository.head()
    commit = repository.commit({"new.txt": "n\n"}, "work")
    done = workspace.checkout(base_bundle(repository, base), work_bundle(repository, commit, base), commit=base)
    assert done.json() == {"commit": commit}
    assert (workspace.path / "new.txt").exists()
    assert workspace.repository().git("rev-parse", "HEAD", "HEAD^").split() == [commit, base]


def test_an_empty_file_in_place_of_the_work_is_none(workspace, repository):
    done = workspace.checkout(base_bundle(repository), b"", commit=repository.head())
    assert done.json() == {"commit": repository.head(), "internet": None, "limits": NO_LIMITS}


def test_a_shallow_history_stays_shallow(workspace, repository, tmp_path):
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{repository.path}", str(shallow)], check=True)
    workspace.checkout(base_bundle(Repository(shallow)), commit=repository.head())
    clone = workspace.repository()
    assert clone.git("log", "--format=%s") == "second" and clone.git("fsck") == ""


def test_a_descriptor_may_be_shared_and_its_position_does_not_matter(workspace, repository):
    fd = os.memfd_create("shared")
    os.write(fd, base_bundle(repository))
    workspace.checkout(fd, commit=repository.head())
    assert os.lseek(fd, 0, os.SEEK_CUR) == os.fstat(fd).st_size
    os.close(fd)


@pytest.mark.parametrize("broken", [b"", b"# v2 git bundle\n", b"junk" * 100])
def test_broken_bundles_are_one_line(workspace, repository, broken):
    done = workspace.checkout(broken, commit=repository.head(), check=1)
    assert done.stderr.startswith("codex-agent checkout: base bundle: malformed bundle") and done.stderr.count("\n") == 1
    assert not list(workspace.root.iterdir())


def test_a_bundle_cut_off_in_its_pack(workspace, repository):
    done = workspace.checkout(base_bundle(repository)[:-30], commit=repository.head(), check=1)
    assert done.stderr.count("\n") == 1 and not list(workspace.root.iterdir())


def test_bundles_that_do_not_fit_the_task(workspace, repository):
    first = repository.git("rev-parse", "HEAD^")
    assert "not of commit" in workspace.checkout(base_bundle(repository), commit=first, check=1).stderr
    commit = repository.commit({"x": "x\n"}, "work")
    work = work_bundle(repository, commit, repository.git("rev-parse", "HEAD^"))
    done = workspace.checkout(base_bundle(repository, first), work, commit=first, check=1)
    assert "does not build on" in done.stderr and not workspace.path.exists()


def test_missing_descriptors(workspace, repository):
    workspace.task["base_commit"] = repository.head()
    done = workspace.step("checkout", check=1)
    assert done.stderr.count("\n") == 1
    done = workspace.step("checkout", inputs={4: base_bundle(repository)}, outputs=(), check=2)
    assert "descriptor 3" in done.stderr and not workspace.path.exists()


def test_a_tree_with_git_in_it_is_refused(workspace, tmp_path):
    repository = Repository(tmp_path / "evil", {"a": "a\n"})
    tree = repository.git("rev-parse", "HEAD^{tree}")
    blob = repository.git("rev-parse", "HEAD:a")
    raw = b"40000 .git\0" + bytes.fromhex(tree) + b"100644 a\0" + bytes.fromhex(blob)
    evil = subprocess.run(["git", "-C", str(repository.path), "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
                          input=raw, capture_output=True, check=True).stdout.decode().strip()
    commit = repository.git("commit-tree", "-m", "evil", evil)
    done = workspace.checkout(base_bundle(repository, commit), commit=commit, check=1)
    assert "invalid path" in done.stderr and done.stderr.count("\n") == 1 and not list(workspace.root.iterdir())


def test_odd_names_and_links_and_submodules(workspace, tmp_path):
    repository = Repository(tmp_path / "odd", {"new\nline": "1\n", "\x1b[2J": "2\n", "-rf": "3\n", "a" * 255: "4\n",
                                               ".gitmodules": '[submodule "x"]\n\tpath = sub\n\turl = ext::sh -c x\n',
                                               ".gitattributes": "* filter=x text=auto\n"})
    (repository.path / "out").symlink_to("/etc")
    (repository.path / "loop").symlink_to("loop")
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{repository.head()},sub")
    repository.git("commit", "--quiet", "--message", "odd")
    workspace.checkout(base_bundle(repository), commit=repository.head())
    assert workspace.repository().git("status", "--porcelain") == ""
    assert os.readlink(workspace.path / "out") == "/etc" and list((workspace.path / "sub").iterdir()) == []


def test_the_workspace_cannot_be_put_where_something_else_is(workspace, repository):
    workspace.path.write_text("a file")
    workspace.own(workspace.path)
    done = workspace.checkout(base_bundle(repository), commit=repository.head(), check=1)
    assert done.stderr.count("\n") == 1 and [p.name for p in workspace.root.iterdir()] == ["demo"]


@pytest.mark.parametrize("change", [
    {"workdir": None}, {"workdir": "relative"}, {"workdir": "/"}, {"workdir": "/x/.."}, {"workdir": "/x/"}, {"workdir": 7},
    {"base": ""}, {"base": "a\nb"}, {"base_commit": "main"}, {"base_commit": "A" * 40}, {"author": {"name": "x"}},
    {"author": None}, {"author": {"name": "a\nb", "email": "x"}}, {"commit_time": "now"}, {"commit_time": -1},
    {"test_timeout_ms": 0}, {"test_command": ["x"]}, {"prompt": 5}])
def test_bad_task_files_name_what_is_wrong(workspace, change):
    done = workspace.step("checkout", task=change, check=2)
    assert done.stderr.startswith("codex-agent checkout: task.json: '") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"workdir": "\\u0000"}', b"[" * 100000])
def test_task_files_that_are_none(text):
    from support.program import run_program
    done = run_program("codex-agent", "checkout", inputs={0: text}, outputs=(3,), check=2)
    assert "task.json" in done.stderr and done.stderr.count("\n") == 1


def test_bad_usage(workspace):
    assert workspace.step("checkout", "x", check=2).stderr.startswith("usage:")


def test_what_is_not_fetched_is_said(workspace, repository):
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{repository.head()},lib/\x1b[2Jx")
    repository.commit({".gitmodules": "[submodule \"x\"]\n\tpath = lib/x\n\turl = ext::sh -c touch% /tmp/x\n",
                       "assets/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
                       "assets/x.bin": pointer(b"not here")}, "more")
    done = workspace.checkout(base_bundle(repository), commit=repository.head())
    assert done.stderr.splitlines() == [
        "note: 1 submodule not fetched, and empty: lib/x",
        "note: 1 file in Git LFS not fetched: a pointer is in its place"]
    assert (workspace.path / "assets/x.bin").read_text() == pointer(b"not here")
    assert workspace.repository().git("status", "--porcelain") == ""


def test_an_ordinary_repository_is_checked_out_in_silence(workspace, repository):
    assert workspace.checkout(base_bundle(repository), commit=repository.head()).stderr == ""
