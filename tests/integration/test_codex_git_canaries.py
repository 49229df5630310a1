"""A repository's own configuration can name commands. codex-git runs none of them."""
import errno
import os
import subprocess

import pytest

from support.bundles import import_work, push
from support.codex import wait_for
from support.program import run_program
from support.repository import ENVIRONMENT, Repository

HOOKS = ["pre-commit", "post-checkout", "post-merge", "pre-push", "pre-receive", "update", "post-receive",
         "post-update", "reference-transaction", "pre-auto-gc", "post-rewrite", "fsmonitor-watchman",
         "post-index-change", "proc-receive", "push-to-checkout", "sendemail-validate"]


def hostile_config(canary):
    """Every setting of git-config(1) that holds a command, each leading to CANARY."""
    return f"""
[core]
    fsmonitor = {canary}
    hooksPath = hooks
    sshCommand = {canary}
    gitProxy = {canary}
    editor = {canary}
    pager = {canary}
    askPass = {canary}
    alternateRefsCommand = {canary}
[diff]
    external = {canary}
    tool = x
    guitool = x
[diff "x"]
    command = {canary}
    textconv = {canary}
    cachetextconv = true
[difftool "x"]
    cmd = {canary}
[filter "x"]
    clean = {canary}
    smudge = {canary}
    process = {canary}
    required = true
[merge "x"]
    driver = {canary}
[merge]
    tool = x
[mergetool "x"]
    cmd = {canary}
[gpg]
    program = {canary}
[gpg "ssh"]
    program = {canary}
    defaultKeyCommand = {canary}
[commit]
    gpgSign = true
[tag]
    gpgSign = true
[push]
    gpgSign = if-asked
[log]
    showSignature = true
[credential]
    helper = !{canary}
[uploadpack]
    packObjectsHook = {canary}
[sequence]
    editor = {canary}
[interactive]
    diffFilter = {canary}
[trailer "x"]
    key = X
    command = {canary}
    cmd = {canary}
[pager]
    rev-parse = {canary}
    cat-file = {canary}
    for-each-ref = {canary}
    diff-tree = {canary}
    rev-list = {canary}
[alias]
    rev-parse = !{canary}
    cat-file = !{canary}
    pack-objects = !{canary}
    update-ref = !{canary}
[remote "origin"]
    url = ext::{canary}
    uploadpack = {canary}
    receivepack = {canary}
    vcs = x
    fetch = +refs/heads/*:refs/remotes/origin/*
[submodule "x"]
    url = ext::{canary}
    update = !{canary}
    active = true
[protocol]
    allow = always
[protocol "ext"]
    allow = always
[gc]
    auto = 1
    autoDetach = false
[maintenance]
    auto = true
[receive]
    autogc = true
[submodule]
    recurse = true
[fetch]
    recurseSubmodules = true
[index]
    recordEndOfIndexEntries = true
[sendemail]
    tocmd = {canary}
[web]
    browser = x
[browser "x"]
    cmd = {canary}
[ssh]
    variant = ssh
"""


class Canary:
    """A program that leaves a file behind when anything runs it."""

    def __init__(self, directory):
        self.mark = directory / "canary-ran"
        self.program = directory / "canary"
        self.program.write_text(f"#!/bin/sh\necho \"$0 $*\" >>{self.mark}\n")
        self.program.chmod(0o755)

    def ran(self):
        return self.mark.read_text() if self.mark.exists() else ""

    def arm(self, repository):
        """Put it into everything that REPOSITORY can name."""
        git_dir = repository.path / ".git"
        with open(git_dir / "config", "a", encoding="utf-8") as config:
            config.write(hostile_config(self.program))
        (git_dir / "hooks").mkdir(exist_ok=True)
        for hook in HOOKS:
            (git_dir / "hooks" / hook).symlink_to(self.program)
        (git_dir / "info").mkdir(exist_ok=True)
        (git_dir / "info" / "attributes").write_text("* filter=x diff=x merge=x\n")


@pytest.fixture(name="canary")
def make_canary(tmp_path):
    return Canary(tmp_path)


@pytest.fixture(name="work")
def make_work(tmp_path):
    """An armed repository, and a clean bundle of work on it."""
    repository = Repository(tmp_path / "repo", {"a.txt": "one\n", "b.bin": "two\n"})
    base = repository.head()
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(repository.path), str(other)], check=True, env=ENVIRONMENT)
    clone = Repository(other)
    commit = clone.commit({"a.txt": "changed\n", ".gitattributes": "* filter=x diff=x merge=x\n"}, "work")
    header = f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\n".encode()
    return repository, header + clone.pack(commit, base), commit, base


def run_everything(repository, bundle, commit, base, scratch):
    """All verbs, in the order of a task's life."""
    for arguments in [[], ["--branch", "feat/x"], ["--base", "main"], ["--base", "HEAD~0"],
                      ["--base", "HEAD@{0}"], ["--base", "main@{upstream}"], ["--base", "nope"]]:
        run_program("codex-git", "resolve", "--repo", repository.path, *arguments)
    base_bytes = run_program("codex-git", "fetch", "--repo", repository.path, "--commit", base, check=0).stdout
    scratch.mkdir()
    done = import_work(base_bytes, bundle, commit, base, scratch, check=0)
    assert b"+changed" in done.files[6]
    push(repository, done.files[5], commit, "feat/x", check=0)
    run_program("codex-git", "merged", "--repo", repository.path, "--base", "main", "--commit", commit, check=1)
    news = run_program("codex-git", "moved", "--repo", repository.path, "--base", "feat/x", "--base-commit", base,
                       outputs=(3,), check=0).files[3]
    merged = run_program("codex-git", "merge", "--commit", commit, inputs={3: base_bytes, 4: done.files[5], 5: news},
                         cwd=scratch, check=0)
    assert merged.stdout == b"conflicts no\n"


def test_the_canary_can_sing(canary, work):
    """Or the tests below would prove nothing: porcelain in the same repository runs it."""
    canary.arm(work[0])
    for file in work[0].path.glob("*.txt"):  # else git looks at them again only when they are as new as its index
        file.touch()
    subprocess.run(["git", "-C", str(work[0].path), "status"], check=False, capture_output=True, env=ENVIRONMENT)
    subprocess.run(["git", "-C", str(work[0].path), "update-ref", "refs/heads/y", "HEAD"], check=False,
                   capture_output=True, env=ENVIRONMENT)
    subprocess.run(["git", "-C", str(work[0].path), "ls-remote", "ext::" + str(canary.program)], check=False,
                   capture_output=True, env=ENVIRONMENT)
    assert len(canary.ran().splitlines()) >= 3


def test_no_verb_runs_what_the_configuration_names(canary, work, tmp_path):
    canary.arm(work[0])
    run_everything(*work, tmp_path / "scratch")
    assert canary.ran() == ""


def test_nor_what_the_environment_names(canary, work, tmp_path, monkeypatch):
    config = tmp_path / "gitconfig"
    config.write_text(hostile_config(canary.program))
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "git").symlink_to(canary.program)
    hostile = {
        "GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_SYSTEM": str(config), "GIT_EXTERNAL_DIFF": str(canary.program),
        "GIT_SSH_COMMAND": str(canary.program), "GIT_PAGER": str(canary.program), "GIT_EDITOR": str(canary.program),
        "GIT_ASKPASS": str(canary.program), "GIT_EXEC_PATH": str(bin_dir), "GIT_PROXY_COMMAND": str(canary.program),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": str(canary.program),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor={canary.program}'", "GIT_DIR": "/nonexistent",
        "GIT_TEMPLATE_DIR": str(tmp_path), "GIT_OBJECT_DIRECTORY": "/nonexistent", "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path), "PATH": f"{bin_dir}:{os.environ['PATH']}", "GIT_TRACE": str(tmp_path / "t"),
    }
    (tmp_path / ".gitconfig").write_text(hostile_config(canary.program))
    import support.program
    monkeypatch.setattr(support.program, "ENVIRONMENT", hostile)
    run_everything(*work, tmp_path / "scratch")
    assert canary.ran() == "" and not (tmp_path / "t").exists()


@pytest.mark.parametrize("url", ["ext::{}", "ssh://host/x", "file:///nonexistent", "{}"])
def test_a_partial_clone_never_fetches(canary, work, url):
    """Missing objects of a promisor are fetched by commands that the configuration names."""
    repository, _, _, base = work
    blob = repository.git("rev-parse", "HEAD:a.txt")
    (repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    repository.git("config", "core.repositoryFormatVersion", "1")
    repository.git("config", "extensions.partialClone", "evil")
    repository.git("config", "remote.evil.url", url.format(canary.program))
    repository.git("config", "remote.evil.promisor", "true")
    for name in ["uploadpack", "receivepack"]:
        repository.git("config", f"remote.evil.{name}", str(canary.program))
    canary.arm(repository)
    done = run_program("codex-git", "fetch", "--repo", repository.path, "--commit", base, check=1)
    assert done.stderr.count("\n") == 1
    assert run_program("codex-git", "resolve", "--repo", repository.path).returncode == 1
    assert canary.ran() == ""


def test_alternates_lead_to_objects_and_no_further(canary, work, tmp_path):
    """A repository that borrows its objects works; the lender's configuration is not looked at."""
    lender, _, _, base = work
    canary.arm(lender)
    borrower = tmp_path / "borrower"
    subprocess.run(["git", "-c", "core.hooksPath=/dev/null", "init", "--quiet", "-b", "main", str(borrower)], check=True)
    (borrower / ".git" / "objects" / "info" / "alternates").write_text(f"{lender.path}/.git/objects\n")
    (borrower / ".git" / "refs" / "heads" / "main").write_text(f"{base}\n")
    bundle = run_program("codex-git", "fetch", "--repo", borrower, "--commit", base, check=0).stdout
    assert bundle.startswith(b"# v2 git bundle")
    assert canary.ran() == ""


def test_replace_refs_and_grafts_do_not_change_what_is_read(work):
    """What is reviewed must be what is there."""
    repository, _, _, base = work
    evil = repository.commit({"a.txt": "evil\n"}, "evil")
    repository.git("replace", base, evil)
    (repository.path / ".git" / "info" / "grafts").write_text(f"{base} {evil}\n")
    bundle = run_program("codex-git", "fetch", "--repo", repository.path, "--commit", base, check=0).stdout
    done = subprocess.run(["git", "init", "--quiet", "--bare", str(repository.path / "x.git")], check=True)
    assert done.returncode == 0
    (repository.path / "b").write_bytes(bundle)
    git = ["git", "-C", str(repository.path / "x.git")]
    subprocess.run([*git, "fetch", "--quiet", str(repository.path / "b"), "refs/codex/base:refs/heads/b"], check=True)
    shown = subprocess.run([*git, "show", "b:a.txt"], check=True, capture_output=True).stdout
    assert shown == b"one\n"


def test_a_repository_that_blocks_is_given_up_at_the_deadline(work):
    """A configuration that includes a FIFO: the spawner ends codex-git, and git ends with it."""
    repository = work[0]
    fifo = repository.path / "fifo"
    os.mkfifo(fifo)
    with open(repository.path / ".git" / "config", "a", encoding="utf-8") as config:
        config.write(f"[include]\n\tpath = {fifo}\n")
    with pytest.raises(AssertionError, match="not done within"):
        run_program("codex-git", "resolve", "--repo", repository.path, timeout=1)

    def nobody_reads():
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            return error.errno == errno.ENXIO
        return False
    wait_for(nobody_reads, 10, "git has ended")
