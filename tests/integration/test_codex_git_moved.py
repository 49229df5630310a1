"""codex-git moved and merge: what the base branch has got since the work began, and whether the two go together."""
import subprocess

import pytest

from support.bundles import base_bundle, index_of, work_bundle
from support.program import NOBODY, run_program
from support.repository import ENVIRONMENT, Repository

FILES = {"a.txt": "1\n2\n3\n4\n5\n", "b.txt": "b\n", "c.txt": "c\n" * 50}


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "repo", FILES)


def moved(repository, base_commit, *arguments, base="main", **options):
    return run_program("codex-git", "moved", "--repo", repository.path, "--base", base, "--base-commit", base_commit,
                       *arguments, outputs=(3,), **options)


def work_on(repository, base, files):
    """A work on BASE, as import leaves it: (clean bundle, commit). Of FILES, None is to be removed."""
    repository.git("checkout", "--quiet", "--detach", base)
    for name in [name for name, content in files.items() if content is None]:
        (repository.path / name).unlink()
    commit = repository.commit({name: content for name, content in files.items() if content is not None}, "work")
    repository.git("checkout", "--quiet", "main")
    return work_bundle(repository, commit, base), commit


def merge(directory, commit, base, work, news, **options):
    return run_program("codex-git", "merge", "--commit", commit, inputs={3: base, 4: work, 5: news}, cwd=directory,
                       **options)


def test_a_branch_that_has_not_moved(repository):
    base = repository.head()
    done = moved(repository, base, check=0)
    assert done.stdout.decode() == f"commit {base}\nbehind 0\n" and done.files[3] == b""
    # Set back, it has nothing new, either.
    second = repository.commit({"new": "n\n"}, "second")
    repository.git("reset", "--quiet", "--hard", base)
    assert moved(repository, second, check=0).stdout.decode() == f"commit {base}\nbehind 0\n"


def test_a_branch_that_has_moved_brings_what_is_new(repository, tmp_path):
    base = repository.head()
    repository.commit({"new": "n\n"}, "second")
    tip = repository.commit({"newer": "n\n"}, "third")
    done = moved(repository, base, check=0)
    assert done.stdout.decode() == f"commit {tip}\nbehind 2\n"
    assert done.files[3].startswith(f"# v2 git bundle\n-{base}\n{tip} refs/codex/moved\n\nPACK".encode())
    # What the task builds on as well does not count.
    assert moved(repository, base, "--commit", tip, check=0).stdout.decode() == f"commit {tip}\nbehind 0\n"
    assert moved(repository, base, "--commit", "1" * 40, check=0).stdout.decode() == f"commit {tip}\nbehind 2\n"
    repository.git("tag", "v1")
    for gone in ({"base": "nope"}, {"base": "v1"}, {"base_commit": "1" * 40}):
        done = moved(**{"repository": repository, "base_commit": base, "base": "main", **gone}, check=3)
        assert done.stderr.count("\n") == 1 and "no longer has" in done.stderr


CASES = {
    "elsewhere": ({"b.txt": "theirs\n"}, {"a.txt": "ours\n"}, "no"),
    "in one file": ({"a.txt": "0\n1\n2\n3\n4\n5\n"}, {"a.txt": "1\n2\n3\n4\n5\n6\n"}, "no"),
    "the same": ({"a.txt": "x\n"}, {"a.txt": "x\n"}, "no"),
    "one line": ({"a.txt": "1\n2\ntheirs\n4\n5\n"}, {"a.txt": "1\n2\nours\n4\n5\n"}, "yes"),
    "both new": ({"new": "theirs\n"}, {"new": "ours\n"}, "yes"),
    "changed and removed": ({"c.txt": "theirs\n"}, {"c.txt": None}, "yes"),
    "file and directory": ({"new": "theirs\n"}, {"new/x": "ours\n"}, "yes"),
    "a driver": ({"a.txt": "1\n2\ntheirs\n4\n5\n"},
                 {".gitattributes": "* merge=x diff=x filter=x\n", "a.txt": "1\n2\nours\n4\n5\n"}, "yes"),
}


@pytest.mark.parametrize("case", CASES)
def test_whether_they_go_together(repository, scratch, case):
    theirs, ours, conflicts = CASES[case]
    base = repository.head()
    whole = base_bundle(repository, base)
    work, commit = work_on(repository, base, ours)
    repository.commit(theirs, "theirs")
    news = moved(repository, base, check=0).files[3]
    done = merge(scratch, commit, whole, work, news, user=NOBODY, check=0)
    assert done.stdout.decode() == f"conflicts {conflicts}\n" and not list(scratch.iterdir())


def test_a_base_bundle_with_its_index(repository, scratch):
    base = repository.head()
    whole = base_bundle(repository, base)
    work, commit = work_on(repository, base, {"a.txt": "ours\n"})
    repository.commit({"a.txt": "theirs\n"}, "theirs")
    news = moved(repository, base, check=0).files[3]
    index = index_of(whole, scratch, user=NOBODY)
    for one in (index, index_of(base_bundle(repository), repository.path), b""):  # of this bundle, of another, of none
        done = run_program("codex-git", "merge", "--commit", commit, "--base-index", "6", cwd=scratch, user=NOBODY,
                           inputs={3: whole, 4: work, 5: news, 6: one}, check=0)
        assert done.stdout == b"conflicts yes\n"


def test_a_branch_of_another_history_is_no_answer(repository, scratch):
    base = repository.head()
    whole = base_bundle(repository, base)
    work, commit = work_on(repository, base, {"a.txt": "ours\n"})
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit({"a.txt": "new\n"}, "another root")
    news = moved(repository, base, base="other", check=0).files[3]
    done = merge(scratch, commit, whole, work, news, user=NOBODY, check=1)
    assert done.stderr.count("\n") == 1 and not list(scratch.iterdir())


def test_bundles_that_are_not_what_they_should_be(repository, scratch):
    base = repository.head()
    whole = base_bundle(repository, base)
    work, commit = work_on(repository, base, {"a.txt": "ours\n"})
    repository.commit({"b.txt": "theirs\n"}, "theirs")
    news = moved(repository, base, check=0).files[3]
    for bundles in ((work, work, news), (whole, news, news), (whole, work, work), (whole, work[:-30], news),
                    (whole, work, news[:-30]), (b"", work, news), (whole, work, b"")):
        done = merge(scratch, commit, *bundles, user=NOBODY, check=1)
        assert done.stderr.count("\n") == 1 and done.stdout == b"" and not list(scratch.iterdir())
    done = merge(scratch, "1" * 40, whole, work, news, user=NOBODY, check=1)
    assert "something else" in done.stderr
    # A tree that no import would have let pass.
    entry = b"100644 .git\0" + bytes.fromhex(repository.git("rev-parse", "HEAD:b.txt"))
    tree = subprocess.run(["git", "-C", str(repository.path), "hash-object", "-t", "tree", "--literally", "-w",
                           "--stdin"], input=entry, env=ENVIRONMENT, check=True, capture_output=True)
    evil = repository.git("commit-tree", "-m", "x", "-p", base, tree.stdout.decode().strip())
    assert merge(scratch, evil, whole, work_bundle(repository, evil, base), news, user=NOBODY, check=1).stdout == b""


@pytest.mark.parametrize("arguments", [
    ["moved", "--repo", "/x", "--base", "main"], ["moved", "--base", "main", "--base-commit", "1" * 40],
    ["moved", "--repo", "/x", "--base", "main", "--base-commit", "x"], ["merge"], ["merge", "--repo", "/x"],
    ["merge", "--commit", "1" * 40, "--base-commit", "1" * 40],
    ["merge", "--commit", "1" * 40, "--base-index", "7"]])
def test_bad_usage(arguments):
    done = run_program("codex-git", *arguments, inputs={3: b"", 4: b"", 5: b""}, check=2)
    assert done.stderr.count("\n") == 1
