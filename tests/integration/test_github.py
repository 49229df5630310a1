"""Pull requests at GitHub: whole tasks, pushed by real smart HTTP, with a REST API that remembers."""
import os
import signal
import subprocess
import time

import pytest

from support.codex import BUILD, codex_on, wait_for
from support.git_server import GitServer, bare, git
from support.github import TOKEN, GitHub
from support.model_server import call, message
from support.repository import CALCULATOR, Repository
from test_main_job import GOOD_WORK


@pytest.fixture(name="origin")
def make_origin(tmp_path):
    repository = Repository(tmp_path / "work", CALCULATOR)
    (tmp_path / "srv" / "team").mkdir(parents=True)
    repository.bare = bare(repository, tmp_path / "srv" / "team" / "calculator.git")
    return repository


@pytest.fixture(name="server")
def make_server(tmp_path):
    with GitServer(tmp_path / "srv", user="x-access-token") as server:
        yield server


@pytest.fixture(name="hub")
def make_hub(origin):
    with GitHub(head=lambda branch: git(origin.bare, "rev-parse", branch)) as hub:
        yield hub


def on(server, hub, script=GOOD_WORK, token=TOKEN):
    text = (f"[git]\nstall_timeout = 2s\nfetch_timeout = 20s\n[forge \"{server.site}\"]\nkind = github\n"
            f"token_env = FORGE_TOKEN\nbase_url = {hub.api}\n")
    return codex_on(script, text, {"FORGE_TOKEN": token})


def run(codex, server, *arguments, check=True):
    codex.run("task", "Add subtract", "--repo", server.url("team/calculator.git"), "--follow", *arguments,
              cwd=codex.home, check=check)
    return codex.tasks()[0]


@pytest.mark.slow
def test_a_pull_request_is_opened_with_its_evidence(server, hub, origin):
    with on(server, hub) as (codex, _):
        task = run(codex, server)
        assert (task["state"], task["verdict"]) == ("completed", "passed"), task
        assert len(hub.pulls) == 1
        pull = hub.pulls[0]
        assert task["pull_request"] == {**task["pull_request"], "forge": "github", "number": pull["number"],
                                        "url": pull["html_url"], "state": "open", "draft": False}
        assert (pull["head"]["ref"], pull["base"]["ref"], pull["title"]) == ("feat/subtract", "main", "Add subtract")
        assert git(origin.bare, "rev-parse", "feat/subtract") == task["commit"] == pull["head"]["sha"]
        assert all(part in pull["body"] for part in ("It was missing.", "### Evidence", "unittest", "tokens in"))
        _, _, _, headers = [request for request in hub.requests if request[0] == "POST"][0]
        assert headers["X-GitHub-Api-Version"] == "2022-11-28" and headers["User-Agent"] == "codex"
        # Permission was asked before the model.
        assert hub.asked("GET")[:2] == ["/repos/team/calculator", "/repos/team/calculator/branches/main"]
        pull.update(state="closed", merged_at="2026-11-24T10:00:00Z")
        wait_for(lambda: codex.status(task["id"])["pull_request"]["state"] == "merged", 40, "merged is seen")
        assert TOKEN not in codex.log.read_text()


@pytest.mark.parametrize("wrong, status, part", [
    (lambda hub: setattr(hub, "push", False), 5, "the token may not push to it"),
    (lambda hub: setattr(hub, "token", "another"), 5, "the token is refused (401): Bad credentials"),
    (lambda hub: setattr(hub, "name", "team/other"), 3, "the token does not see it (404)"),
    (lambda hub: hub.branches.clear(), 5, "'main' is none there"),
])
def test_what_cannot_be_delivered_is_refused_before_a_token_is_spent(server, hub, origin, wrong, status, part):
    with on(server, hub) as (codex, model):
        wrong(hub)
        done = codex.run("task", "x", "--repo", server.url("team/calculator.git"), cwd=codex.home, check=False)
        assert done.returncode == status and done.stderr.count("\n") == 1 and part in done.stderr, done.stderr
        assert codex.tasks() == [] and not model.requests


def test_a_base_that_is_no_branch_is_refused(server, hub, origin):
    with on(server, hub) as (codex, _):
        done = codex.run("task", "x", "--repo", server.url("team/calculator.git"), "--base", origin.head(),
                         cwd=codex.home, check=False)
        assert done.returncode == 5 and "name one by --base" in done.stderr


def cut_after(handler, hub, path, body):
    """The request is carried out, and the answer never arrives."""
    hub.add(body)
    handler.close_connection = True
    return True


def cut_before(handler, hub, path, body):
    handler.close_connection = True
    return True


def broken(handler, hub, path, body):
    handler.answer(502, {"message": "Server Error"})
    return True


def busy(handler, hub, path, body):
    handler.answer(403, {"message": "You have exceeded a secondary rate limit."}, [("Retry-After", "1")])
    return True


def garbage(handler, hub, path, body):
    handler.answer(201, {"number": "four", "html_url": "javascript:alert(1)"})
    return True


@pytest.mark.parametrize("faults", [[cut_after], [cut_before], [broken], [busy], [cut_after, cut_before],
                                    [broken, cut_after], [garbage]])
def test_whatever_breaks_there_is_one_pull_request(server, hub, origin, faults):
    with on(server, hub) as (codex, _):
        hub.faults = list(faults)
        task = run(codex, server)
        assert task["state"] == "completed", task
        assert len(hub.pulls) == 1 and task["pull_request"]["number"] == hub.pulls[0]["number"]
        assert git(origin.bare, "branch", "--format=%(refname:short)").split() == ["feat/subtract", "main"]


def test_killed_while_it_opens_the_pull_request(server, hub, origin):
    with on(server, hub) as (codex, _):
        def die(handler, owner, path, body):
            owner.add(body)
            os.kill(codex.server.pid, signal.SIGKILL)
            return cut_before(handler, owner, path, body)
        hub.faults = [die]
        codex.run("task", "Add subtract", "--repo", server.url("team/calculator.git"), cwd=codex.home)
        codex.server.wait(60)
        codex.start()
        task = codex.wait(codex.tasks()[0]["id"])
        assert task["state"] == "completed" and len(hub.pulls) == 1
        assert task["pull_request"]["number"] == hub.pulls[0]["number"]


def test_one_that_was_refused_is_tried_again_on_request(server, hub, origin):
    with on(server, hub) as (codex, _):
        def refuse(handler, owner, path, body):
            handler.answer(422, {"message": "Validation Failed", "errors": [{"message": "No commits between"}]})
            return True
        hub.faults = [refuse]
        task = run(codex, server, check=False)
        assert (task["state"], task["fault"]["kind"], task["fault"]["step"]) == ("failed", "user", "delivering")
        assert "No commits between" in task["fault"]["message"] and "codex deliver" in task["fault"]["message"]
        codex.run("deliver", task["id"])
        task = codex.wait(task["id"])
        assert task["state"] == "completed" and len(hub.pulls) == 1


@pytest.mark.slow
def test_work_that_fails_is_a_draft_or_says_so_where_there_are_none(server, hub, origin):
    patch = "sed -i 's/a + b/a - b/' calc.py"
    script = [[call("exec_command", {"cmd": patch})], *[[message("Done.")]] * 5]
    hub.drafts = False
    with on(server, hub, script) as (codex, _):
        task = run(codex, server, check=False)
        assert task["state"] == "completed" and task["verdict"] == "failed", task
        assert hub.pulls[0]["title"].startswith("Draft: ") and not task["pull_request"]["draft"]


@pytest.mark.slow
def test_an_old_pull_request_of_the_same_branch_name_is_not_taken_for_ours(server, hub, origin):
    hub.pulls.append({"number": 7, "html_url": "https://github.com/team/calculator/pull/7", "state": "closed",
                      "draft": False, "merged_at": "2026-01-01T00:00:00Z", "title": "old", "body": "",
                      "head": {"ref": "feat/subtract", "sha": "1" * 40}, "base": {"ref": "main"}})
    with on(server, hub) as (codex, _):
        task = run(codex, server)
        assert task["pull_request"]["number"] != 7 and len(hub.pulls) == 2


def test_cancelled_submissions_leave_nothing(server, hub, origin):
    """The client goes while the forge is being asked."""
    with on(server, hub) as (codex, _):
        hub.faulty = ("GET",)
        hub.faults = [lambda handler, owner, path, body: bool(time.sleep(1.5))]
        client = subprocess.Popen([BUILD / "codex", "task", "x", "--repo", server.url("team/calculator.git")],
                                  env=codex.environment, cwd=codex.home, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        wait_for(lambda: hub.requests, 20, "the forge is asked")
        client.kill()
        client.wait()
        assert codex.run("list").returncode == 0
