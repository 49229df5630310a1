"""The HTTP API as docs/api.md has it, on the Unix socket."""
import contextlib
import http.client
import os
import pathlib
import pwd
import shutil
import socket
import tempfile
import threading

import pytest

from support.codex import IS_SANITIZED, wait_for
from support.model_server import ModelServer, call, forever, message
from support.repository import Repository
from support.server import Server, UnixConnection

MODEL = "[model]\nname = o3\nprovider = p\n[provider \"p\"]\nbase_url = http://127.0.0.1:%d/v1\n"
NO_PROVIDER = MODEL % 9  # nobody listens there
FILES = {"Makefile": "test:\n\ttrue\n"}
MEMBERS = {
    "id", "state", "waiting_for", "prompt", "repo", "base", "base_commit", "base_moved", "branch", "commit", "turn",
    "attempt", "attempts", "run", "fault", "verdict", "evidence", "pull_request", "workspace", "archive", "usage", "model",
    "effort", "forge", "limits", "limits_hit", "phase", "activity", "round", "created_at", "started_at", "ended_at", "updated_at",
}


@pytest.fixture(name="server", scope="module")
def make_server():
    """Its model finds nothing to do, so tasks complete at once, without a change."""
    with ModelServer([forever([message("There is nothing to do.")])]) as model, \
            Server("[server]\nmax_running = 1\n[sandbox]\ndisk = 20G\n" + MODEL % model.port) as server:
        yield server


@pytest.fixture(name="repository", scope="module")
def make_repository(tmp_path_factory):
    return Repository(tmp_path_factory.mktemp("api") / "demo", FILES)


@pytest.fixture(name="stuck")
def make_stuck(repository):
    """A server whose only slot is taken by a task that waits for a provider that accepts and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with Server("[server]\nmax_running = 1\n" + MODEL % silent.getsockname()[1]) as server:
            task = server.submit("wait", repository.path)
            assert task["waiting_for"] is None  # it starts at once
            server.wait(task["id"], "working")
            yield server, task["id"]


def submit(server, body, **options):
    return server.call("POST", "/v1/tasks", body, **options)


def test_health(server):
    answer = server.call("GET", "/healthz")
    assert answer.status == 200 and answer.json["status"] == "ok" and answer.json["version"]


def test_doctor(server):
    checks = server.call("GET", "/v1/doctor").json
    assert [check["check"] for check in checks] == ["state", "sandbox", "model", "runtime", "cgroups", "limits", "image", "disk limit",
                                                    "idmapped mounts", "overlay"]
    assert all(set(check) - {"env_key"} == {"check", "status", "detail", "remedy"} for check in checks)
    assert all(check["status"] == "ok" and check["remedy"] is None for check in checks if check["check"] != "image"), checks


def test_unknown_resources_and_methods(server):
    assert server.call("GET", "/nothing").problem == (404, "not_found", "there is no such resource")
    assert server.call("GET", "/v1/tasks/").problem[:2] == (404, "not_found")
    assert server.call("GET", "/v1/tasks/task-abcdef").problem == \
        (404, "not_found", "there is no task 'task-abcdef'")
    for name in ("x", "task-", "task-ABCDEF", "task-abc", "..", "task-abcdef%2e%2e", "task-" + "a" * 40):
        assert server.call("GET", f"/v1/tasks/{name}").problem[:2] == (404, "not_found"), name
    assert server.call("DELETE", "/v1/tasks").problem[:2] == (405, "not_found")
    assert server.call("POST", "/v1/tasks/task-abcdef").problem[:2] == (405, "not_found")
    assert server.call("GET", "/v1/tasks?limit=0").problem == \
        (400, "bad_request", "'limit' is not a number from 1 to 1000")
    assert server.call("GET", "/v1/tasks?order=up").problem == (400, "bad_request", "unknown parameter 'order'")
    assert server.call("GET", "/v1/tasks?before=task-abcdef").problem[:2] == (404, "not_found")


@pytest.mark.parametrize("body, detail", [
    (b"", "the body is not JSON"), (b"{", "the body is not JSON"), (b"[]", "the body is not a JSON object"),
    (b'{"prompt":"x","repo":"/r"} {}', "the body is not JSON"),
    (b'{"prompt":"x","prompt":"y","repo":"/r"}', "the body is not JSON: duplicate object key"),
    (b'{"prompt":"a\\u0000b","repo":"/r"}', "a string in the body has a NUL character"),
    (b'{"prompt":"\xff","repo":"/r"}', "the body is not JSON"),
    (b'{"prompt":' + b"[" * 100000, "the body is not JSON"),
    ({"prompt": "x", "repo": "/r", "colour": "red"}, "unknown member 'colour'"),
    ({"prompt": 5, "repo": "/r"}, "'prompt' is not a string"),
    ({"prompt": "x", "repo": "/r", "priority": "high"}, "'priority' is not a whole number"),
    ({"prompt": "x", "repo": "/r", "priority": 1.5}, "'priority' is not a whole number"),
    ({"prompt": "x", "repo": "/r", "timeout_ms": 0}, "budget_tokens and timeout_ms are greater than 0"),
    ({"prompt": "x", "repo": "/r", "pids": 0}, "pids is greater than 0"),
    ({"prompt": "x", "repo": "/r", "cpu_milli": "1"}, "'cpu_milli' is not a whole number"),
    ({"prompt": "x", "repo": "/r", "memory_bytes": 1 << 50}, "the limit 'memory' is out of its range"),
    ({"prompt": "x", "repo": "/r", "pids": 1025},
     "the limit 'pids' is above the server's, which is 1024 processes ([sandbox] pids)"),
    ({"prompt": "x", "repo": "/r", "disk_bytes": (20 << 30) + 1},
     "the limit 'disk' is above the server's, which is 20480 MiB ([sandbox] disk)"),
    ({"prompt": " \n ", "repo": "/r"}, "the prompt is empty: say what is to be done"),
    ({"repo": "/r"}, "the prompt is empty: say what is to be done"),
    ({"prompt": "x" * 70000, "repo": "/r"}, "the prompt is longer than 64 KiB"),
    ({"prompt": "x"}, "no repository is named"),
    ({"prompt": "x", "repo": "/r", "model": "o3 high"}, "'o3 high' is no name of a model"),
    ({"prompt": "x", "repo": "/r", "model": 'o"3'}, "'o\"3' is no name of a model"),
    ({"prompt": "x", "repo": "/r", "model": ""}, "'' is no name of a model"),
    ({"prompt": "x", "repo": "/r", "model": "o" * 201}, "'ooo"),
    ({"prompt": "x", "repo": "/r", "branch": "refs/heads/x"},
     "branch name 'refs/heads/x' begins with 'refs/': leave that out"),
    ({"prompt": "x", "repo": "r"}, "'r' is not an absolute path"),
    ({"prompt": "x", "repo": "/r", "forge": "gitea"}, "'gitea' is no forge that can be asked for: plain or github"),
    ({"prompt": "x", "repo": "/r", "forge": "github"}, "'/r' is not at a forge with kind = github in codex.conf"),
    ({"prompt": "x", "repo": "/r", "effort": "max"}, "'max' is not an effort: low, medium, high or xhigh"),
])
def test_bad_bodies(server, body, detail):
    status, code, found = submit(server, body).problem
    assert (status, code) == (400, "bad_request") and found.startswith(detail), found


def test_bad_questions_of_doctor(server):
    for body, detail in (({"repo": "/r"}, "'/r' is not the address of a remote repository"),
                         ({"repos": "x"}, "unknown member 'repos'"), ({"repo": 5}, "'repo' is not a string"),
                         ([], "the body is not a JSON object"), (b"{", "the body is not JSON")):
        status, code, found = server.call("POST", "/v1/doctor", body).problem
        assert (status, code) == (400, "bad_request") and found.startswith(detail), found


def test_bodies_that_are_too_large_or_of_another_type(server):
    assert submit(server, b"x" * (1 << 20) + b"x").problem[:2] == (413, "bad_request")
    answer = submit(server, b"prompt=x", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.problem == (415, "bad_request", "the body has to be application/json")
    # Without a length it is cut off where it gets too large.
    connection = UnixConnection(server.environment["CODEX_SOCKET"])
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("POST", "/v1/tasks", iter([b"x" * 65536] * 1024), {"Transfer-Encoding": "chunked"},
                           encode_chunked=True)
        connection.getresponse().read()
    connection.close()
    assert server.call("GET", "/healthz").status == 200


def test_submissions_that_git_refuses(server, repository, tmp_path):
    repository.git("branch", "taken")
    unborn = Repository(tmp_path / "unborn")

    def problem(**body):
        return submit(server, {"prompt": "x", **body}).problem
    assert problem(repo="/nonexistent/repo")[:2] == (404, "not_found"), problem(repo="/nonexistent/repo")
    assert problem(repo=str(tmp_path))[0] in (404, 409)
    assert problem(repo=str(repository.path), base="no-such-branch")[:2] == (404, "not_found")
    assert "no-such-branch" in problem(repo=str(repository.path), base="no-such-branch")[2]
    assert problem(repo=str(unborn.path))[:2] == (409, "refused")
    assert problem(repo=str(repository.path), branch="taken") == \
        (409, "refused", "branch 'taken' exists already: choose another name")
    for name in ("-x", "a b", "a..b", "x.lock", "$(x)/"):
        status, code, detail = problem(repo=str(repository.path), branch=name)
        assert code in ("bad_request", "refused"), (name, status, detail)
    assert problem(repo="http://forge.example/r.git")[:2] == (409, "refused")
    assert problem(repo="https://me:secret@forge.example/r.git")[:2] == (400, "bad_request")
    assert problem(repo="git@forge.example:r.git")[:2] == (403, "forbidden")
    assert problem(repo="https://127.0.0.1:1/r.git")[:2] == (502, "unreachable")
    assert not any(task["branch"] == "taken" for task in server.tasks())


def test_a_task_has_all_its_members(server, repository):
    task = server.submit("Say hello", repository.path, effort="low", priority=3)
    assert set(task) == MEMBERS
    assert task["state"] == "queued" and task["repo"] == str(repository.path)
    assert (task["base"], task["base_commit"]) == ("main", repository.head())
    assert task["created_at"].endswith("Z") and task["started_at"] is None
    assert task["attempts"] == [{"attempt": 1, "state": "queued", "verdict": None, "commit": None}]
    ended = server.wait(task["id"])
    assert set(ended) == MEMBERS and ended["ended_at"] >= ended["started_at"] >= ended["created_at"]
    assert (ended["state"], ended["verdict"], ended["branch"], ended["fault"]) == ("completed", "none", None, None)
    assert ended["evidence"]["baseline"]["exit_code"] == 0
    assert server.call("GET", f"/v1/tasks/{task['id']}/diff").problem == \
        (409, "refused", "there is nothing to show: the task changed nothing")


def test_a_missing_key_is_told_with_its_name(repository):
    with Server(NO_PROVIDER + "env_key = NO_SUCH_KEY\n") as server:
        answer = submit(server, {"prompt": "x", "repo": str(repository.path)})
        assert answer.problem[:2] == (409, "key_missing") and answer.json["env_key"] == "NO_SUCH_KEY"
        model = server.call("GET", "/v1/doctor").json[2]
        assert (model["status"], model["env_key"], model["remedy"]) == ("fail", "NO_SUCH_KEY", "codex secret set NO_SUCH_KEY")


def test_no_runtime(repository):
    with Server(NO_PROVIDER + "[sandbox]\nruntime = /nonexistent/crun\n") as server:
        assert submit(server, {"prompt": "x", "repo": str(repository.path)}).problem[:2] == (503, "no_sandbox")


def test_the_peer_is_the_login(server, repository):
    """Who may use the socket sees and submits his own; root sees all."""
    gid = pwd.getpwnam("codex").pw_gid
    roots = server.submit("mine", repository.path)["id"]
    home = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
    try:
        home.chmod(0o755)
        theirs = Repository(home / "theirs", FILES)
        for path in [home, *home.rglob("*")]:
            os.chown(path, 12345, 12345)
        status, task = server.call_as(12345, gid, "POST", "/v1/tasks", {"prompt": "theirs", "repo": str(theirs.path)})
        assert status == 201, task
        status, tasks = server.call_as(12345, gid, "GET", "/v1/tasks")
        assert [t["id"] for t in tasks] == [task["id"]]
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/diff"), ("POST", "/cancel")):
            status, problem = server.call_as(12345, gid, method, f"/v1/tasks/{roots}{path}")
            assert (status, problem["code"]) == (403, "forbidden"), path
        assert {roots, task["id"]} <= {t["id"] for t in server.tasks()}
        # A path that the peer may not read is not read for him, though codexd and the spawner could.
        private = Repository(home / "private", FILES)
        private.path.chmod(0o700)
        status, problem = server.call_as(12345, gid, "POST", "/v1/tasks", {"prompt": "x", "repo": str(private.path)})
        assert status in (403, 404, 409), problem
        server.cancel(task["id"])
    finally:
        server.wait(roots)
        server.wait(task["id"])
        shutil.rmtree(home)


def test_who_is_not_of_the_group_cannot_connect(server):
    with pytest.raises(AssertionError, match="PermissionError"):
        server.call_as(12345, 12345, "GET", "/healthz")


def test_lists_are_paged(server, repository):
    tasks = [server.submit(f"n{n}", repository.path)["id"] for n in range(4)]
    for task in tasks:
        server.cancel(task)
    listed = [task["id"] for task in server.call("GET", "/v1/tasks?limit=2").json]
    assert listed == [tasks[3], tasks[2]]
    listed = [task["id"] for task in server.call("GET", f"/v1/tasks?limit=2&before={tasks[2]}").json]
    assert listed == [tasks[1], tasks[0]]
    for task in tasks:
        server.wait(task)
    assert server.call("GET", "/v1/tasks?active=1").json == []


def test_events_are_numbered_and_paged(server, repository):
    task = server.submit("events", repository.path)["id"]
    server.wait(task)
    events = server.events(task)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(list(event)[:8] == ["seq", "ts", "task", "turn", "attempt", "run", "phase", "type"] for event in events)
    assert server.events(task, "?after=2&limit=3") == events[2:5]
    assert server.events(task, f"?after={len(events)}") == []
    states = [event["state"] for event in events if event["type"] == "task.state"]
    assert states[0] == "queued" and states[-1] == "completed"
    assert events[-1]["type"] == "task.state"


def test_a_stream_ends_with_the_task_and_goes_on_from_anywhere(server, repository):
    task = server.submit("stream", repository.path)["id"]
    stream = server.stream(task)
    seen = list(stream)
    events = server.events(task)
    assert [event for _, _, event in seen] == events
    assert all(number == event["seq"] and kind == event["type"] for number, kind, event in seen)
    again = [event for _, _, event in server.stream(task, {"Last-Event-ID": "3"})]
    assert again == events[3:]
    assert [event for _, _, event in server.stream(task, query="?after=5")] == events[5:]
    assert list(server.stream(task, {"Last-Event-ID": str(len(events))})) == []
    answer = server.call("GET", f"/v1/tasks/{task}/events", headers={"Accept": "text/event-stream",
                                                                     "Last-Event-ID": "x"})
    assert answer.problem[:2] == (400, "bad_request")


def test_streams_are_live(stuck):
    server, task = stuck
    stream = server.stream(task)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(stream))
    reader.start()
    wait_for(lambda: any(event.get("state") == "working" for _, _, event in seen), 30, "the stream is at work")
    assert reader.is_alive()
    server.cancel(task)
    server.wait(task, "cancelled", seconds=60)
    reader.join(10)
    assert not reader.is_alive() and seen[-1][2]["state"] == "cancelled"
    assert [number for number, _, _ in seen] == list(range(1, len(seen) + 1))


def test_readers_that_leave_are_forgotten(stuck):
    server, task = stuck

    def sockets():
        count = 0
        for fd in pathlib.Path(f"/proc/{server.server.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(fd).startswith("socket:")
        return count
    streams = [server.stream(task) for _ in range(50)]
    most = sockets()
    assert most >= 50
    for stream in streams:
        stream.close()
    wait_for(lambda: sockets() <= most - 50, 10, "they are gone")
    assert server.call("GET", "/healthz").status == 200


def test_one_user_cannot_take_all_streams(stuck):
    server, task = stuck
    streams = [server.stream(task) for _ in range(256)]
    answer = server.call("GET", f"/v1/tasks/{task}/events", headers={"Accept": "text/event-stream"})
    assert answer.problem[:2] == (409, "refused")
    for stream in streams:
        stream.close()
    wait_for(lambda: server.call("GET", "/healthz").status == 200, 5, "it answers")


@pytest.mark.slow
def test_a_quiet_stream_is_kept_alive(stuck):
    server, task = stuck
    stream = server.stream(task)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    wait_for(lambda: stream.comments, 30, "a comment comes")
    server.cancel(task)
    reader.join(60)
    assert not reader.is_alive()


def memory(server, what):
    """What codexd has of "Rss" or "Pss", in KiB. A sanitizer build is not what is promised."""
    if IS_SANITIZED:
        pytest.skip("sanitizer build")
    rollup = pathlib.Path(f"/proc/{server.server.pid}/smaps_rollup").read_text()
    return int(rollup.split(f"{what}:")[1].split()[0])


def test_slow_readers_cost_no_memory(repository):
    flood = [call("exec_command", {"cmd": "head -c 60000 /dev/urandom | base64 -w 100", "max_output_tokens": 20000})]
    with ModelServer([flood] * 40 + [[message("done")]]) as model, Server(MODEL % model.port) as server:
        task = server.submit("make noise", repository.path)["id"]
        server.wait(task)
        size = sum(len(str(event)) for event in server.events(task, "?limit=10000"))
        assert size > 2_000_000
        before = memory(server, "Rss")
        streams = [server.stream(task) for _ in range(30)]  # which nobody reads
        for _ in range(20):
            assert server.call("GET", "/healthz").status == 200
        assert memory(server, "Rss") - before < 30 * 400
        # And one that begins to read late misses nothing.
        assert [event for _, _, event in streams[7]] == server.events(task, "?limit=10000")
        for stream in streams:
            stream.close()


def test_a_waiting_task_says_for_what_and_is_cancelled_at_once(stuck, repository):
    server, _ = stuck
    first, second = (server.submit("queued", repository.path)["id"] for _ in range(2))
    assert server.status(first)["waiting_for"] == "a free slot"
    assert server.status(second)["waiting_for"] == "1 task ahead"
    urgent = server.submit("now", repository.path, priority=5)["id"]
    assert server.status(urgent)["waiting_for"] == "a free slot"
    assert server.status(second)["waiting_for"] == "2 tasks ahead"
    assert server.call("POST", f"/v1/tasks/{second}/cancel", {"why": "x"}).problem[:2] == (400, "bad_request")
    answer = server.cancel(second)
    assert answer.status == 200 and answer.json["state"] == "cancelled"
    assert server.cancel(second).problem == (409, "refused", f"{second} has ended: it is cancelled")
    assert server.call("GET", f"/v1/tasks/{first}/diff").problem == \
        (409, "refused", "there is nothing to show yet: the work is not done")
    server.cancel(first)
    server.cancel(urgent)


def test_stopping_with_streams_open(stuck):
    server, task = stuck
    stream = server.stream(task)
    server.stop()
    assert server.server.returncode == 0
    assert len(list(stream)) >= 3  # it ends instead of hanging
    server.start()
    assert server.status(task)["state"] == "working"


def test_slow_and_broken_clients_harm_nobody(server):
    path = server.environment["CODEX_SOCKET"]
    clients = []
    for bytes_sent in (b"", b"GET", b"GET / HTTP/1.1\r\nHost", b"\x00\xff\r\n\r\n", b"GET /" + b"x" * 100000,
                       b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.settimeout(5)
        try:
            client.sendall(bytes_sent)
        except OSError:
            pass
        clients.append(client)
    assert server.call("GET", "/healthz").status == 200
    for client in clients:
        client.close()
    assert server.call("GET", "/healthz").status == 200
    assert server.server.poll() is None


def test_many_submissions_at_once(server, repository):
    answers = []

    def one(number):
        answers.append(submit(server, {"prompt": f"many {number}", "repo": str(repository.path)}))
    threads = [threading.Thread(target=one, args=[n]) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [201] * 20
    ids = {answer.json["id"] for answer in answers}
    assert len(ids) == 20
    for task in ids:
        server.cancel(task)
    for task in ids:
        server.wait(task)


def test_idle_memory(server):
    assert memory(server, "Pss") < 15 * 1024
