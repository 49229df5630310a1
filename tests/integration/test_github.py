"""Pull requests at GitHub: whole tasks, pushed by real smart HTTP, with a REST API that remembers."""
import json
import os
import signal
import subprocess
import time

import pytest

from support.codex import BUILD, codex_on, wait_for
from support.git_server import GitServer, bare, cloned, git
from support.github import TOKEN, GitHub
from support.github_description import PATHS, example, problems_of_answer, problems_of_request
from support.model_server import call, forever, message, silence
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
        _, _, _, headers = [request for request in hub.requests if request[0] == "POST"][-1]
        assert headers["X-GitHub-Api-Version"] == "2022-11-28" and headers["User-Agent"] == "codex"
        # Permission was asked before the model.
        assert [request[:2] for request in hub.requests[:3]] == [
            ("GET", "/repos/team/calculator"), ("GET", "/repos/team/calculator/branches/main"),
            ("POST", "/repos/team/calculator/pulls")]
        pull.update(state="closed", merged_at="2026-11-24T10:00:00Z")
        wait_for(lambda: codex.status(task["id"])["pull_request"]["state"] == "merged", 40, "merged is seen")
        assert TOKEN not in codex.log.read_text()
        # All that there is to ask was asked, and as the description wants it (or the double would say so at its end).
        assert hub.operations() | {"GET /"} == {f"{method.upper()} {path}" for path in PATHS for method in PATHS[path]}
        body, = hub.created()
        path = "/repos/team/calculator/pulls"
        assert problems_of_request("POST", path, body) == []
        for name in ("title", "head", "base"):
            less = {key: value for key, value in body.items() if key != name}
            assert problems_of_request("POST", path, less), name
        for wrong in ({**body, "draft": "yes"}, {**body, "titel": "x"}, {**body, "base": None}):
            assert problems_of_request("POST", path, wrong), wrong


def test_the_description_notices_and_the_double_answers_by_it(hub):
    for method, target, body in [("GET", "/repos/team/calculator/pulls?state=any", None), ("GET", "/repos/team", None),
                                 ("GET", "/repos/team/calculator/pulls?page=x", None), ("PUT", "/", None),
                                 ("GET", "/repos/team/calculator/pulls?stat=all", None), ("GET", "/", {}),
                                 ("GET", "/repos/team/calculator/pulls/four", None),
                                 ("GET", "/repos/team/calculator/branches/feat/x", None)]:
        assert problems_of_request(method, target, body), target
    pull = hub.add({"head": "main", "base": "main", "title": "t", "body": "b", "draft": False})
    for path, answer in (("/repos/{owner}/{repo}", hub.described()), ("/repos/{owner}/{repo}/pulls/{pull_number}", pull)):
        own = problems_of_answer("GET", path, example("GET", path))  # the examples leave a few members out themselves
        assert [one for one in problems_of_answer("GET", path, answer) if one not in own] == [], path
    for name in ("number", "html_url", "state", "head"):  # what codexd reads of them is required there
        less = {key: value for key, value in pull.items() if key != name}
        assert f"answer: '{name}' is a required property" in problems_of_answer(
            "GET", "/repos/{owner}/{repo}/pulls/{pull_number}", less)


@pytest.mark.parametrize("wrong, status, part", [
    (lambda hub: setattr(hub, "push", False), 5, "the token may not push to it"),
    (lambda hub: setattr(hub, "token", "another"), 5, "the token is refused (401): Bad credentials"),
    (lambda hub: setattr(hub, "name", "team/other"), 3, "the token does not see it (404)"),
    (lambda hub: hub.branches.clear(), 5, "'main' is none there"),
    (lambda hub: setattr(hub, "may", False), 5, "give it the permission 'Pull requests: write'"),
    (lambda hub: hub.repository.update(archived=True), 5, "it is archived"),
    (lambda hub: hub.repository.update(has_pull_requests=False), 5, "it has them turned off"),
])
def test_what_cannot_be_delivered_is_refused_before_a_token_is_spent(server, hub, origin, wrong, status, part):
    with on(server, hub) as (codex, model):
        wrong(hub)
        done = codex.run("task", "x", "--repo", server.url("team/calculator.git"), cwd=codex.home, check=False)
        assert done.returncode == status and done.stderr.count("\n") == 1 and part in done.stderr, done.stderr
        assert codex.tasks() == [] and not model.requests


@pytest.mark.slow
def test_a_repository_that_was_renamed_is_found(server, hub, origin):
    """GitHub's git and API both send on who uses the old name; heads are asked for by the new owner."""
    hub.old_name, hub.name = "team/calculator", "crew/abacus"
    with on(server, hub) as (codex, _):
        def and_killed(handler, owner, path, body):  # the first one is made, and nobody hears of it
            owner.add(body)
            handler.close_connection = True
            return True
        hub.faults = [and_killed]
        task = run(codex, server)
        assert task["state"] == "completed" and len(hub.pulls) == 1, task
        assert task["pull_request"]["url"] == "https://github.com/crew/abacus/pull/40"


def test_a_server_that_sends_to_another_is_not_followed(server, hub, origin):
    with GitHub() as stranger, on(server, hub) as (codex, _):
        def send_away(handler, owner, path, body):
            handler.answer(301, {"message": "Moved"}, [("Location", f"{stranger.api}/repositories/1296269")])
            return True
        hub.faulty, hub.faults = ("GET",), [send_away]
        done = codex.run("task", "x", "--repo", server.url("team/calculator.git"), cwd=codex.home, check=False)
        assert done.returncode == 5 and "it has moved (301): give its new address" in done.stderr
        assert stranger.requests == []


def test_the_forge_can_be_chosen(server, hub, origin):
    with on(server, hub, [silence()] * 20) as (codex, _):
        url = server.url("team/calculator.git")
        task = codex.task("x", "--repo", url, "--forge", "plain", cwd=codex.home)
        assert codex.status(task)["forge"] == "plain" and hub.requests == []
        task = codex.task("x", "--repo", url, "--forge", "github", cwd=codex.home)
        assert codex.status(task)["forge"] == "github" and hub.requests
        # Whether pull requests may be opened is tried once for many tasks, and is no matter of limits.
        codex.task("x", "--repo", url, cwd=codex.home)
        assert sum(hub.is_trial(body) for _, _, body, _ in hub.requests) == 1
        for word, repo, part in (("gitea", url, "not one of plain|github"), ("", url, "not one of plain|github"),
                                 ("github", origin.path, "is not at a forge with kind = github in codex.conf")):
            done = codex.run("task", "x", "--repo", repo, "--forge", word, cwd=codex.home, check=False)
            assert done.returncode == 2 and done.stderr.count("\n") == 1 and part in done.stderr, done.stderr


def test_a_base_that_is_no_branch_is_refused(server, hub, origin):
    with on(server, hub) as (codex, _):
        done = codex.run("task", "x", "--repo", server.url("team/calculator.git"), "--base", origin.head(),
                         cwd=codex.home, check=False)
        assert done.returncode == 5 and "name one by --base" in done.stderr


@pytest.mark.slow
def test_doctor_asks_the_forges(server, hub, origin, tmp_path):
    def doctor(codex, *arguments, cwd=None):
        done = codex.run("doctor", "--json", *arguments, cwd=cwd, check=False)
        assert TOKEN not in done.stdout + done.stderr + codex.log.read_text()
        found = {one["check"]: one for one in json.loads(done.stdout)}
        return found.get(f"forge {server.site}"), found.get("repository")

    def echo(handler, owner, path, body):
        handler.answer(403, {"message": f"you sent {handler.headers['Authorization']} to me"})
        return True

    with on(server, hub, [forever([message("ok")])]) as (codex, _), \
            cloned(origin.bare, tmp_path / "clone") as clone:
        # Not in a checkout, and not asking anybody.
        assert doctor(codex)[1] is None and hub.operations() == {"GET /"}
        assert doctor(codex, "--offline", cwd=clone) == (None, None) and len(hub.requests) == 1
        # A local origin is none of theirs.
        assert doctor(codex, cwd=clone)[1] is None
        git(clone, "remote", "set-url", "origin", server.url("team/calculator.git"))
        token, repository = doctor(codex, cwd=clone)
        assert (token["status"], token["detail"], token["remedy"]) == ("ok", "the token is accepted", None)
        assert repository["status"] == "ok" and "can be pushed to, and pull requests opened" in repository["detail"]
        assert hub.pulls == [] and len(hub.created()) == 0
        hub.may = False
        token, repository = doctor(codex, cwd=clone)
        assert token["status"] == "ok" and repository["status"] == "fail"
        assert "'Pull requests: write'" in repository["detail"] and "--forge plain" in repository["remedy"]
        hub.faulty, hub.faults = ("GET",), [echo]
        assert "you sent Bearer ***" in doctor(codex, cwd=clone)[1]["detail"]
        server.read_only = True
        assert "lacks the right" in doctor(codex, cwd=clone)[1]["detail"]
        hub.token = "another"
        token, _ = doctor(codex)
        assert token["status"] == "fail" and "refused (401): Bad credentials" in token["detail"]
        assert token["remedy"] == "codex secret set FORGE_TOKEN"
        git(clone, "remote", "set-url", "origin", "https://forge.invalid/team/calculator.git")
        repository = doctor(codex, cwd=clone)[1]
        assert repository["status"] == "warn" and '[forge "forge.invalid"]' in repository["remedy"]
        hub.away = True
        token, _ = doctor(codex)
        assert token["status"] == "fail" and "base_url" in token["remedy"]


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


def used_up(handler, hub, path, body):
    handler.answer(403, {"message": "API rate limit exceeded for installation."},
                   [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(int(time.time()) + 1))])
    return True


def garbage(handler, hub, path, body):
    handler.answer(201, {"number": "four", "html_url": "javascript:alert(1)"})
    return True


@pytest.mark.parametrize("faults", [[cut_after], [cut_before], [broken], [busy], [used_up], [cut_after, cut_before],
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
        # Handed in for GitHub, it does not quietly become a pull request that nobody there sees.
        text = codex.config.read_text()
        codex.stop()
        codex.config.write_text(text.replace("kind = github", "kind = plain\nuser = x-access-token"))
        codex.start()
        codex.run("deliver", task["id"])
        task = codex.wait(task["id"])
        assert task["fault"]["kind"] == "user" and "kind = github in codex.conf" in task["fault"]["message"]
        codex.stop()
        codex.config.write_text(text)
        codex.start()
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


def test_one_on_a_later_page_is_found(server, hub, origin):
    """Somebody has opened an old one again, below many that were closed."""
    for number in range(65):
        pull = hub.add({"head": "main", "base": "main", "title": "old", "body": "", "draft": False},
                       state="closed" if number else "open")
        pull["head"].update({"ref": "feat/subtract", "sha": "1" * 40})
    with on(server, hub) as (codex, _):
        task = run(codex, server)
        assert task["pull_request"]["number"] == hub.pulls[0]["number"] and len(hub.pulls) == 65


@pytest.mark.slow
def test_an_old_pull_request_of_the_same_branch_name_is_not_taken_for_ours(server, hub, origin):
    """Nor those of another base, nor that of a fork by the same owner, wherever they are in the list."""
    def other(**changes):
        head = changes.pop("head", {})
        pull = hub.add({"head": "main", "base": "main", "title": "old", "body": "", "draft": False}, **changes)
        pull["head"].update({"ref": "feat/subtract", "sha": "1" * 40, **head})
    other(state="closed", merged_at="2026-01-01T00:00:00Z")
    other(state="open", base={"ref": "next"})
    other(state="open", head={"repo": {"full_name": "team/fork"}})
    with on(server, hub) as (codex, _):
        hub.refusal = lambda body: GitHub.refusal(hub, body) if hub.is_trial(body) else None
        task = run(codex, server)
        assert len(hub.pulls) == 4 and task["pull_request"]["number"] == hub.pulls[3]["number"]


def test_clients_that_leave(server, hub, origin):
    """They go while the forge is being asked; so does codexd, while it would still answer."""
    with on(server, hub) as (codex, _):
        def leave(*arguments):
            before = len(hub.requests)
            client = subprocess.Popen([BUILD / "codex", *arguments], env=codex.environment, cwd=codex.home,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_for(lambda: len(hub.requests) > before, 60, "the forge is asked")
            client.kill()
            client.wait()
        hub.slow_s = 1.5
        leave("task", "x", "--repo", server.url("team/calculator.git"))
        leave("doctor")
        assert codex.run("list").stdout.count("\n") <= 1
        hub.slow_s = 60
        leave("task", "x", "--repo", server.url("team/calculator.git"))
        leave("doctor")
        codex.stop()
        assert codex.server.returncode == 0, codex.log.read_text()
        hub.slow_s = 0
