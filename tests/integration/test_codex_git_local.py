"""codex-git on a person's own repository: resolve, fetch, push, merged."""
import os
import pathlib
import subprocess
import tempfile

import pytest

from support.bundles import base_bundle, git_facts, import_work, push
from support.program import NOBODY, TASK_USER, run_program
from support.repository import ENVIRONMENT, Repository

FILES = {"a.txt": "one\n", "dir/b.txt": "two\n"}
NOTHING = "0" * 40


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "repo", FILES)


@pytest.fixture(name="open_directory")
def make_open_directory():
    """One that other users can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="codex-test-") as directory:
        path = pathlib.Path(directory)
        path.chmod(0o755)
        yield path


def resolve(*arguments, **options):
    return run_program("codex-git", "resolve", *arguments, **options)


def clean_bundle(repository, tmp_path, files=None, base=None):
    """Work on HEAD that is not in the repository: (clean bundle, commit, base commit)."""
    base = base or repository.head()
    elsewhere = tmp_path / "elsewhere"
    subprocess.run(["git", "clone", "--quiet", str(repository.path), str(elsewhere)], check=True,
                   env=ENVIRONMENT)
    work = Repository(elsewhere)
    work.git("checkout", "--quiet", "--detach", base)
    commit = work.commit(files or {"new.txt": "new\n"}, "work")
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    header = f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\n".encode()
    done = import_work(base_bundle(repository, base), header + work.pack(commit, base), commit, base,
                       scratch, check=0)
    return done.files[5], commit, base


def test_resolve_says_where_what_and_which_commit(repository):
    facts = git_facts("--repo", repository.path)
    assert facts == {"path": str(repository.path), "base": "main", "commit": repository.head()}
    repository.git("branch", "feat/x")
    assert git_facts("--repo", repository.path, "--branch", "feat/x")["branch_exists"] == "yes"
    assert git_facts("--repo", repository.path, "--branch", "feat/y")["branch_exists"] == "no"


def test_resolve_finds_the_repository_from_below_and_through_links(repository, tmp_path):
    assert git_facts(cwd=repository.path / "dir")["path"] == str(repository.path)
    (tmp_path / "link").symlink_to(repository.path)
    assert git_facts("--repo", tmp_path / "link")["path"] == str(repository.path)


def test_bases_of_every_kind(repository):
    first = repository.head()
    repository.git("tag", "--annotate", "--message", "release", "v1")
    repository.git("update-ref", "refs/remotes/origin/topic", first)
    repository.git("update-ref", "refs/odd/name", first)
    second = repository.commit({"c.txt": "3\n"}, "second")
    cases = {
        "main": ("main", second), "refs/heads/main": ("main", second), "heads/main": ("main", second),
        "v1": ("refs/tags/v1", first), "refs/tags/v1": ("refs/tags/v1", first),
        "origin/topic": ("refs/remotes/origin/topic", first), "odd/name": ("refs/odd/name", first),
        "HEAD": ("main", second), "@": ("main", second), "HEAD~1": (first, first),
        first[:10]: (first, first), second: (second, second),
    }
    for base, (name, commit) in cases.items():
        facts = git_facts("--repo", repository.path, "--base", base)
        assert (base, facts["base"], facts["commit"]) == (base, name, commit)


def test_a_branch_comes_before_a_tag_of_the_same_name(repository):
    first = repository.head()
    second = repository.commit({"c.txt": "3\n"}, "second")
    repository.git("tag", "both", first)
    repository.git("branch", "both", second)
    facts = git_facts("--repo", repository.path, "--base", "both")
    assert (facts["base"], facts["commit"]) == ("both", second)


def test_a_detached_head_is_its_commit(repository):
    repository.git("checkout", "--quiet", "--detach")
    facts = git_facts("--repo", repository.path)
    assert facts["base"] == facts["commit"] == repository.head()


@pytest.mark.parametrize("base", ["--output=/tmp/x", "-h", "", "main:a.txt", ":/first", "main^{/first}",
                                  "x\ny", "x" * 300])
def test_bases_that_could_be_taken_for_something_else_are_bad_usage(repository, base):
    done = resolve("--repo", repository.path, "--base", base, check=2)
    assert done.stderr.count("\n") == 1 and done.stdout == b""


@pytest.mark.parametrize("base", ["nope", "$(touch x)", "v9", "refs/heads/nope", NOTHING, "a" * 40])
def test_unknown_bases_are_not_found(repository, base):
    done = resolve("--repo", repository.path, "--base", base, check=3)
    assert done.stderr.count("\n") == 1


def test_branch_names_are_literal_and_checked(repository):
    for name in ["$(touch x)", "　", "a;b", "`x`", "ä/ö", "refs/heads/x", "feat/--upload-pack=x"]:
        valid = " " not in name
        done = resolve("--repo", repository.path, "--branch", name, check=0 if valid else 2)
        assert valid == (b"branch_exists no" in done.stdout)
    for name in ["-x", "--all", "a..b", "a.lock", "/a", "a/", "a//b", "a~1", "HEAD", "@", ".a", "a\x1b[2J"]:
        done = resolve("--repo", repository.path, "--branch", name, check=2)
        assert "branch name" in done.stderr and "\x1b" not in done.stderr


def test_a_branch_that_git_cannot_create_is_refused_at_once(repository):
    repository.git("branch", "feat")
    done = resolve("--repo", repository.path, "--branch", "feat/x", check=1)
    assert done.stderr == "codex-git: branch 'feat' is in the way of 'feat/x'\n"
    repository.git("branch", "fix/one")
    done = resolve("--repo", repository.path, "--branch", "fix", check=1)
    assert done.stderr == "codex-git: branch 'fix/one' is in the way of 'fix'\n"


def test_what_is_no_usable_repository_is_told_apart(tmp_path):
    done = resolve("--repo", tmp_path / "nowhere", check=3)
    assert "No such file" in done.stderr
    (tmp_path / "plain").mkdir()
    assert "not in a git repository" in resolve("--repo", tmp_path / "plain", check=3).stderr
    unborn = Repository(tmp_path / "unborn")
    done = resolve("--repo", unborn.path, check=1)
    assert done.stderr == "codex-git: there is no commit on 'main' yet: make one first\n"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(tmp_path / "big")], check=True)
    assert "only sha1" in resolve("--repo", tmp_path / "big", check=1).stderr
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    assert resolve("--repo", tmp_path / "broken", check=1).stderr.count("\n") == 1
    (tmp_path / "new\nline" / ".git").mkdir(parents=True)
    assert "control character" in resolve("--repo", tmp_path / "new\nline", check=1).stderr


def test_a_broken_repository_inside_another_is_not_taken_for_the_outer_one(repository):
    inner = repository.path / "inner"
    (inner / ".git").mkdir(parents=True)
    assert resolve("--repo", inner, check=1).stdout == b""


def test_a_file_as_dot_git_leads_to_the_repository_only_if_git_says_so(repository, tmp_path):
    worktree = tmp_path / "linked"
    repository.git("worktree", "add", "--quiet", "-b", "side", str(worktree))
    facts = git_facts("--repo", worktree)
    assert (facts["path"], facts["base"]) == (str(worktree), "side")
    assert base_bundle(Repository(worktree)).startswith(b"# v2 git bundle")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / ".git").write_text("gitdir: /etc\n")
    assert resolve("--repo", tmp_path / "odd", check=1).stderr.count("\n") == 1


def test_a_bare_repository(repository, tmp_path):
    bare = tmp_path / "bare.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.path), str(bare)], check=True)
    assert git_facts("--repo", bare)["path"] == str(bare)
    bundle, commit, _ = clean_bundle(repository, tmp_path)

    class Bare:
        path = bare
    push(Bare, bundle, commit, "feat/x", check=0)
    shown = subprocess.run(["git", "-C", str(bare), "rev-parse", "feat/x"], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == commit


def give_away(path, user):
    for top, _, files in os.walk(path):
        for name in (top, *(os.path.join(top, name) for name in files)):
            os.chown(name, user, user)


def test_a_repository_of_somebody_else_is_read_without_trusting_it(open_directory):
    repository = Repository(open_directory / "repo", FILES)
    give_away(repository.path, NOBODY)
    facts = git_facts("--repo", repository.path, user=TASK_USER)
    assert facts["base"] == "main"
    bundle = run_program("codex-git", "fetch", "--repo", repository.path, "--commit", facts["commit"], user=TASK_USER,
                         check=0).stdout
    assert bundle.startswith(b"# v2 git bundle")


def below_a_directory_of_somebody(directory):
    os.chown(directory, TASK_USER, TASK_USER)
    return Repository(directory / "repo", FILES).path


def below_a_directory_of_everybody(directory):
    directory.chmod(0o777)
    return Repository(directory / "repo", FILES).path


def shared_with_a_group(directory):
    repository = Repository(directory / "repo", FILES).path
    os.chown(repository, 0, TASK_USER)
    repository.chmod(0o2775)
    return repository


def dot_git_of_somebody(directory):
    repository = Repository(directory / "repo", FILES).path
    give_away(repository / ".git", TASK_USER)
    return repository


def dot_git_elsewhere(directory):
    repository = Repository(directory / "repo", FILES).path
    (repository / ".git").rename(directory / "elsewhere")
    give_away(directory / "elsewhere", TASK_USER)
    (repository / ".git").write_text(f"gitdir: {directory}/elsewhere\n")
    return repository


def linked_dot_git(directory):
    repository = Repository(directory / "repo", FILES).path
    (repository / ".git").rename(directory / "elsewhere")
    give_away(directory / "elsewhere", TASK_USER)
    (repository / ".git").symlink_to(directory / "elsewhere")
    return repository


def a_directory_of_root_in_somebodys_repository(directory):
    repository = Repository(directory / "repo", FILES).path
    give_away(repository, TASK_USER)
    (repository / "mine").mkdir()
    return repository / "mine"


@pytest.mark.parametrize("make", [
    below_a_directory_of_somebody, below_a_directory_of_everybody, shared_with_a_group, dot_git_of_somebody,
    dot_git_elsewhere, linked_dot_git, a_directory_of_root_in_somebodys_repository])
def test_as_root_only_a_repository_that_is_roots_alone(open_directory, make):
    # Whoever can put another repository in its place while it is used would have root work in that.
    done = resolve("--repo", make(open_directory), check=1)
    assert done.stdout == b"" and "others than root can change" in done.stderr and done.stderr.count("\n") == 1


def test_roots_repository_in_a_directory_like_tmp(open_directory):
    open_directory.chmod(0o1777)
    assert git_facts("--repo", Repository(open_directory / "repo", FILES).path)["base"] == "main"


def test_a_base_bundle_is_a_clone_of_its_own(repository, tmp_path):
    repository.commit({"a.txt": "more\n"}, "second")
    bundle = tmp_path / "base.bundle"
    bundle.write_bytes(base_bundle(repository))
    clone = tmp_path / "clone.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "fetch", "--quiet", str(bundle), "refs/codex/base:refs/heads/x"],
                   check=True)
    log = subprocess.run(["git", "-C", str(clone), "log", "--format=%s", "x"], capture_output=True, check=True)
    assert log.stdout == b"second\nfirst\n"
    subprocess.run(["git", "-C", str(clone), "fsck", "--strict"], check=True, capture_output=True)


def test_a_base_bundle_of_an_older_commit_has_nothing_newer(repository, tmp_path):
    first = repository.head()
    repository.commit({"secret.txt": "later\n"}, "second")
    clone = tmp_path / "clone.git"
    (tmp_path / "b").write_bytes(base_bundle(repository, first))
    subprocess.run(["git", "init", "--quiet", "--bare", str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "fetch", "--quiet", str(tmp_path / "b"), "refs/codex/base"], check=True)
    objects = subprocess.run(["git", "-C", str(clone), "cat-file", "--batch-all-objects", "--batch-check"],
                             capture_output=True, check=True).stdout
    assert objects.count(b"commit") == 1


def test_fetching_what_is_not_there(repository):
    done = run_program("codex-git", "fetch", "--repo", repository.path, "--commit", "a" * 40, check=3)
    assert done.stdout == b"" and "has no commit" in done.stderr
    blob = repository.git("rev-parse", "HEAD:a.txt")
    assert run_program("codex-git", "fetch", "--repo", repository.path, "--commit", blob, check=3).stdout == b""


def test_a_shallow_clone_goes_all_the_way(repository, tmp_path):
    for i in range(5):
        repository.commit({"a.txt": f"{i}\n"}, f"commit {i}")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=2", f"file://{repository.path}", str(shallow)], check=True)
    clone = Repository(shallow)
    bundle = base_bundle(clone)
    assert b"refs/codex/shallow/1" in bundle.split(b"\n\n", 1)[0]
    (tmp_path / "elsewhere").mkdir()
    work = Repository(tmp_path / "work")
    subprocess.run(["cp", "-a", f"{shallow}/.", str(work.path)], check=True)
    base = work.head()
    commit = work.commit({"n.txt": "n\n"}, "work")
    header = f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\n".encode()
    done = import_work(bundle, header + work.pack(commit, base), commit, base, tmp_path, check=0)
    push(clone, done.files[5], commit, "feat/n", check=0)
    assert clone.git("log", "--format=%s", "feat/n").splitlines() == ["work", "commit 4", "commit 3"]


def test_a_partial_clone_is_refused_with_a_way_out(repository, tmp_path):
    repository.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    subprocess.run(["git", "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{repository.path}",
                    str(partial)], check=True)
    done = resolve("--repo", partial, check=1)
    assert "partial clone" in done.stderr and "git fetch --refetch" in done.stderr


def test_push_creates_the_branch_and_nothing_else(repository, tmp_path):
    bundle, commit, base = clean_bundle(repository, tmp_path)
    before = repository.git("status", "--porcelain"), repository.git("rev-parse", "HEAD")
    push(repository, bundle, commit, "feat/x", check=0)
    assert repository.git("rev-parse", "refs/heads/feat/x") == commit
    assert repository.git("rev-parse", "feat/x^") == base
    assert (repository.git("status", "--porcelain"), repository.git("rev-parse", "HEAD")) == before
    assert not (repository.path / "new.txt").exists()
    assert "codex: task" in repository.git("reflog", "feat/x")
    assert repository.git("fsck", "--strict") == ""


def test_push_again_is_done_already(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    for _ in range(2):
        push(repository, bundle, commit, "feat/x", check=0)
    push(repository, b"", commit, "feat/x", check=0)  # it does not even need the objects


def test_a_branch_that_somebody_has_built_on_holds_the_work(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    push(repository, bundle, commit, "feat/x", check=0)
    theirs = repository.git("commit-tree", "-m", "theirs", "-p", commit, f"{commit}^{{tree}}")
    repository.git("update-ref", "refs/heads/feat/x", theirs)
    push(repository, bundle, commit, "feat/x", check=0)
    assert repository.git("rev-parse", "feat/x") == theirs
    repository.git("update-ref", "refs/heads/feat/x", repository.git("commit-tree", "-m", "x", f"{commit}^{{tree}}"))
    push(repository, bundle, commit, "feat/x", check=4)


def test_push_never_overwrites(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    repository.git("branch", "taken")
    done = push(repository, bundle, commit, "taken", check=4)
    assert done.stderr == "codex-git: branch 'taken' exists and is another commit\n"
    assert repository.git("rev-parse", "taken") == repository.head()
    push(repository, bundle, commit, "main", check=4)
    assert repository.branches() == {"main", "taken"}


def test_a_lock_that_a_killed_git_has_left_makes_another_name(repository, tmp_path):
    """It is the repository's: nobody but its owner can say that no git holds it any more."""
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    lock = repository.path / ".git/refs/heads/feat/x.lock"
    lock.parent.mkdir()
    lock.touch()
    done = push(repository, bundle, commit, "feat/x", check=4)
    assert done.stderr == f"codex-git: branch 'feat/x' is locked: '{lock}' is there\n"
    push(repository, bundle, commit, "feat/x-2", check=0)
    assert lock.exists() and repository.branches() == {"main", "feat/x-2"}


def test_push_into_what_is_in_the_way_is_refused(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    repository.git("branch", "feat")
    done = push(repository, bundle, commit, "feat/x", check=1)
    assert "in the way" in done.stderr and repository.branches() == {"main", "feat"}


def test_push_without_the_base_is_refused(repository, tmp_path):
    bundle, commit, base = clean_bundle(repository, tmp_path)
    other = Repository(tmp_path / "other", {"x": "x\n"})
    done = push(other, bundle, commit, "feat/x", check=1)
    assert done.stderr == f"codex-git: the repository no longer has the base commit {base}\n"
    assert other.branches() == {"main"}


def test_push_of_something_else_than_the_commit_is_refused(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    push(repository, bundle, "b" * 40, "feat/x", check=1)
    push(repository, bundle[:-30], commit, "feat/x", check=1)
    push(repository, bundle[:200] + b"\0" * 8 + bundle[208:], commit, "feat/x", check=1)
    push(repository, b"", commit, "feat/x", check=1)
    assert repository.branches() == {"main"}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be somebody else")
def test_a_read_only_repository_is_refused_in_one_line(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            os.chmod(parent, 0o755)
    done = push(repository, bundle, commit, "feat/x", check=1, user=NOBODY)
    assert done.stderr.count("\n") == 1 and repository.branches() == {"main"}


def test_merged_follows_the_base(repository, tmp_path):
    bundle, commit, _ = clean_bundle(repository, tmp_path)

    def merged(base="main", sha=commit):
        return run_program("codex-git", "merged", "--repo", repository.path, "--base", base, "--commit",
                           sha).returncode
    assert merged() == 1  # not even there
    push(repository, bundle, commit, "feat/x", check=0)
    assert merged() == 1
    assert merged("feat/x") == 0
    repository.git("merge", "--quiet", "--no-ff", "--no-edit", "feat/x")
    assert merged() == 0
    assert merged("nope") == 3


def test_capabilities_are_given_up(repository):
    """As root without CAP_DAC_OVERRIDE, a directory that is closed to its owner stays closed."""
    os.chmod(repository.path, 0)
    done = resolve("--repo", repository.path / "dir")
    assert os.getuid() != 0 or "Permission denied" in done.stderr


@pytest.mark.parametrize("arguments", [
    [], ["nope"], ["resolve", "--nope", "x"], ["resolve", "--base"], ["fetch", "--repo", "/x"],
    ["fetch", "--repo", "/x", "--commit", "HEAD"], ["push", "--repo", "/x", "--commit", "a" * 40],
    ["import", "--commit", "a" * 40, "--base-commit", "A" * 40], ["merged", "--repo", "/x", "--commit", "a" * 40],
    ["resolve", "--repo", "/x", "--repo", "/y"]])
def test_bad_usage(arguments):
    assert run_program("codex-git", *arguments).returncode == 2
