"""Limits of whole tasks on the real programs: of the server, of the task, of the repository; and how one that is hit is
told."""
from support.model_server import ModelServer, call, message
from support.repository import Repository
from support.server import Server

MIB = 1 << 20


def section(model, more=""):
    return (f"[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = {model.base_url}\nenv_key = KEY\n"
            f"[sandbox]\ndisk = 256M\nmemory = 1G\npids = 200\n{more}\n")


def shell(command):
    return [call("exec_command", {"cmd": command, "yield_time_ms": 60000})]


def output(server, task, phase):
    return "".join(event["text"] for event in server.events(task, "?limit=10000")
                   if event["type"] == "phase.output" and event["phase"] == phase)


def test_the_lowest_of_server_task_and_repository_holds(tmp_path):
    """The task asks for less disk and cores, the repository for fewer processes, and for more disk than it gets."""
    repository = Repository(tmp_path / "demo", {
        "Makefile": "SHELL = /bin/bash\ntest:\n\t@echo size=$$(echo $$(df --output=size -B1M / | tail -1)) jobs=$$GOMAXPROCS procs=$$(ulimit -u)\n",
        ".codex/environment.conf": "pids = 100\ndisk = 200M\n"})
    with ModelServer([[message("Nothing to do.")]]) as model, Server(section(model), {"KEY": "sk-limits"}) as server:
        refused = server.call("POST", "/v1/tasks", {"prompt": "x", "repo": str(repository.path), "pids": 201}).problem
        assert refused[0] == 400 and "above the server's, which is 200 processes ([sandbox] pids)" in refused[2]
        server.run("task", "Look", "--disk", "100M", "--cpus", "0.5", "--follow", cwd=repository.path)
        task = server.tasks()[0]
        assert task["limits"] == {"memory_bytes": None, "cpu_milli": 500, "pids": None, "disk_bytes": 100 * MIB}
        words = dict(word.split("=") for word in output(server, task["id"], "baseline").split() if "=" in word)
        assert 95 < int(words["size"]) < 140 and (words["jobs"], words["procs"]) == ("1", "68"), words
        assert "limits: .codex/environment.conf asks for no more pids than 100 processes" in server.run("logs", task["id"]).stdout
        status = server.run("status", task["id"]).stdout
        assert "limits        cpus 0.500 cores, disk 100 MiB\n" in status and "limits hit" not in status


def test_a_full_disk_is_told_everywhere(tmp_path):
    """In one task set-up fills it, which is the task's end; in another a command of the agent's, which sees ENOSPC, and
    what was done before is committed all the same. Nobody else notices."""
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n"})
    fill = [shell("echo it >it; mkdir /workspace/hog; dd if=/dev/zero of=/workspace/hog/hog bs=1M"), [message("done")]]
    with ModelServer({"fill it.": fill, "look.": [[message("Nothing to do.")]]}, strict=False) as model, \
            Server(section(model), {"KEY": "sk-limits"}) as server:
        first = server.submit("look.", repository.path, disk_bytes=64 * MIB, setup="dd if=/dev/zero of=/opt/hog bs=1M")["id"]
        second = server.submit("fill it.", repository.path, disk_bytes=64 * MIB)["id"]
        ended = server.wait(first)
        assert (ended["state"], ended["fault"]["kind"], ended["fault"]["step"]) == ("failed", "limit", "preparing"), ended
        assert "the sandbox's disk is full; give it more than 64 MiB" in ended["fault"]["message"]
        assert server.wait(second)["branch"]
        assert "+it" in server.call("GET", f"/v1/tasks/{second}/diff").body.decode()
        for task, phase in ((first, "preparing"), (second, "working")):
            hit = [event for event in server.events(task, "?limit=10000") if event["type"] == "limit.hit"]
            assert [(e["limit"], e["figure"], e["unit"]) for e in hit][0] == ("disk", 64 * MIB, "bytes")
            assert hit[0]["phase"] == phase and server.status(task)["limits_hit"] == ["disk"]
            logs = server.run("logs", task).stdout
            assert "limit reached: disk (64.0 MiB)" in logs and "No space left on device" in logs
            assert "limits hit    disk\n" in server.run("status", task).stdout
        assert server.wait(server.submit("look.", repository.path)["id"])["state"] == "completed"
