"""All of it at once, as a person would have it: a private repository by https with dependencies of its own, a Chat
Completions server, and a pull request at the end."""
import os

import pytest

from support.codex import codex_on
from support.files import Files, make_wheel
from support.git_server import TOKEN, GitServer, bare, certificate, git
from support.github import GitHub
from support.proxy import NameServer
from support.repository import CALCULATOR, Repository
from test_main_job import GOOD_WORK

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes sandboxes")


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_a_private_repository_with_dependencies_becomes_a_pull_request(tmp_path):
    package = tmp_path / "index" / "simple" / "codexdemo"
    package.mkdir(parents=True)
    make_wheel(package, "codexdemo", "1.0", "def one():\n    return 1\n")
    with Files(tmp_path / "index") as index, NameServer({"index.test": [["127.0.0.1"]]}) as names:
        origin = Repository(tmp_path / "work", {
            **CALCULATOR,
            "requirements.txt": f"--index-url http://index.test:{index.port}/simple\n--trusted-host index.test\ncodexdemo==1.0\n",
            "tests/test_demo.py": ("import unittest\n\nfrom codexdemo import one\n\n\nclass DemoTest(unittest.TestCase):\n"
                                   "    def test_one(self):\n        self.assertEqual(one(), 1)\n")})
        (tmp_path / "srv" / "team").mkdir(parents=True)
        origin.bare = bare(origin, tmp_path / "srv" / "team" / "calculator.git")
        with GitServer(tmp_path / "srv", tls=certificate(tmp_path), user="x-access-token") as server, \
                GitHub(head=lambda branch: git(origin.bare, "rev-parse", branch)) as hub:
            configuration = (f"[forge \"{server.site}\"]\nkind = github\ntoken_env = FORGE_TOKEN\nbase_url = {hub.api}\n"
                             f"ca_file = {server.tls[0]}\n[internet]\naccess = list\nallow = index.test:{index.port}\n"
                             f"allow_private = index.test:{index.port}\nresolver = {names.address}\n")
            with codex_on(GOOD_WORK, configuration, {"FORGE_TOKEN": TOKEN}, wire="chat") as (codex, model):
                done = codex.run("task", "Add subtract", "--repo", server.url("team/calculator.git"), "--follow",
                                 cwd=codex.home)
                task = codex.tasks()[0]
                assert (task["state"], task["verdict"]) == ("completed", "passed"), task
                pull, = hub.pulls
                assert pull["html_url"] in done.stdout and task["pull_request"]["url"] == pull["html_url"]
                assert git(origin.bare, "rev-parse", "feat/subtract") == pull["head"]["sha"] == task["commit"]
                assert (task["evidence"]["baseline"]["passed"], task["evidence"]["verification"]["passed"]) == (2, 3)
                assert "/simple/codexdemo/" in [path for _, path, _ in index.requests]
                assert all(request.wire.name == "chat" for request in model.requests)
                said = codex.run("logs", task["id"], "--json").stdout
                assert "pip install -r requirements.txt" in said and TOKEN not in said + codex.log.read_text()
