"""Code in a task against the platform around it: whole tasks on the real programs."""
import json
import os

import pytest

from support.codex import API_KEY, codex_on
from support.model_server import call, message
from support.repository import Repository

# Prints what a process of the task's has, as a line of JSON behind a mark.
PROBE = r'''
import json, os, resource
def probe():
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[name] = os.readlink("/proc/self/fd/" + name).split(":")[0]
        except OSError:
            pass
    files = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "mem", "maps", "fd", "root", "cwd", "exe"):
            path = f"/proc/{process}/{name}"
            if os.stat(f"/proc/{process}").st_uid != 1000:
                files.append(path)
    print("PROBE " + json.dumps({
        "uid": status["Uid"].split(), "groups": status["Groups"].split(),
        "caps": [status["Cap" + name] for name in ("Inh", "Prm", "Eff", "Amb")],
        "no_new_privs": status["NoNewPrivs"], "seccomp": status["Seccomp"], "fds": fds, "strangers": files,
        "environment": sorted(os.environ), "values": list(os.environ.values()),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)}), flush=True)
if __name__ == "__main__":
    probe()
'''
TESTS = "import unittest, probe\nclass T(unittest.TestCase):\n    def test(self):\n        probe.probe()\n"
# `commit` runs git in the sandbox, and git what the repository says.
SETUP = """python3 probe.py; echo x >new
git config filter.probe.clean 'cat >/dev/null; python3 /workspace/project/probe.py'
echo 'new filter=probe' >.git/info/attributes"""
NAMES = {"CI", "GOFLAGS", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "NO_COLOR", "PAGER", "PATH", "PWD",
         "PYTEST_ADDOPTS", "SHELL", "SHLVL", "TERM", "USER", "_",
         # The way to the internet: the proxy's address, and no secret.
         "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "YARN_HTTP_PROXY",
         "YARN_HTTPS_PROXY", "NODE_USE_ENV_PROXY"}


def probes(text):
    """What PROBE has printed."""
    return [json.loads(line.partition("PROBE ")[2]) for line in text.splitlines() if "PROBE {" in line]


def test_commands_and_tests_have_nothing_of_the_platforms(tmp_path):
    """No capability, no descriptor but three, no key, no look at the agent; filtered, and they stay so."""
    repository = Repository(tmp_path / "project", {"probe.py": PROBE, "test_it.py": TESTS})
    script = [[call("exec_command", {"cmd": SETUP})], [call("exec_command", {"cmd": "python3 probe.py", "tty": True})],
              [message("done")]]
    with codex_on(script) as (codex, _):
        task = codex.wait(codex.task("Probe", cwd=repository.path))
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        events = codex.events(task["id"])
    seen = {phase: probes("".join(event["text"] for event in events
                                  if event["type"] == "phase.output" and event["phase"] == phase))
            for phase in ("baseline", "verifying")}
    seen["commands"] = probes("\n".join(event["item"].get("aggregated_output", "") for event in events
                                        if event["type"] == "item.completed"))
    seen["commit"] = probes(repository.git("show", f"{task['branch']}:new"))
    assert {name: len(found) for name, found in seen.items()} == {"baseline": 1, "verifying": 1, "commands": 2,
                                                                  "commit": 1}
    assert all(set(found["fds"]) == {"0", "1", "2"} for found in (*seen["baseline"], *seen["verifying"],
                                                                 *seen["commands"]))
    for found in (found for several in seen.values() for found in several):
        assert found["uid"] == ["1000"] * 4 and found["groups"] in ([], ["1000"])
        assert found["caps"] == ["0" * 16] * 4
        assert (found["no_new_privs"], found["seccomp"]) == ("1", "2")
        assert set(found["fds"].values()) <= {"pipe", "/dev/null", "/dev/pts/0", "/workspace/project/new"}
        assert found["strangers"] == []
        assert {name for name in found["environment"] if not name.startswith("GIT_")} <= NAMES
        assert API_KEY not in found["values"]
        assert found["core"] == [1, 1] and found["processes"][1] < 1024  # the sandbox's pids


LEFT_BEHIND = {
    # It takes all the room for processes that there is, and wants more.
    "a fork bomb": "while (fork() >= 0); for (;;) if (fork() < 0) usleep(100000);",
    # It ends whatever else its user has, also what is to end it.
    "a killer": "for (;;) kill(-1, SIGKILL);",
}
LEAVE = r"""cat >/tmp/left.c <<'X'
#include <signal.h>
#include <unistd.h>
int main(void)
{
    setsid();
    signal(SIGTERM, SIG_IGN);
    %s
}
X
gcc -w -o /tmp/left /tmp/left.c; echo kept >kept
(/tmp/left >/dev/null 2>&1 </dev/null &); sleep 1; echo started"""


@pytest.mark.parametrize("program", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_what_is_left_behind_does_not_keep_the_work_from_landing(tmp_path, program):
    """It is gone before the platform's own processes become the task's user, and there is room for them."""
    repository = Repository(tmp_path / "project", {"a": "b\n"})
    script = [[call("exec_command", {"cmd": LEAVE % program, "yield_time_ms": 20000})], [message("done")]]
    with codex_on(script) as (codex, _):
        task = codex.wait(codex.task("Leave", "--test", "true", cwd=repository.path))
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        assert repository.git("show", f"{task['branch']}:kept") == "kept"


def test_what_tests_leave_behind_is_gone_with_them(tmp_path):
    """The killer again: it may end its own test, and nothing else."""
    program = LEAVE % LEFT_BEHIND["a killer"]
    repository = Repository(tmp_path / "project", {"test.sh": f"{program}\nexit 0\n"})
    script = [[call("exec_command", {"cmd": "echo x >y"})], [message("done")]]
    with codex_on(script) as (codex, _):
        task = codex.wait(codex.task("Leave", "--test", "bash test.sh", cwd=repository.path))
        assert task["state"] == "completed" and task["verdict"] == "unproven", task
        assert task["evidence"]["baseline"]["exit_code"] is None


READ_BY_US = ("AGENTS.md", "package.json", "Makefile", "pyproject.toml", "setup.cfg", "conftest.py", "test_it.py",
              "Cargo.toml", "go.mod", "CMakeLists.txt", "meson.build")


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/fd/0", "/dev/ptmx", "/var/lib/codex/journal.jsonl", "."])
def test_files_that_we_read_may_be_links_to_anything(tmp_path, target):
    """Endless, ours, a terminal, a directory: nothing hangs, nothing of it is taken for what it is not."""
    repository = Repository(tmp_path / "project")
    for name in READ_BY_US:
        (repository.path / name).symlink_to(target)
    repository.commit({}, "links")
    with codex_on([[call("exec_command", {"cmd": "echo x >y"})], [message("done")]]) as (codex, _):
        task = codex.wait(codex.task("Look", cwd=repository.path), seconds=60)
        assert task["state"] == "completed" and task["verdict"] in ("no_tests", "unproven"), task
        assert repository.git("show", f"{task['branch']}:y") == "x"


def test_names_of_any_bytes_and_things_that_are_no_files(tmp_path):
    """They are committed as they are or left out, and what is printed of them does nothing to a terminal."""
    repository = Repository(tmp_path / "project", {"a": "b\n"})
    names = [b"a\nb", b"\xff\xfe", b"-rf", b"$(touch x)", b"\x1b[31mred", b"x" * 255, "\u3000".encode(), b"..."]
    for name in names:
        with open(os.path.join(os.fsencode(repository.path), name), "wb") as file:
            file.write(name)
    repository.commit({}, "names")
    work = ("printf more >>-rf; mkfifo fifo; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'; "
            "truncate -s 1T sparse; rm sparse; ln -s /etc/shadow shadow; echo -e '\\e]0;title\\a'; "
            "python3 -c 'import os; os.makedirs(\"d/\" * 500); open(\"d/\" * 500 + \"leaf\", \"w\").write(\"deep\")'")
    with codex_on([[call("exec_command", {"cmd": work, "yield_time_ms": 30000})], [message("done \x1b]0;title\x07")]]) as (codex, _):
        task = codex.wait(codex.task("Name", cwd=repository.path))
        assert task["state"] == "completed", task
        assert "\x1b" not in codex.run("logs", task["id"]).stdout
        changed = repository.git("diff", "--name-only", "-z", "main", task["branch"]).split("\0")
    assert set(changed) - {""} == {"-rf", "shadow", "d/" * 500 + "leaf"}
    assert repository.git("show", f"{task['branch']}:shadow") == "/etc/shadow"
