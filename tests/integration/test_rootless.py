"""Sandboxes of an ordinary user: no root anywhere."""
import os
import pathlib
import re
import subprocess

import pytest

from support.codex import API_KEY, BUILD, wait_for
from support.git_server import TOKEN, GitServer, bare, git
from support.model_server import ModelServer, call
from support.repository import CALCULATOR, Repository
from support.rootless import RootlessCodex, User, why_not
from test_main_job import GOOD_WORK

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"rootless: {why_not()}")

# What a task sees of who it is, and of the user whose server it is.
LOOK = "id -u; tr -s ' ' </proc/self/uid_map; cat {home}/secret 2>&1; touch /usr/mine 2>&1; ls /home; ulimit -u"


@pytest.fixture(name="user")
def fixture_user():
    user = User()
    (user.home / "secret").write_text("secret of the user's")
    user.own()
    yield user
    try:
        wait_for(lambda: not user.processes(), what=f"everything of his has ended: {user.processes()}")
    finally:
        user.close()


def uids_of(user):
    """Who runs the programs of his server, by their names."""
    found = {}
    for pid, uid in user.processes():
        try:
            found.setdefault(pathlib.Path(f"/proc/{pid}/comm").read_text().strip(), set()).add(uid)
        except OSError:
            continue
    return found


def test_a_task_of_an_ordinary_user_becomes_a_tested_branch(user):
    repository = Repository(user.home / "calculator", CALCULATOR)
    look = [call("exec_command", {"cmd": LOOK.format(home=user.home)})]
    origin = Repository(user.place / "work", CALCULATOR)
    (user.place / "srv").mkdir()
    origin.bare = bare(origin, user.place / "srv" / "calculator.git")
    with ModelServer([look, *GOOD_WORK, *GOOD_WORK], api_key=API_KEY) as model, GitServer(user.place / "srv") as remote:
        configuration = (f"[forge \"{remote.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\n"
                         f"[model]\nname = o3\nprovider = scripted\n[provider \"scripted\"]\nbase_url = {model.base_url}\n"
                         "wire_api = responses\nenv_key = SCRIPTED_KEY\n")
        with RootlessCodex(user, configuration, {"SCRIPTED_KEY": API_KEY, "FORGE_TOKEN": TOKEN}) as codex:
            task = codex.task("Add subtract", cwd=repository.path)
            seen = {}
            wait_for(lambda: seen.update(uids_of(user)) or {"codex-gateway", "codex-agent"} <= set(seen), what="it runs")
            done = codex.wait(task)
            assert (done["state"], done["verdict"]) == ("completed", "passed"), (done["fault"], done)
            assert user.run("git", "rev-parse", "feat/subtract", cwd=repository.path).stdout.strip() == done["commit"]
            assert os.stat(repository.path / ".git" / "refs" / "heads" / "feat" / "subtract").st_uid == user.uid

            # The server is he; what reads what a sandbox wrote is not, and the sandbox has none of his rights.
            assert seen["codexd"] == {user.uid} and user.uid not in seen["codex-gateway"] | seen["codex-agent"]
            inside = "".join(model.requests[1].outputs.values())
            assert "1000\n 0 1 65536\n" in inside and "secret of the user's" not in inside and "No such file" in inside
            assert "Read-only file system" in inside and "\ncodex\n992" in inside

            # So is a remote repository's work: codex-git is he, and sees the mirror alone.
            done = codex.wait(codex.task("Add subtract", "--repo", remote.url("calculator.git"), cwd=user.home))
            assert (done["state"], done["verdict"]) == ("completed", "passed"), (done["fault"], done)
            assert git(origin.bare, "rev-parse", "feat/subtract") == done["commit"]

            # Its socket is his alone, and what is missing is said.
            assert (codex.state / "codexd.sock").stat().st_mode & 0o777 == 0o600
            doctor = codex.run("doctor", "--offline", check=False).stdout
            assert re.search(r"warn +rootless +without root, sandboxes lack 5 things: \(1\) limits of memory", doctor), doctor
            assert re.search(r"ok +overlay", doctor) and re.search(r"warn +disk limit +soft", doctor), doctor


def test_a_command_of_an_ordinary_user_in_a_sandbox(user):
    project = user.home / "project"
    project.mkdir()
    (project / "file").write_text("before\n")
    user.own()
    workdir = ("--workdir", project)
    done = user.sandbox("bash", "-c", "id -u; echo after >file; echo new >other; cat file; ls -l | awk 'NR > 1 {print $3}'",
                        options=workdir)
    assert done.stdout == "1000\nafter\ncodex\ncodex\n"
    assert (project / "file").read_text() == "before\n" and not (project / "other").exists()
    user.sandbox("bash", "-c", "echo after >file; mkdir dir; echo new >dir/other; chmod u+s file 2>/dev/null || true",
                 options=(*workdir, "--write"))
    assert (project / "file").read_text() == "after\n"
    for path in (project / "file", project / "dir", project / "dir/other"):
        assert path.stat().st_uid == user.uid and not path.stat().st_mode & 0o6000

    # Root inside installs into what is the sandbox's own.
    done = user.sandbox("bash", "-c", "touch /usr/local/bin/mine /opt/mine /etc/mine && echo local; touch /usr/bin/mine 2>&1",
                        options=(*workdir, "--root"), check=False)
    assert done.stdout.startswith("local\n") and "Read-only file system" in done.stdout

    # One user has only so many processes, also where nobody limits all of them together.
    bomb = "import os\ntry:\n    while True: os.fork() or os.pause()\nexcept OSError as e: print(e.strerror)"
    done = user.sandbox("python3", "-c", bomb.replace("os.pause()", "__import__('signal').pause()"),
                        options=(*workdir, "--pids", "64"))
    assert done.stdout.endswith("Resource temporarily unavailable\n")

    # What cannot be had is refused in a line.
    for options, message in ((("--workdir", "/etc"), "'/etc' is not yours"),
                             ((*workdir, "--runtime", "runc"), "'runc' cannot make sandboxes without root: set runtime = crun")):
        done = user.sandbox("true", options=options, check=False)
        assert done.returncode == 125 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list((user.home / "state" / "sandboxes").iterdir())


def test_a_killed_runner_of_an_ordinary_user_takes_its_sandbox_along(user):
    command = user.argv(BUILD / "codex-runner", "--sandbox", "--state", user.home / "state", "--images", user.home / "images",
                        "--", "bash", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
    with subprocess.Popen(command, cwd=user.home, env=user.environment(), stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout.readline() == "ready\n"
        assert any(user.is_subid(uid) for _, uid in user.processes())
        runner.kill()
    wait_for(lambda: not user.processes(), what="nothing is left of it")


def test_without_subordinate_ids_it_says_what_to_do():
    user = User(subids=0)
    try:
        done = user.sandbox("true", check=False)
        assert done.returncode == 125 and "usermod --add-subuids" in done.stderr and done.stderr.count("\n") == 1
    finally:
        user.close()
