"""Whole tasks whose agent or tests do what the steps must live with."""
import pytest

from support.codex import codex_on
from support.model_server import call, message
from support.repository import CALCULATOR, Repository


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "calculator", CALCULATOR)


def commands(*texts):
    """An agent that runs TEXTS, one a turn, and says that it is done."""
    return [*([call("exec_command", {"cmd": text})] for text in texts), [message("Done.")]]


def run(codex, repository, *arguments):
    codex.run("task", "Change it", "--follow", *arguments, cwd=repository.path, check=False)
    return codex.tasks()[0]


def test_work_lands_although_the_agent_began_a_repository_of_its_own(repository):
    agent = commands("rm -rf .git && git init -q && echo new >new.txt && git add . && git commit -qm mine")
    with codex_on(agent) as (codex, _):
        task = run(codex, repository)
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert repository.git("rev-parse", f"{task['branch']}^") == repository.head()
        assert repository.git("diff", "--name-only", "main", task["branch"]) == "new.txt"


def test_the_agents_own_commits_are_delivered(repository):
    agent = commands("echo 1 >a && git add a && git commit -qm 'the first'", "echo 2 >b && git add b && git commit -qm 'the second'",
                     "echo 3 >c")
    with codex_on(agent) as (codex, _):
        task = run(codex, repository)
        assert task["state"] == "completed", task
        assert repository.git("log", "--format=%s", f"main..{task['branch']}").splitlines() == [
            "Change it", "the second", "the first"]


def test_tests_that_kill_all_they_can_are_still_judged(repository):
    with codex_on(commands("echo x >x")) as (codex, _):
        task = run(codex, repository, "--test", "kill -9 -1; pkill -9 codex; echo judged; exit 0")
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert task["evidence"]["verification"]["exit_code"] == 0


def test_what_an_agent_leaves_running_does_not_change_the_commit(repository):
    agent = commands("(setsid bash -c 'while :; do date +%N >clock; done' >/dev/null 2>&1 &); until test -s clock; do sleep 0.05; done; echo x >x")
    with codex_on(agent) as (codex, _):
        task = run(codex, repository)
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert repository.git("diff", "--name-only", "main", task["branch"]) == "clock\nx"
