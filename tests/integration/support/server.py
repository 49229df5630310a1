"""codexd by its API alone: HTTP on the Unix socket."""
import http.client
import json
import os
import socket
import subprocess
import sys

from support.codex import Codex


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """(status, code, detail) of an answer that is a problem."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        problem = self.json
        assert problem["status"] == self.status and problem["title"] and problem["type"] == "about:blank"
        return self.status, problem["code"], problem["detail"]


class Server(Codex):
    """A codexd without the command line."""

    def _answers(self):
        assert self.server.poll() is None, f"codexd ended: {self.log.read_text()}"
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def call(self, method, path, body=None, headers=None):
        """BODY: bytes as they are, anything else as JSON."""
        connection = UnixConnection(self.environment["CODEX_SOCKET"])
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def call_as(self, uid, gid, method, path, body=None):
        """The same as another user, in a process of its own; (status, JSON)."""
        script = ("import json, sys; from support.server import UnixConnection; c = UnixConnection(sys.argv[1]);"
                  "c.request(sys.argv[2], sys.argv[3], sys.argv[4] or None,"
                  " {'Content-Type': 'application/json'} if sys.argv[4] else {});"
                  "r = c.getresponse(); print(json.dumps([r.status, json.loads(r.read())]))")
        done = subprocess.run(
            [sys.executable, "-c", script, self.environment["CODEX_SOCKET"], method, path,
             json.dumps(body) if body is not None else ""],
            user=uid, group=gid, extra_groups=[], check=False, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
                 "PYTHONDONTWRITEBYTECODE": "1"}, timeout=60)
        assert done.returncode == 0, done.stderr
        return tuple(json.loads(done.stdout))

    def submit(self, prompt, repo, **more):
        answer = self.call("POST", "/v1/tasks", {"prompt": prompt, "repo": str(repo), **more})
        assert answer.status == 201, answer.body
        return answer.json

    def tasks(self):
        return self.call("GET", "/v1/tasks?limit=1000").json

    def status(self, task):
        answer = self.call("GET", f"/v1/tasks/{task}")
        assert answer.status == 200, answer.body
        return answer.json

    def events(self, task, query=""):
        return self.call("GET", f"/v1/tasks/{task}/events{query}").json

    def stream(self, task, headers=None, query=""):
        """An open event stream: an iterator of (id, type, event)."""
        return Stream(self.environment["CODEX_SOCKET"], f"/v1/tasks/{task}/events{query}", headers or {})

    def cancel(self, task):
        return self.call("POST", f"/v1/tasks/{task}/cancel")


class Stream:
    def __init__(self, path, url, headers):
        self.connection = UnixConnection(path)
        self.connection.request("GET", url, headers={"Accept": "text/event-stream", **headers})
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"
        self.comments = 0

    def __iter__(self):
        fields = {}
        for line in self.response:
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, value = line.split(": ", 1)
                assert name not in fields
                fields[name] = value
            elif fields:
                event = json.loads(fields["data"])
                yield int(fields["id"]), fields["event"], event
                fields = {}

    def close(self):
        self.connection.close()
