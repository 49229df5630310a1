"""codex-agent commit: what the agent left, as one commit more and a bundle."""
import os
import signal
import subprocess
import time

import pytest

from support.bundles import base_bundle, import_work
from support.program import TASK_USER
from support.repository import CALCULATOR, Repository
from support.steps import COMMIT_TIME, Workspace

FILES = {**CALCULATOR, "README.md": "read me\n", ".gitignore": "*.log\n"}


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "repo", FILES)


@pytest.fixture(name="workspace")
def make_workspace(repository):
    with Workspace() as workspace:
        workspace.checkout(base_bundle(repository), commit=repository.head())
        yield workspace


class Delivered:
    """What arrives at the other side: the bundle imported, as codexd would."""

    def __init__(self, workspace, repository, done, tmp_path):
        self.result = done.json()
        self.commit = self.result["commit"]
        base = workspace.task["base_commit"]
        scratch = tmp_path / f"scratch-{self.commit}"
        scratch.mkdir()
        imported = import_work(base_bundle(repository, base), done.files[5], self.commit, base, scratch, check=0)
        self.diff = imported.files[6].decode(errors="surrogateescape")
        (scratch / "clean").write_bytes(imported.files[5])
        self.repository = repository
        repository.git("fetch", "--quiet", str(scratch / "clean"), f"refs/codex/work:refs/delivered/{self.commit}")

    def show(self, form):
        return self.repository.git("show", "--no-patch", f"--format={form}", self.commit)

    def files(self):
        return set(self.repository.git("ls-tree", "-r", "--name-only", "-z", self.commit).rstrip("\0").split("\0"))

    def file(self, name):
        return self.repository.git("show", f"{self.commit}:{name}")


@pytest.fixture(name="deliver")
def make_deliver(workspace, repository, tmp_path):
    def deliver(**options):
        return Delivered(workspace, repository, workspace.commit(**options), tmp_path)
    return deliver


def test_changes_become_one_commit_on_the_base(workspace, deliver):
    workspace.write({"calc.py": "changed\n", "new/file.txt": "new\n"})
    (workspace.path / "README.md").unlink()
    got = deliver()
    assert got.result == {"commit": got.commit, "changed": True, "files": 3, "insertions": 2, "deletions": 3,
                          "title": "Do the work", "body": "", "branch": None}
    assert got.show("%P") == workspace.task["base_commit"]
    assert got.show("%an <%ae> %at|%cn <%ce> %ct|%B").strip() == (
        f"Codex <codex@localhost> {COMMIT_TIME}|Codex <codex@localhost> {COMMIT_TIME}|Do the work")
    assert got.files() == {"calc.py", "new/file.txt", ".gitignore", "tests/__init__.py", "tests/test_calc.py"}
    assert "deleted file" in got.diff and "+new" in got.diff


def test_the_same_work_is_the_same_commit(workspace, deliver, repository):
    workspace.write({"calc.py": "changed\n"})
    first = deliver().commit
    with Workspace() as other:
        other.checkout(base_bundle(repository), commit=repository.head())
        other.write({"calc.py": "changed\n"})
        assert other.commit().json()["commit"] == first


def test_a_later_round_replaces_the_commit_of_an_earlier_one(workspace, deliver):
    workspace.write({"calc.py": "one\n"})
    first = deliver()
    workspace.write({"calc.py": "two\n", "more.txt": "x\n"})
    second = deliver()
    assert second.commit != first.commit and second.show("%P") == first.show("%P")
    workspace.write({"calc.py": "one\n"})
    (workspace.path / "more.txt").unlink()
    assert deliver_again(workspace) == first.commit


def deliver_again(workspace):
    return workspace.commit().json()["commit"]


def test_the_workspace_is_left_as_the_agent_left_it(workspace, deliver):
    clone = workspace.repository()
    workspace.write({"calc.py": "staged\n"})
    clone.git("add", "calc.py")
    workspace.write({"calc.py": "not staged\n", "new": "n\n"})
    before = clone.git("status", "--porcelain"), clone.git("for-each-ref"), clone.git("rev-parse", "HEAD")
    assert deliver().file("calc.py") == "not staged"
    assert (clone.git("status", "--porcelain"), clone.git("for-each-ref"), clone.git("rev-parse", "HEAD")) == before
    assert [p.name for p in workspace.root.iterdir()] == ["demo"]


def test_the_agents_own_commits_stay(workspace, deliver):
    clone = workspace.repository()
    clone.commit({"a": "a\n"}, "the agent's first")
    own = clone.commit({"b": "b\n"}, "the agent's second")
    got = deliver()
    assert got.commit == own and got.result["files"] == 2 and got.result["title"] == "Do the work"
    workspace.write({"c": "c\n"})
    got = deliver()
    assert got.show("%P") == own and got.files() >= {"a", "b", "c"}


def test_own_commits_on_another_branch_or_none(workspace, deliver):
    clone = workspace.repository()
    clone.git("checkout", "--quiet", "-b", "feature")
    own = clone.commit({"a": "a\n"}, "on a branch")
    assert deliver().commit == own
    clone.git("checkout", "--quiet", "--detach")
    own = clone.commit({"b": "b\n"}, "on no branch")
    assert deliver().commit == own


def test_a_rewritten_history_becomes_one_commit(workspace, deliver):
    clone = workspace.repository()
    workspace.write({"calc.py": "amended\n"})
    clone.git("commit", "--quiet", "--all", "--amend", "--message", "amended base")
    got = deliver()
    assert got.show("%P") == workspace.task["base_commit"] and got.file("calc.py") == "amended"


def test_an_unborn_branch(workspace, deliver):
    clone = workspace.repository()
    clone.git("checkout", "--quiet", "--orphan", "fresh")
    workspace.write({"calc.py": "orphan\n"})
    assert deliver().show("%P") == workspace.task["base_commit"]


def test_nothing_changed(workspace):
    done = workspace.commit(check=3)
    assert done.json() == {"commit": None, "changed": False, "files": 0, "insertions": 0, "deletions": 0,
                           "title": "Do the work", "body": "", "branch": None}
    assert done.files[5] == b""


def test_changes_that_come_to_nothing(workspace):
    clone = workspace.repository()
    clone.commit({"calc.py": "changed\n"}, "there")
    clone.commit({"calc.py": CALCULATOR["calc.py"]}, "and back")
    workspace.write({"ignored.log": "x\n"})
    assert workspace.commit(check=3).json()["changed"] is False


def test_what_was_submitted_names_it(workspace, deliver):
    workspace.write({"a": "a\n"})
    workspace.submit(title="Add a", body="It was missing.\n\n- one\r\n- two\n", branch="feat/a")
    got = deliver()
    assert got.result["title"] == "Add a" and got.result["branch"] == "feat/a"
    assert got.show("%B") == "Add a\n\nIt was missing.\n\n- one\n- two"
    workspace.submit(title="  Only a\ttitle ", body="", branch=None)
    got = deliver()
    assert got.show("%B").strip() == "Only a title" and got.result["branch"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"title":7}', '{"title":" "}', '{"title":"x","branch":"-x"}',
                                  '{"title":"x","branch":"a..b"}', "x" * 200000], ids=range(8))
def test_a_submission_that_cannot_be_used_is_said_and_does_not_stop_the_work(workspace, text):
    workspace.write({"a": "a\n"})
    (workspace.state / "submit.json").write_text(text)
    done = workspace.commit()
    assert done.json()["title"] == "Do the work" and "submit.json" in done.stderr and done.stderr.count("\n") == 1


def test_the_task_user_cannot_read_the_submission(workspace):
    """It is read before root is given up."""
    if os.getuid() != 0:
        pytest.skip("not root")
    workspace.submit(title="Root only", body="")
    os.chmod(workspace.state / "submit.json", 0o600)
    workspace.write({"a": "a\n"})
    assert workspace.commit().json()["title"] == "Root only"


@pytest.mark.parametrize("prompt, title, body", [
    ("Fix it", "Fix it", ""),
    ("\n\n  Fix it  \n\nBecause it is broken.\n", "Fix it", "Fix it  \n\nBecause it is broken."),
    ("word " * 40, "word " * 13 + "word…", ("word " * 40).strip()),
    ("ü" * 100, "ü" * 34 + "…", "ü" * 100),
    ("", "Work of a coding agent", ""),
    ("\x1b[2J\x07 bell", "[2J  bell", ""),
])
def test_without_a_submission_the_prompt_names_it(workspace, prompt, title, body):
    workspace.write({"a": "a\n"})
    result = workspace.commit(task={"prompt": prompt} if prompt else {"prompt": None}).json()
    assert (result["title"], result["body"]) == (title, body)


def test_a_long_body_stays_within_the_result(workspace):
    workspace.write({"a": "a\n"})
    workspace.submit(title="T", body='"\\' * 12000)
    done = workspace.commit()
    assert len(done.files[3]) <= 65536 and done.json()["body"] == '"\\' * 12000


def test_ignored_files_and_what_tools_leave_stay_out(workspace, deliver):
    workspace.write({"x.log": "l\n", "__pycache__/a.pyc": "p\n", "node_modules/x/index.js": "j\n", ".venv/bin/python": "v\n",
                     "src/ok.py": "o\n"})
    assert deliver().files() == set(FILES) | {"src/ok.py"}


def test_what_was_added_by_force_comes_along(workspace, deliver):
    workspace.write({"x.log": "l\n", "node_modules/x/index.js": "j\n"})
    workspace.repository().git("add", "--force", "x.log", "node_modules")
    assert deliver().files() >= {"x.log", "node_modules/x/index.js"}


def test_a_tracked_file_that_is_ignored_now_stays_tracked(workspace, deliver):
    workspace.write({".gitignore": "*.md\n", "README.md": "changed\n"})
    assert deliver().file("README.md") == "changed"


def test_modes_links_and_odd_names(workspace, deliver):
    workspace.write({"new\nline": "1\n", "-rf": "2\n", "ü　": "3\n", "a" * 255: "4\n", "run.sh": "x\n"})
    (workspace.path / "run.sh").chmod(0o755)
    (workspace.path / "link").symlink_to("/etc/shadow")
    (workspace.path / "README.md").unlink()
    (workspace.path / "README.md").symlink_to("calc.py")
    with open(os.path.join(os.fsencode(workspace.path), b"not-\xff-utf8"), "wb") as file:
        file.write(b"5\n")
    os.mkfifo(workspace.path / "fifo")
    got = deliver()
    modes = got.repository.git("ls-tree", "-r", got.commit)
    assert "100755 blob" in modes and modes.count("120000 blob") == 2
    assert got.files() >= {"new\nline", "-rf", "ü　", "a" * 255, "link", "not-\udcff-utf8"} and "fifo" not in got.files()


def test_a_sparse_checkout_loses_nothing(workspace, deliver):
    clone = workspace.repository()
    clone.git("sparse-checkout", "set", "--cone", "src")
    workspace.write({"src/in": "in\n", "other/out": "out\n", "a": "a\n"})
    assert deliver().files() == set(FILES) | {"src/in", "other/out", "a"}


def test_names_that_git_does_not_take_do_not_stop_the_rest(workspace, deliver):
    workspace.write({"git~1": "x\n", ".GIT/config": "x\n", "a": "a\n"})
    assert deliver().files() == set(FILES) | {"a"}


def test_locks_that_a_killed_git_left(workspace, deliver):
    for lock in ["index.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock", "shallow.lock"]:
        (workspace.path / ".git" / lock).touch()
    workspace.write({"a": "a\n"})
    assert "a" in deliver().files()


@pytest.mark.parametrize("index", [b"", b"junk" * 100, b"DIRC\0\0\0\2\xff\xff\xff\xff", None],
                         ids=["empty", "junk", "cut", "gone"])
def test_an_index_that_is_broken_or_gone(workspace, deliver, index):
    path = workspace.path / ".git" / "index"
    path.unlink()
    if index is not None:
        path.write_bytes(index)
    workspace.write({"a": "a\n", "calc.py": "changed\n"})
    got = deliver()
    assert got.files() == set(FILES) | {"a"} and got.file("calc.py") == "changed"


def test_an_index_that_is_a_fifo(workspace, deliver):
    (workspace.path / ".git" / "index").unlink()
    os.mkfifo(workspace.path / ".git" / "index")
    workspace.write({"a": "a\n"})
    assert deliver().files() == set(FILES) | {"a"}


def test_a_file_changed_in_the_moment_of_the_checkout(workspace, deliver):
    """The same size at the same time as the index was written: git must look at it again."""
    workspace.repository().git("reset", "--hard", "--quiet")
    workspace.write({"README.md": "READ ME\n"})
    assert deliver().file("README.md") == "READ ME"


def test_an_unmerged_index(workspace, deliver):
    clone = workspace.repository()
    clone.git("checkout", "--quiet", "-b", "other")
    clone.commit({"calc.py": "theirs\n"}, "theirs")
    clone.git("checkout", "--quiet", "main")
    clone.commit({"calc.py": "ours\n"}, "ours")
    clone.git("merge", "other", check=False)
    assert "<<<<<<<" in deliver().file("calc.py")


def test_hooks_signing_and_filters_of_the_agent_do_not_matter(workspace, deliver, tmp_path):
    git_dir = workspace.path / ".git"
    (git_dir / "hooks").mkdir(exist_ok=True)
    for hook in ["pre-commit", "reference-transaction", "post-index-change", "post-commit"]:
        (git_dir / "hooks" / hook).write_text("#!/bin/sh\ntouch /tmp/codex-test-hook-ran\nexit 1\n")
        (git_dir / "hooks" / hook).chmod(0o755)
    for key, value in [("commit.gpgSign", "true"), ("gpg.program", "/bin/false"), ("core.fsmonitor", "/bin/false"),
                       ("core.safecrlf", "true"), ("diff.external", "/bin/false"), ("core.worktree", "/"),
                       ("i18n.commitEncoding", "ISO-8859-1"), ("core.bare", "true"), ("index.version", "4"),
                       ("core.splitIndex", "true"), ("diff.noprefix", "true"), ("color.ui", "always")]:
        subprocess.run(["git", "config", "--file", str(git_dir / "config"), key, value], check=True)
    workspace.own(workspace.path)
    workspace.write({"a": "a\r\nb\n", "ü": "x\n"})
    got = deliver()
    assert got.files() >= {"a", "ü"} and not os.path.exists("/tmp/codex-test-hook-ran")


def test_a_repository_inside_without_a_commit_comes_as_files(workspace, deliver):
    subprocess.run(["git", "init", "--quiet", str(workspace.path / "app")], check=True)
    workspace.write({"app/src/main.c": "int main;\n", "app/.gitignore": "*.o\n", "app/x.o": "o\n"})
    got = deliver()
    assert got.files() == set(FILES) | {"app/src/main.c", "app/.gitignore"}


def test_a_repository_inside_with_commits_comes_as_files(workspace, deliver):
    inner = Repository(workspace.path / "deep" / "lib", {"lib.c": "lib\n"})
    inner.write({"dirty.c": "dirty\n"})
    Repository(inner.path / "inner", {"i.c": "i\n"})
    (workspace.path / "link").symlink_to("deep")
    workspace.own(workspace.path)
    done = workspace.commit()
    assert "'deep/lib' is a repository of its own: its files were added" in done.stderr
    got = deliver()
    assert got.files() == set(FILES) | {"deep/lib/lib.c", "deep/lib/dirty.c", "deep/lib/inner/i.c", "link"}
    assert "160000" not in got.repository.git("ls-tree", "-r", got.commit)


def test_submodules_that_the_base_has_stay(repository, tmp_path):
    repository.write({".gitmodules": '[submodule "x"]\n\tpath = sub\n\turl = https://example.com/x.git\n'})
    (repository.path / "sub").mkdir()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{repository.head()},sub")
    base = repository.commit({}, "with a submodule")
    with Workspace() as workspace:
        workspace.checkout(base_bundle(repository), commit=base)
        workspace.write({"a": "a\n"})
        got = Delivered(workspace, repository, workspace.commit(), tmp_path)
        assert got.files() == set(FILES) | {".gitmodules", "a", "sub"}
        assert got.repository.git("ls-tree", got.commit, "sub").startswith("160000")


def test_a_file_that_cannot_be_read_is_left_out_and_named(workspace, deliver):
    if os.getuid() != 0:
        pytest.skip("not root")
    workspace.write({"a": "a\n", "secret": "s\n"})
    os.chown(workspace.path / "secret", 0, 0)
    os.chmod(workspace.path / "secret", 0o600)
    done = workspace.commit()
    assert "not everything could be added" in done.stderr and "secret" in done.stderr
    assert deliver().files() == set(FILES) | {"a"}


def test_files_larger_than_any_disk_are_left_out_and_named(workspace, deliver):
    """git would read them whole. What the repository says is ignored, or not, makes no difference."""
    workspace.write({"a": "a\n", "sub/b": "b\n", ".gitignore": "!*\n"})
    names = ["tera", "sub/*x", "calc.py", "new\nline", "nested/tera"]
    (workspace.path / "nested").mkdir()
    workspace.own(workspace.path)
    git = workspace.repository().git
    git("init", "--quiet", "nested")
    for name in names:
        with open(workspace.path / name, "wb") as file:
            file.truncate(1 << 40)
    workspace.write({"nested/c": "c\n"})
    done = workspace.commit(timeout=60)
    for name in names:
        assert f"'{name.replace(chr(10), '?')}' is not in the commit: it has more than 2 GiB" in done.stderr
    got = deliver()
    assert got.files() == set(FILES) | {"a", "sub/b", "nested/c"}
    assert got.file("calc.py") == CALCULATOR["calc.py"].rstrip("\n")


def destroy(workspace, how):
    git_dir = workspace.path / ".git"
    subprocess.run(["rm", "-rf", str(git_dir)], check=True)
    if how == "new":
        workspace.repository().git("init", "--quiet")
        workspace.repository().commit({"a": "a\n"}, "another first")
    elif how == "file":
        git_dir.write_text("gitdir: /nonexistent\n")
    elif how == "link":
        git_dir.symlink_to("/etc")
    elif how == "fifo":
        os.mkfifo(git_dir)
    workspace.own(workspace.path)


@pytest.mark.parametrize("how", ["gone", "new", "file", "link", "fifo"])
def test_a_repository_that_the_agent_took_apart(workspace, repository, tmp_path, how):
    base = base_bundle(repository)
    destroy(workspace, how)
    workspace.write({"a": "a\n", "calc.py": "changed\n"})
    got = Delivered(workspace, repository, workspace.commit(inputs={4: base}), tmp_path)
    assert got.show("%P") == repository.head() and got.files() == set(FILES) | {"a"}
    for inputs in [{}, {4: b""}]:
        done = workspace.commit(check=1, inputs=inputs)
        assert "lost the base commit" in done.stderr and done.stderr.count("\n") == 1


def test_own_commits_with_objects_missing_are_replaced(workspace, deliver):
    clone = workspace.repository()
    clone.commit({"a": "a\n"}, "one")
    blob = clone.git("rev-parse", "HEAD:a")
    clone.commit({"a": "b\n"}, "two")
    (workspace.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    got = deliver()
    assert got.show("%P") == workspace.task["base_commit"] and got.file("a") == "b"


def test_replace_refs_and_grafts_change_nothing(workspace, deliver):
    clone = workspace.repository()
    other = clone.git("commit-tree", "-m", "x", "HEAD^{tree}")
    clone.git("replace", workspace.task["base_commit"], other)
    (workspace.path / ".git" / "info" / "grafts").write_text(f"{workspace.task['base_commit']} {other}\n")
    workspace.write({"a": "a\n"})
    assert deliver().show("%P") == workspace.task["base_commit"]


def test_git_runs_as_the_task_user(workspace):
    """Everything that the step leaves in the workspace can be changed by the next round."""
    workspace.write({"a": "a\n"})
    workspace.commit()
    expected = TASK_USER if os.getuid() == 0 else os.getuid()
    for top, directories, files in os.walk(workspace.path):
        for name in [*directories, *files]:
            assert os.lstat(os.path.join(top, name)).st_uid == expected


def test_outside_a_sandbox_no_other_process_is_ended(workspace):
    if os.getuid() != 0:
        pytest.skip("not root")
    with subprocess.Popen(["sleep", "100"], user=TASK_USER, group=TASK_USER, extra_groups=[]) as sleeper:
        workspace.write({"a": "a\n"})
        workspace.commit()
        time.sleep(0.05)
        assert sleeper.poll() is None
        sleeper.send_signal(signal.SIGKILL)


def test_a_reader_that_goes_away(workspace):
    workspace.write({"a": os.urandom(1 << 20)})
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = workspace.step("commit", "--state", workspace.state, inputs={5: write_end}, check=1)
    os.close(write_end)
    assert done.stderr.count("\n") == 1
