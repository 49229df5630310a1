"""The internet of a whole task: from [internet] in codex.conf to what `codex logs` says of it."""
import subprocess

import pytest

from support.codex import BUILD, Codex, codex_on
from support.model_server import call, message
from support.proxy import Host, NameServer, answer, has_registry
from support.repository import CALCULATOR, Repository


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    return Repository(tmp_path / "calculator", CALCULATOR)


def policy(names, *hosts, access="list"):
    return (f"[internet]\naccess = {access}\nresolver = {names.address}\n" +
            "".join(f"allow_private = {host}\n" for host in hosts))


def test_a_task_reaches_what_the_policy_allows(repository):
    """The agent's commands, and the tests before and after, each in a sandbox of their own. What was refused is in the
    log with what to change, and the model is told what to expect."""
    with Host(answer(b"from outside\n")) as host, NameServer({"site.test": [["127.0.0.1"]]}) as names:
        url = f"http://site.test:{host.port}/"
        script = [[call("exec_command", {"cmd": f"curl -sS {url}; for i in 1 2 3; do curl -sS http://other.test/; done; date >>README.md"})],
                  [message("Done.")]]
        with codex_on(script, policy(names, f"site.test:{host.port}")) as (codex, model):
            task = codex.task("Look around", "--test", f"curl -sS -f {url}", cwd=repository.path)
            ended = codex.wait(task)
            assert (ended["state"], ended["verdict"]) == ("completed", "passed"), ended
            assert host.connections == 3        # baseline, working, verifying
            (output,) = model.requests[1].outputs.values()
            assert "from outside" in output and output.count("codex: other.test is not among the hosts") == 3
            assert "<network>HTTP and HTTPS to a few hosts" in str(model.requests[0].body)
            events = codex.events(task)
            denied = [event for event in events if event["type"] == "network.denied"]
            assert "| `other.test:80` | `host_not_allowed` | 3 |" in ended["pull_request"]["body"]
            assert {(event["phase"], event["host"], event["reason"]) for event in denied} == {("working", "other.test", "host_not_allowed")}
            assert denied[0]["count"] == 1 and sum(event["count"] for event in denied) == 3
            used = [(event["phase"], event["hosts"][0]["host"]) for event in events if event["type"] == "network.used"]
            assert {phase for phase, _ in used} == {"baseline", "working", "verifying"} and {name for _, name in used} == {"site.test"}
            text = codex.run("logs", task).stdout
            assert "refused: other.test is not among the hosts that this sandbox may reach; to allow it, add 'allow = other.test:80'" in text
            assert "from the internet: site.test " in text


PACKAGE = {"package.json": '{"name":"p","version":"1.0.0","scripts":{"test":"node test.js"},"dependencies":{"left-pad":"1.3.0"}}\n',
           "test.js": 'if (require("left-pad")("1", 3) !== "  1") process.exit(1);\n'}


@pytest.mark.tools_of_others
def test_dependencies_come_from_the_real_registry(tmp_path):
    """Set-up has the way out, too: in a sandbox of its own, before the baseline."""
    if not has_registry():
        pytest.skip("no way to registry.npmjs.org from here")
    repository = Repository(tmp_path / "padded", PACKAGE)
    script = [[call("exec_command", {"cmd": "date >>NEWS"})], [message("Done.")]]
    with codex_on(script, "[internet]\naccess = common\n") as (codex, _):
        task = codex.task("Write news", cwd=repository.path)
        ended = codex.wait(task)
        assert (ended["state"], ended["verdict"]) == ("completed", "passed"), ended
        assert ended["evidence"]["baseline"]["exit_code"] == 0
        used = {(event["phase"], place["host"]) for event in codex.events(task) if event["type"] == "network.used"
                for place in event["hosts"]}
        assert ("preparing", "registry.npmjs.org") in used and {host for _, host in used} == {"registry.npmjs.org"}


def test_off_is_off(repository):
    """The task still runs; its tools are told why they get nothing."""
    script = [[call("exec_command", {"cmd": "curl -sS http://site.test/"})], [message("Done.")]]
    with NameServer({"site.test": [["127.0.0.1"]]}) as names, codex_on(script, policy(names, access="off")) as (codex, model):
        codex.wait(codex.task("Look around", cwd=repository.path))
        (output,) = model.requests[1].outputs.values()
        assert "codex: this sandbox has no internet: [internet] access is off" in output
        assert "<network>none" in str(model.requests[0].body)
        assert names.questions == []


def test_the_repository_narrows_what_its_tasks_reach(tmp_path):
    """From the first set-up command to the verification, however the work edits the file: the base's counts. Also for a
    later task, which finds the environment made."""
    with Host(answer(b"from outside\n")) as host, NameServer({"ok.test": [["127.0.0.1"]], "more.test": [["127.0.0.1"]]}) as names:
        def ask(name):
            return f"curl -sS http://{name}.test:{host.port}/"
        file = (f"internet = list\nallow = ok.test:{host.port}, unheard.test\nallow = *.other.test:{host.port}\n"
                f"setup = {ask('ok')}; {ask('more')}; {ask('unheard')} || true\n")
        repository = Repository(tmp_path / "calculator", {**CALCULATOR, ".codex/environment.conf": file})
        edit = f"echo 'internet = public' >.codex/environment.conf; {ask('ok')}; {ask('more')}"
        server = policy(names, f"ok.test:{host.port}", f"more.test:{host.port}")
        with codex_on([[call("exec_command", {"cmd": edit})], [message("Done.")]], server) as (codex, model):
            test = f"{ask('ok')} -f && {ask('more')}"
            task = codex.task("Look around", "--test", test, cwd=repository.path)
            ended = codex.wait(task)
            assert (ended["state"], ended["verdict"]) == ("completed", "passed"), ended
            assert host.connections == 4        # set-up, baseline, working, verifying
            assert repository.git("show", f"{ended['branch']}:.codex/environment.conf") == "internet = public"
            events = codex.events(task)
            denied = {(event["phase"], event["host"], event["reason"]) for event in events if event["type"] == "network.denied"}
            assert denied == {(phase, "more.test", "narrowed_by_repository")
                              for phase in ("preparing", "baseline", "working", "verifying")} | {
                                  ("preparing", "unheard.test", "host_not_allowed")}, denied
            (output,) = model.requests[1].outputs.values()
            assert f"add 'allow = more.test:{host.port}' to .codex/environment.conf in the commit" in output
            assert f"only what the repository lets its tasks reach: ok.test:{host.port}, unheard.test," in str(model.requests[0].body)
            again = codex.task("Look again", "--test", test, "--setup", "true", cwd=repository.path)
            assert codex.wait(again)["verdict"] == "passed"
            third = codex.task("And again", "--test", test, cwd=repository.path)
            assert codex.wait(third)["verdict"] == "passed"
            for task in (again, third):
                reasons = {event["reason"] for event in codex.events(task) if event["type"] == "network.denied"}
                text = "".join(event["text"] for event in codex.events(task) if event["type"] == "phase.output")
                assert reasons == {"narrowed_by_repository"}
                assert "internet: narrowed by .codex/environment.conf to 'list'" in text
            assert "environment: found" in text


@pytest.mark.parametrize("what", ["a link that leads out", "unknown"])
def test_a_file_that_cannot_be_read_lets_nobody_out(tmp_path, what):
    """Not even with `--setup`, which takes the place of its other lines."""
    repository = Repository(tmp_path / "calculator", CALCULATOR)
    if what == "unknown":
        repository.commit({".codex/environment.conf": "internet = of\n"}, "typo")
    else:
        (repository.path / ".codex").mkdir()
        (repository.path / ".codex/environment.conf").symlink_to("/workspace/environment.conf")
        repository.commit({}, "link")
    with Host(answer(b"from outside\n")) as host, NameServer({"ok.test": [["127.0.0.1"]]}) as names:
        with codex_on([[message("Done.")]], policy(names, f"ok.test:{host.port}")) as (codex, _):
            task = codex.wait(codex.task("Look", "--setup", f"curl http://ok.test:{host.port}/", cwd=repository.path))
            assert (task["state"], task["fault"]["kind"]) == ("failed", "environment")
            text = codex.run("logs", task["id"]).stdout
            assert (".codex/environment.conf:1: 'internet' must be" if what == "unknown" else "not a regular file of the repository") in text
            assert host.connections == 0


def test_codex_sandbox_has_the_servers_policy(repository):
    """Without a server, from the same file."""
    with Host(answer(b"from outside\n")) as host, NameServer({"site.test": [["127.0.0.1"]]}) as names:
        codex = Codex(policy(names, f"site.test:{host.port}"))      # not started: the command needs no server
        codex.log.touch()
        try:
            done = codex.run("sandbox", "--", "sh", "-c", f"curl -sS http://site.test:{host.port}/; curl -sS http://example.com/",
                             cwd=repository.path)
            assert done.stdout.startswith("from outside\ncodex: example.com is not among the hosts")
            assert done.stderr == ""
            done = codex.run("sandbox", "--json", "--", "curl", "-sSf", "-o", "/dev/null", f"http://site.test:{host.port}/", cwd=repository.path)
            assert done.stdout == '{"exit_code":0}\n'
        finally:
            subprocess.run(["rm", "-r", codex.home], check=True)


def test_a_rule_that_is_none_is_an_error_of_the_file():
    """Named with its line, by codexd and by `codex sandbox`."""
    codex = Codex("[internet]\nallow_private = 10.0.0.1/8\n")
    try:
        for command in (["codexd", "--config", codex.config], ["codex", "sandbox", "--", "true"]):
            done = subprocess.run([BUILD / command[0], *command[1:]], env=codex.environment, capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, check=False, timeout=60)
            assert done.returncode != 0
            assert "codex.conf:2: allow_private: '10.0.0.1/8' is not a network" in done.stderr
    finally:
        subprocess.run(["rm", "-r", codex.home], check=True)
