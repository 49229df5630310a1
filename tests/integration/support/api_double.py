"""A double of codexd's HTTP API (docs/api.md) for tests of the CLI alone: it keeps tasks and events that a
test puts there, streams them, drops connections and goes away when it is told to. It runs nothing."""
import collections
import datetime
import http.server
import json
import os
import socket
import socketserver
import threading
import urllib.parse

WAIT_SECONDS = 20
SHA = "0123456789abcdef0123456789abcdef01234567"
WORK_SHA = "abcdef0123456789abcdef0123456789abcdef01"
ENDED = ("completed", "failed", "cancelled")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def task_json(task, **members):
    """A task as the API gives it."""
    return {
        "id": task, "state": "queued", "waiting_for": None, "prompt": "Add pagination", "repo": "/srv/demo",
        "base": "main", "base_commit": SHA, "branch": None, "commit": None, "turn": 1, "attempt": 1,
        "attempts": [], "run": 1, "fault": None, "verdict": None,
        "evidence": {"baseline": None, "verification": None, "newly_broken": [], "newly_fixed": [],
                     "tests_added": [], "tests_removed": [], "newly_skipped": []},
        "pull_request": None, "workspace": {"state": "live"}, "archive": None,
        "usage": {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0,
                  "reasoning_output_tokens": 0},
        "model": "o3", "effort": "high", "phase": None, "activity": None, "round": 1,
        "created_at": now(), "started_at": None, "ended_at": None, "updated_at": now(), **members,
    }


def test_result(exit_code):
    return {"command": "npm test", "found": "package.json", "exit_code": exit_code, "signal": None,
            "timed_out": False, "duration_ms": 2100, "output_tail": "ok 1\nnot ok 2\n"}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class ApiDouble:
    """Serves on the Unix socket PATH. Use as a context manager; start() and vanish() in between."""

    def __init__(self, path):
        self.path = str(path)
        self.tasks = collections.OrderedDict()  # oldest first
        self.events = {}
        self.diffs = {}
        self.doctor = []
        self.version = "0.1.0"
        self.secrets = []
        self.problems = {}      # "POST /v1/tasks": (status, code, detail[, more members])
        self.requests = []      # (method, target, headers, body)
        self.on_submit = None   # called with the new task's id, in a thread
        self.page_max = 1000    # tasks in one answer, whatever was asked for
        self.drop_after = None  # cut a stream, once, after so many of its events
        self.next_id = "task-new001"
        self.new_task = {}      # members of tasks that are handed in
        self.changed = threading.Condition()
        self.server = None
        self.connections = set()
        self.generation = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.vanish()

    def start(self):
        double = self

        class Handler(_Handler):
            api = double

        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = _Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def vanish(self, keep_socket=True):
        """As after kill -9: every connection is cut, the socket's file stays."""
        if not self.server:
            return
        with self.changed:
            self.generation += 1
            self.changed.notify_all()
            for connection in list(self.connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        if not keep_socket:
            os.unlink(self.path)

    def add(self, task, **members):
        with self.changed:
            self.tasks[task] = task_json(task, **members)
            self.events[task] = []
        return task

    def event(self, task, kind, phase=None, **members):
        """Append an event; `task.state` moves the task along with it."""
        with self.changed:
            events = self.events[task]
            if kind == "task.state":
                self.tasks[task].update({k: v for k, v in members.items() if k in ("state", "verdict", "fault")})
                if members["state"] in ENDED:
                    self.tasks[task]["ended_at"] = now()
            events.append({"seq": len(events) + 1, "ts": now(), "task": task, "turn": 1, "attempt": 1, "run": 1,
                           "phase": phase, "type": kind, **members})
            self.changed.notify_all()

    def work(self, task, *, verification=0, verdict="passed"):
        """All events of a task that goes through its phases and is delivered."""
        self.event(task, "task.state", state="queued", reason=None)
        self.event(task, "task.state", state="preparing", reason=None)
        self.event(task, "phase.started", "preparing", round=1)
        self.event(task, "phase.completed", "preparing", round=1, status=0, duration_ms=400,
                   result={"commit": SHA})
        self.event(task, "task.state", state="baseline", reason=None)
        self.event(task, "phase.started", "baseline", round=1)
        self.event(task, "phase.output", "baseline", text="> npm test\nok 1\n")
        self.event(task, "phase.completed", "baseline", round=1, status=0, duration_ms=2100,
                   result=test_result(0))
        self.event(task, "task.state", state="working", reason=None)
        self.event(task, "phase.started", "working", round=1)
        self.event(task, "item.completed", "working",
                   item={"id": "i1", "type": "agent_message", "text": "I add pagination."})
        self.event(task, "item.started", "working",
                   item={"id": "i2", "type": "command_execution", "command": "npm test",
                         "aggregated_output": "", "exit_code": None, "status": "in_progress"})
        self.event(task, "item.completed", "working",
                   item={"id": "i2", "type": "command_execution", "command": "npm test",
                         "aggregated_output": "all fine\n", "exit_code": 0, "status": "completed"})
        self.event(task, "model.usage", "working", usage={"input_tokens": 41234, "cached_input_tokens": 0,
                                                          "output_tokens": 3100, "reasoning_output_tokens": 0})
        self.event(task, "phase.completed", "working", round=1, status=0, duration_ms=9000,
                   result={"commit": WORK_SHA, "changed": True, "files": 2, "insertions": 40, "deletions": 2,
                           "title": "Add pagination", "body": "", "branch": None})
        self.event(task, "task.state", state="verifying", reason=None)
        self.event(task, "phase.started", "verifying", round=1)
        self.event(task, "phase.completed", "verifying", round=1, status=1 if verification else 0,
                   duration_ms=2100, result=test_result(verification))
        self.event(task, "task.state", state="delivering", reason=None)
        self.event(task, "delivery.branch", branch="feat/add-pagination", commit=WORK_SHA)
        with self.changed:
            self.tasks[task].update(
                branch="feat/add-pagination", commit=WORK_SHA,
                evidence={**self.tasks[task]["evidence"], "baseline": test_result(0),
                          "verification": test_result(verification)},
                usage={"input_tokens": 41234, "cached_input_tokens": 0, "output_tokens": 3100,
                       "reasoning_output_tokens": 0},
                pull_request={"forge": "plain", "url": None, "number": 1, "state": "open",
                              "draft": verdict != "passed", "title": "Add pagination", "body": ""})
        self.event(task, "delivery.pull_request", pull_request=self.tasks[task]["pull_request"])
        self.event(task, "task.state", state="completed", reason=None, verdict=verdict)

    def wait_for_requests(self, count, what):
        """Wait until COUNT requests whose line starts with WHAT have come."""
        def enough():
            return sum(f"{method} {target}".startswith(what) for method, target, _, _ in self.requests) >= count
        with self.changed:
            assert self.changed.wait_for(enough, WAIT_SECONDS), f"{count} × {what}: {self.requests}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.api.connections.add(self.connection)

    def finish(self):
        self.api.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def _answer(self, status, value, content_type="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _problem(self, status, code, detail, **members):
        self._answer(status, {"type": "about:blank", "title": "x", "status": status, "detail": detail,
                              "code": code, **members}, "application/problem+json")

    def _note(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        with self.api.changed:
            self.api.requests.append((self.command, self.path, dict(self.headers), body))
            self.api.changed.notify_all()
        return body

    def _handle(self):
        body = self._note()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        problem = self.api.problems.get(f"{self.command} {url.path}")
        parts = url.path.strip("/").split("/")
        if problem:
            self._problem(*problem[:3], **dict(*problem[3:]))
        elif url.path == "/healthz":
            self._answer(200, {"status": "ok", "version": self.api.version})
        elif url.path == "/v1/doctor":
            self._answer(200, self.api.doctor)
        elif parts[:2] == ["v1", "secrets"]:
            self._secrets(parts[2:])
        elif url.path == "/v1/tasks" and self.command == "POST":
            self._submit(json.loads(body))
        elif url.path == "/v1/tasks":
            self._list(query)
        elif parts[:2] == ["v1", "tasks"] and parts[2] in self.api.tasks:
            self._task(parts[2], parts[3:], query)
        else:
            self._problem(404, "not_found", f"no task '{parts[-1]}'")

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _secrets(self, name):
        if self.command == "PUT":
            self._answer(200, {"name": name[0], "set_at": now(), "used_by": []})
        elif self.command == "DELETE":
            self._answer(204, b"")
        else:
            self._answer(200, self.api.secrets)

    def _submit(self, wanted):
        task = self.api.next_id
        self.api.add(task, prompt=wanted["prompt"], repo=wanted["repo"], **self.api.new_task)
        self._answer(201, self.api.tasks[task])
        if self.api.on_submit:
            threading.Thread(target=self.api.on_submit, args=(task,), daemon=True).start()

    def _list(self, query):
        tasks = list(reversed(self.api.tasks.values()))
        if "before" in query:
            ids = [task["id"] for task in tasks]
            tasks = tasks[ids.index(query["before"]) + 1:]
        if query.get("active"):
            tasks = [task for task in tasks if task["state"] not in ENDED]
        self._answer(200, tasks[:min(self.api.page_max, int(query.get("limit", 100)))])

    def _task(self, task, rest, query):
        if not rest:
            self._answer(200, self.api.tasks[task])
        elif rest == ["diff"]:
            self._answer(200, self.api.diffs[task], "text/x-diff")
        elif rest == ["cancel"]:
            self.api.event(task, "task.state", state="cancelled", reason="cancelled")
            self._answer(200, self.api.tasks[task])
        elif rest == ["events"] and "text/event-stream" in self.headers.get("Accept", ""):
            self._stream(task, int(self.headers.get("Last-Event-ID") or 0))
        elif rest == ["events"]:
            after, limit = int(query.get("after", 0)), int(query.get("limit", 100))
            self._answer(200, self.api.events[task][after:after + limit])

    def _chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _stream(self, task, after):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        generation, sent, events = self.api.generation, 0, self.api.events[task]
        try:
            self._chunk(": hello\n\n")
            while True:
                with self.api.changed:
                    self.api.changed.wait_for(lambda: len(events) > after or self.api.generation != generation)
                    if self.api.generation != generation:
                        return
                    event = events[after]
                if self.api.drop_after is not None and sent == self.api.drop_after:
                    self.api.drop_after = None
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self._chunk(f"id: {event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n")
                after += 1
                sent += 1
                if event["type"] == "task.state" and event["state"] in ENDED and after == len(events):
                    self.wfile.write(b"0\r\n\r\n")
                    return
        except OSError:
            pass
