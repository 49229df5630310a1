"""`codex task`: what it sends, which repository it means, what it says."""
import json
import os
import subprocess

import pytest

from support.cli import CODEX, Cli, one_line
from support.repository import ENVIRONMENT, Repository

FOLLOW_HINT = "'codex logs -f task-new001' follows it"


@pytest.fixture(name="cli")
def fixture_cli():
    with Cli() as cli:
        yield cli


@pytest.fixture(name="repository")
def fixture_repository(cli):
    return Repository(cli.home / "demo", {"README": "hello\n"})


def sent(cli):
    """The body of the one task that was handed in."""
    bodies = [json.loads(body) for method, target, _, body in cli.api.requests if (method, target) ==
              ("POST", "/v1/tasks")]
    assert len(bodies) == 1
    return bodies[0]


def clone(repository, where):
    subprocess.run(["git", "clone", "--quiet", str(repository.path), str(where)], env=ENVIRONMENT, check=True)
    return Repository(where)


def test_the_id_is_all_of_standard_output(cli, repository):
    done = cli.run("task", "Add pagination", cwd=repository.path)
    assert (done.returncode, done.stdout) == (0, "task-new001\n")
    assert FOLLOW_HINT in done.stderr and done.stderr.count("\n") == 1
    assert sent(cli) == {
        "prompt": "Add pagination", "repo": str(repository.path), "base": "main", "branch": None, "model": None,
        "effort": None, "test": None, "setup": None, "forge": None, "budget_tokens": None, "timeout_ms": None, "priority": None}


def test_json_is_the_task_as_the_last_line(cli, repository):
    done = cli.run("task", "x", "--json", cwd=repository.path)
    assert done.returncode == 0 and done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["id"] == "task-new001"


def test_options_reach_the_server(cli, repository):
    repository.git("branch", "old")
    done = cli.run("task", "--branch", "mine", "x", "--model=o4", "--effort", "low", "--test", "make check",
                   "--setup", "true", "--forge", "plain", "--budget-tokens", "50000", "--timeout", "90m", "--priority", "-3", "--base", "old",
                   "--memory", "2G", "--cpus", "1.5", "--pids", "100", "--disk", "5G",
                   cwd=repository.path)
    assert done.returncode == 0, done.stderr
    assert sent(cli) == {
        "prompt": "x", "repo": str(repository.path), "base": "old", "branch": "mine", "model": "o4",
        "effort": "low", "test": "make check", "setup": "true", "forge": "plain", "budget_tokens": 50000, "timeout_ms": 5400000,
        "priority": -3, "memory_bytes": 2 << 30, "cpu_milli": 1500, "pids": 100, "disk_bytes": 5 << 30}


def test_a_limit_that_is_none(cli, repository):
    done = cli.run("task", "x", "--memory", "2", cwd=repository.path)
    assert (done.returncode, done.stdout) == (2, "")
    assert not [target for _, target, _, _ in cli.api.requests if target == "/v1/tasks"]
    assert "--memory: '2' is not a size like 512M or 4G, from 64M on" in done.stderr


def test_the_prompt_comes_from_standard_input(cli, repository):
    done = cli.run("task", "-", stdin="Line one\n\nLine \u6f22 three\n", cwd=repository.path)
    assert done.returncode == 0 and sent(cli)["prompt"] == "Line one\n\nLine \u6f22 three\n"


def test_a_prompt_may_look_like_an_option(cli, repository):
    assert cli.run("task", "--", "--help me", cwd=repository.path).returncode == 0
    assert sent(cli)["prompt"] == "--help me"


@pytest.mark.parametrize("stdin, parts", [
    ("", ["the prompt is empty"]), (" \n", ["the prompt is empty"]), ("x" * 65_537, ["longer than 64 KiB"]),
    ("x\0y", ["NUL byte"]), ("bad \udcff byte", ["not valid UTF-8"])])
def test_prompts_that_cannot_be(cli, repository, stdin, parts):
    with open(cli.home / "prompt", "wb") as file:
        file.write(stdin.encode(errors="surrogateescape"))
    with open(cli.home / "prompt", "rb") as file:
        done = subprocess.run([CODEX, "task", "-"], stdin=file, cwd=repository.path,
                              env=cli.environment, capture_output=True, text=True, check=False)
    one_line(done, 2, *parts)
    assert cli.api.requests == []


def test_a_repository_with_a_newline_in_its_name(cli):
    repository = Repository(cli.home / "two\nlines", {"README": "hello\n"})
    assert cli.run("task", "x", cwd=repository.path).returncode == 0
    assert sent(cli)["repo"] == str(repository.path)


def test_checkouts_that_cannot_be_used_say_what_can(cli, repository):
    bare = cli.home / "bare.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.path), str(bare)], env=ENVIRONMENT,
                   check=True)
    one_line(cli.run("task", "x", cwd=bare), 2, "without a checkout", "--repo DIRECTORY")
    os.chown(repository.path, 65534, 65534)
    one_line(cli.run("task", "x", cwd=repository.path), 2, "not yours", "--repo DIRECTORY", "safe.directory")
    assert cli.api.requests == []


def test_a_name_with_a_newline_does_not_hide_the_rest(cli, repository):
    one_line(cli.run("task", "x", "--base", "a\nb", cwd=repository.path), 3, "no ref 'a b' in", str(repository.path))


def test_it_waits_in_the_queue_and_says_so(cli, repository):
    cli.api.new_task = {"waiting_for": "3 tasks ahead"}
    done = cli.run("task", "x", cwd=repository.path)
    assert done.stderr.startswith("waits for 3 tasks ahead; 'codex logs -f")


def test_a_dirty_checkout_is_warned_about_once(cli, repository):
    repository.write({"README": "changed\n", "new": "file\n"})
    done = cli.run("task", "x", cwd=repository.path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == "warning: 2 uncommitted changes stay out: the task starts from HEAD"
    assert done.stderr.count("\n") == 2
    assert cli.run("task", "x", "--base", "main", cwd=repository.path).stderr.count("warning") == 0


def test_a_detached_head_is_a_commit(cli, repository):
    first = repository.head()
    repository.commit({"README": "two\n"}, "second")
    repository.git("checkout", "--quiet", first)
    assert cli.run("task", "x", cwd=repository.path).returncode == 0
    assert sent(cli)["base"] == first


def test_it_works_from_a_directory_inside_and_whatever_git_variables_say(cli, repository):
    other = Repository(cli.home / "other", {"README": "other\n"})
    (repository.path / "src").mkdir()
    done = cli.run("task", "x", cwd=repository.path / "src", GIT_DIR=str(other.path / ".git"),
                   GIT_WORK_TREE=str(other.path))
    assert done.returncode == 0
    assert sent(cli)["repo"] == str(repository.path)


def test_a_local_origin_with_the_commit_is_the_repository(cli, repository):
    copy = clone(repository, cli.home / "copy")
    done = cli.run("task", "x", cwd=copy.path)
    assert done.returncode == 0 and "note" not in done.stderr
    assert (sent(cli)["repo"], sent(cli)["base"]) == (str(repository.path), "main")


@pytest.mark.parametrize("url", ["{path}", "file://{path}", "../demo", "file://localhost{path}", "../demo/.git/.."])
def test_an_origin_is_found_in_every_spelling(cli, repository, url):
    copy = clone(repository, cli.home / "copy")
    copy.git("remote", "set-url", "origin", url.format(path=repository.path))
    (copy.path / "sub").mkdir()
    assert cli.run("task", "x", cwd=copy.path / "sub").returncode == 0
    assert sent(cli)["repo"] == str(repository.path)


def test_a_bare_origin_with_spaces_in_a_url(cli, repository):
    bare = cli.home / "bare repos" / "demo.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.path), str(bare)], env=ENVIRONMENT,
                   check=True)
    copy = clone(repository, cli.home / "copy")
    copy.git("remote", "set-url", "origin", f"file://{cli.home}/bare%20repos/demo")
    assert cli.run("task", "x", cwd=copy.path).returncode == 0
    assert sent(cli)["repo"] == str(bare)


def test_a_commit_that_the_origin_lacks_makes_the_checkout_the_repository(cli, repository):
    copy = clone(repository, cli.home / "copy")
    copy.commit({"README": "mine\n"}, "mine")
    done = cli.run("task", "x", cwd=copy.path)
    note = done.stderr.splitlines()[0]
    assert note == (f"note: the task works on this checkout: its origin '{repository.path}' does not have commit "
                    f"{copy.head()[:7]}")
    assert (sent(cli)["repo"], sent(cli)["base"]) == (str(copy.path), "main")


def test_a_branch_that_the_origin_has_elsewhere_becomes_a_commit(cli, repository):
    copy = clone(repository, cli.home / "copy")
    here = copy.head()
    repository.commit({"README": "further\n"}, "further")
    done = cli.run("task", "x", cwd=copy.path)
    assert done.stderr.splitlines()[0] == (
        f"note: 'main' is another commit in '{repository.path}': the task starts from commit {here[:7]}, where you are")
    assert (sent(cli)["repo"], sent(cli)["base"]) == (str(repository.path), here)


def test_a_base_that_only_the_origin_has(cli, repository):
    copy = clone(repository, cli.home / "copy")
    repository.git("branch", "develop")
    assert cli.run("task", "x", "--base", "develop", cwd=copy.path).returncode == 0
    assert (sent(cli)["repo"], sent(cli)["base"]) == (str(repository.path), "develop")


@pytest.mark.parametrize("url, why", [
    ("/nonexistent/repo", "is not there"), ("../nowhere", "is not there"), ("file://otherhost/x", "is not there")])
def test_without_an_origin_that_serves_it_is_the_checkout_with_one_note(cli, repository, url, why):
    repository.git("remote", "add", "origin", url)
    done = cli.run("task", "x", cwd=repository.path)
    assert done.stderr.splitlines()[0] == f"note: the task works on this checkout: its origin '{url}' {why}"
    assert done.stderr.count("\n") == 2
    assert sent(cli)["repo"] == str(repository.path)


@pytest.mark.parametrize("url", ["git://github.com/x/y.git", "https://me:secret@github.com/x/y.git", "ssh://host/x"])
def test_an_address_that_is_not_served_is_no_origin(cli, repository, url):
    repository.git("remote", "add", "origin", url)
    done = cli.run("task", "x", cwd=repository.path)
    assert done.stderr.startswith("note: the task works on this checkout: its origin cannot be used: ")
    assert done.stderr.count("\n") == 2 and "secret" not in done.stderr
    assert sent(cli)["repo"] == str(repository.path) and "secret" not in str(cli.api.requests)


def track(repository, url):
    """As if REPOSITORY had been cloned from URL just now."""
    repository.git("remote", "add", "origin", url)
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")


@pytest.mark.parametrize("url, address", [
    ("https://GitHub.com/x/y.git/", "https://github.com/x/y.git"), ("git@host:x/y.git", "git@host:x/y.git"),
    ("ssh://git@host:22/x", "ssh://git@host/x")])
def test_a_remote_origin_is_the_repository(cli, repository, url, address):
    track(repository, url)
    (repository.path / "README").write_text("changed\n")
    done = cli.run("task", "x", cwd=repository.path)
    assert (sent(cli)["repo"], sent(cli)["base"]) == (address, "main")
    assert done.stderr.splitlines()[0].startswith("warning: 1 uncommitted change")


def test_where_one_stands_on_a_remote_origin(cli, repository):
    track(repository, "https://host/x")
    first = repository.head()
    second = repository.commit({"new": "x\n"}, "second")
    repository.git("update-ref", "refs/remotes/origin/main", second)
    repository.git("checkout", "--quiet", "-b", "topic", first)
    done = cli.run("task", "x", cwd=repository.path)
    assert sent(cli)["base"] == first and "starts from commit" in done.stderr
    for base in ("main", "nope"):  # names are origin's to know
        cli.api.requests.clear()
        cli.run("task", "x", "--base", base, cwd=repository.path)
        assert sent(cli)["base"] == base
    cli.api.requests.clear()
    cli.run("task", "x", "--base", "HEAD~0", cwd=repository.path)
    assert sent(cli)["base"] == first


def test_a_refusal_of_an_origin_that_nobody_named_says_how_to_do_without(cli, repository):
    track(repository, "https://host/x")
    cli.api.problems["POST /v1/tasks"] = (403, "forbidden", "host asks for a login")
    one_line(cli.run("task", "x", cwd=repository.path), 5, "host asks for a login", "--repo .")
    done = cli.run("task", "x", "--repo", "https://host/x")
    assert "--repo ." not in done.stderr


def test_a_directory_inside_a_repository_is_no_origin(cli, repository):
    copy = clone(repository, cli.home / "copy")
    (repository.path / "inside").mkdir()
    copy.git("remote", "set-url", "origin", str(repository.path / "inside"))
    done = cli.run("task", "x", cwd=copy.path)
    assert "is not a repository" in done.stderr.splitlines()[0]
    assert sent(cli)["repo"] == str(copy.path)


def test_a_strangers_origin_is_not_run_by_git(cli, repository):
    """A repository of another user may name programs in its configuration."""
    copy = clone(repository, cli.home / "copy")
    canary = cli.home / "canary"
    evil = clone(repository, cli.home / "evil")
    evil.git("config", "core.fsmonitor", f"touch {canary}")
    evil.git("config", "core.sshCommand", f"touch {canary}")
    evil.git("config", "extensions.partialclone", "origin")
    evil.git("config", "remote.origin.promisor", "true")
    evil.git("config", "remote.origin.uploadpack", f"touch {canary};")
    for path in [evil.path, *evil.path.rglob("*")]:
        os.chown(path, 1234, 1234)
    copy.commit({"README": "not in there\n"}, "mine")
    copy.git("remote", "set-url", "origin", str(evil.path))
    done = cli.run("task", "x", cwd=copy.path)
    assert done.returncode == 0 and "cannot be used: detected dubious ownership" in done.stderr
    assert sent(cli)["repo"] == str(copy.path) and not canary.exists()


def test_a_named_repository(cli, repository):
    for name in (repository.path, "demo", "./demo/.git/..", f"file://{repository.path}"):
        cli.api.requests.clear()
        assert cli.run("task", "x", "--repo", name).returncode == 0
        assert (sent(cli)["repo"], sent(cli)["base"]) == (str(repository.path), None)


def test_a_path_with_a_colon_is_a_path(cli):
    Repository(cli.home / "a:b", {"README": "x\n"})
    assert cli.run("task", "x", "--repo", "a:b").returncode == 0
    assert sent(cli)["repo"] == str(cli.home / "a:b")


@pytest.mark.parametrize("repo, status, parts", [
    ("https://me:secret@github.com/x/y", 2, ["holds a login", "token_env"]),
    ("ext::sh -c x", 2, ["address"]),
    ("ssh://host/y", 2, ["does not say who logs in"]),
    ("/nonexistent", 3, ["no repository at '/nonexistent'"]),
    ("file:///nonexistent", 3, ["no repository at"]),
    ("codexd.sock", 3, ["not a directory"])])
def test_repositories_that_cannot_be_named(cli, repo, status, parts):
    one_line(cli.run("task", "x", "--repo", repo), status, *parts)
    assert cli.api.requests == []


def test_outside_of_a_checkout(cli):
    one_line(cli.run("task", "x"), 2, "not in a git checkout")


def test_a_checkout_without_commits(cli):
    empty = Repository(cli.home / "empty")
    one_line(cli.run("task", "x", cwd=empty.path), 2, "no commit yet")


def test_an_unknown_base(cli, repository):
    one_line(cli.run("task", "x", "--base", "nope", cwd=repository.path), 3, "no ref 'nope'", str(repository.path))
    one_line(cli.run("task", "x", "--base", "-x", cwd=repository.path), 3, "no ref '-x'")


def test_a_key_that_the_shell_has_and_the_server_lacks(cli, repository):
    cli.api.problems["POST /v1/tasks"] = (409, "key_missing", "no key for provider 'openai'")
    one_line(cli.run("task", "x", cwd=repository.path), 5, "no key for provider 'openai'")
    cli.api.problems["POST /v1/tasks"] += ({"env_key": "OPENAI_API_KEY"},)
    done = cli.run("task", "x", cwd=repository.path, OPENAI_API_KEY="sk-secret")
    one_line(done, 5, "no key for provider 'openai'", "your shell has OPENAI_API_KEY, codexd has not: "
             "printenv OPENAI_API_KEY | codex secret set OPENAI_API_KEY)")
    assert "sk-secret" not in done.stderr
    assert "your shell" not in cli.run("task", "x", cwd=repository.path).stderr
    assert all(b"sk-secret" not in body for _, _, _, body in cli.api.requests)


def test_no_server_at_a_configured_socket(cli, repository):
    cli.api.vanish()
    one_line(cli.run("task", "x", cwd=repository.path), 4, "no codexd answers at", cli.api.path)


def test_without_git(cli, repository):
    one_line(cli.run("task", "x", cwd=repository.path, PATH="/nonexistent"), 5, "cannot run 'git'")
