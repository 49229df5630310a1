"""`codex apply`: a task's diff on the checkout one stands in, with git's own rules."""
import os
import pathlib
import subprocess

import pytest

from support.cli import Cli, one_line
from support.repository import Repository

TASK = "task-abc123"
LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        cli.api.add(TASK)
        yield cli


@pytest.fixture(name="repository")
def fixture_repository(cli):
    return Repository(cli.home / "demo", {"a.txt": LINES, "b.txt": "b\n"})


def diff_of(cli, repository, files):
    """The diff of a commit with FILES on top of HEAD, as a task's; the checkout stays as it is."""
    repository.git("checkout", "--quiet", "-b", "work")
    repository.commit(files, "work")
    raw = subprocess.run(["git", "-C", str(repository.path), "diff", "--binary", "--full-index", "main", "work"],
                         capture_output=True, check=True).stdout
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "-D", "work")
    cli.api.diffs[TASK] = raw


def state(repository):
    """Everything below the checkout, and the index."""
    files = {str(path.relative_to(repository.path)): path.read_bytes()
             for path in sorted(repository.path.rglob("*")) if path.is_file() and ".git" not in path.parts}
    return files, repository.git("diff", "--cached"), repository.git("status", "--porcelain")


def test_a_diff_is_applied_and_staged(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n"), "new/c.bin": "x\0y"})
    (repository.path / "sub").mkdir()
    done = cli.run("apply", TASK, cwd=repository.path / "sub")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"applied {TASK}: 2 files changed, +1 -1; in your checkout and staged, not committed\n"
    assert "five\n" in (repository.path / "a.txt").read_text()
    assert (repository.path / "new/c.bin").read_text() == "x\0y"
    assert repository.git("diff", "--cached", "--name-only").split() == ["a.txt", "new/c.bin"]


def test_other_changes_of_ones_own_stay(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n")})
    repository.write({"b.txt": "mine\n"})
    assert cli.run("apply", TASK, cwd=repository.path).returncode == 0
    assert repository.git("status", "--porcelain").split("\n") == ["M  a.txt", " M b.txt"]


def test_json(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES + "more\n"})
    assert cli.json("apply", TASK, cwd=repository.path) == {
        "task": TASK, "files": 1, "insertions": 1, "deletions": 0, "conflicts": []}


def test_it_merges_where_the_checkout_has_moved_on(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n")})
    repository.commit({"a.txt": "first\n" * 30 + LINES}, "moved on")
    assert cli.run("apply", TASK, cwd=repository.path).returncode == 0
    assert "five\n" in (repository.path / "a.txt").read_text()


def test_conflicts_are_left_as_git_does_and_named(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n"), "b.txt": "bb\n"})
    repository.commit({"a.txt": LINES.replace("line 5\n", "FIVE\n")}, "mine")
    done = cli.run("apply", TASK, cwd=repository.path)
    assert done.returncode == 1
    assert "applied with conflicts" in done.stdout and "conflict: a.txt\n" in done.stdout
    assert "<<<<<<< ours\nFIVE\n=======\nfive\n>>>>>>> theirs\n" in (repository.path / "a.txt").read_text()
    assert (repository.path / "b.txt").read_text() == "bb\n"
    as_json = cli.run("apply", TASK, "--json", cwd=repository.path)
    assert as_json.returncode == 5  # unmerged files: nothing can be applied to them


def test_a_dirty_file_in_the_way_is_left_alone(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n"), "b.txt": "bb\n"})
    repository.write({"a.txt": LINES + "mine\n"})
    before = state(repository)
    one_line(cli.run("apply", TASK, cwd=repository.path), 5, "nothing was changed", "a.txt: does not match index",
             "commit or stash")
    assert state(repository) == before


def test_another_repository_is_left_alone(cli, repository):
    diff_of(cli, repository, {"a.txt": LINES.replace("line 5\n", "five\n"), "d.txt": "d\n"})
    other = Repository(cli.home / "other", {"README": "other\n"})
    before = state(other)
    one_line(cli.run("apply", TASK, cwd=other.path), 5, "nothing was changed")
    assert state(other) == before


def test_an_empty_diff(cli, repository):
    cli.api.diffs[TASK] = b""
    assert cli.run("apply", TASK, cwd=repository.path).stdout == f"{TASK} changed nothing\n"


def test_not_in_a_checkout_and_nothing_there(cli, repository):
    cli.api.diffs[TASK] = b""
    one_line(cli.run("apply", TASK), 2, "not in a git checkout")
    one_line(cli.run("apply", "task-zzzzzz", cwd=repository.path), 3)
    cli.api.problems[f"GET /v1/tasks/{TASK}/diff"] = (409, "refused", "there is nothing to show yet")
    one_line(cli.run("apply", TASK, cwd=repository.path), 5, "nothing to show yet")


def new_file(path, content="x\n", mode="100644"):
    return (f"diff --git a/{path} b/{path}\nnew file mode {mode}\nindex 0000000..587be6b\n--- /dev/null\n"
            f"+++ b/{path}\n@@ -0,0 +1 @@\n+{content}").encode()


@pytest.mark.parametrize("path", ["../outside", "sub/../../outside", ".git/hooks/post-checkout", ".GIT/config",
                                  "sub/.git/config", "/tmp/codex-cli-absolute", "link/evil", ".git"])
def test_a_diff_cannot_reach_outside_of_the_checkout(cli, repository, path):
    """The diff is what a sandbox made of it."""
    (cli.home / "target").mkdir()
    (repository.path / "link").symlink_to(cli.home / "target")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "link")
    cli.api.diffs[TASK] = new_file(path)
    hooks = set(os.listdir(repository.path / ".git/hooks"))
    before = state(repository)
    done = cli.run("apply", TASK, cwd=repository.path)
    one_line(done, 5)
    assert state(repository) == before and set(os.listdir(repository.path / ".git/hooks")) == hooks
    assert not (cli.home / "outside").exists() and not os.listdir(cli.home / "target")
    assert not pathlib.Path("/tmp/codex-cli-absolute").exists()


def test_a_link_and_a_file_behind_it_in_one_diff(cli, repository):
    cli.api.diffs[TASK] = (
        f"diff --git a/dir b/dir\nnew file mode 120000\nindex 0000000..1111111\n--- /dev/null\n+++ b/dir\n"
        f"@@ -0,0 +1 @@\n+{cli.home}\n\\ No newline at end of file\n").encode() + new_file("dir/evil")
    before = state(repository)
    one_line(cli.run("apply", TASK, cwd=repository.path), 5)
    assert state(repository) == before and not (cli.home / "evil").exists()


@pytest.mark.parametrize("diff", [b"garbage\n", b"diff --git a/x b/x\n@@ bad @@\n", b"\0" * 100, b"\xff\xfe\n"])
def test_a_diff_that_is_none(cli, repository, diff):
    cli.api.diffs[TASK] = diff
    before = state(repository)
    one_line(cli.run("apply", TASK, cwd=repository.path), 5)
    assert state(repository) == before


def test_odd_names_are_shown_safely(cli, repository):
    repository.commit({"we\x1b[2Jird": "1\n"}, "weird")
    diff_of(cli, repository, {"we\x1b[2Jird": "2\n"})
    repository.commit({"we\x1b[2Jird": "3\n"}, "mine")
    done = cli.run("apply", TASK, cwd=repository.path)
    assert done.returncode == 1 and "conflict: weird\n" in done.stdout and "\x1b" not in done.stdout
