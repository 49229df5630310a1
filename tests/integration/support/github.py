"""GitHub's REST API as far as pull requests go (docs.github.com/en/rest), with a memory, on loopback."""
import http.server
import json
import threading
import urllib.parse

TOKEN = "ghp-secret-token-of-the-forge"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json; charset=utf-8"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _serve(self):
        hub = self.server.owner
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        url = urllib.parse.urlsplit(self.path)
        hub.requests.append((self.command, self.path, body, dict(self.headers)))
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.answer(401, {"message": "Bad credentials"})
            return
        prefix = f"/repos/{hub.name}"
        if not url.path.startswith(prefix):
            self.answer(404, {"message": "Not Found"})
            return
        fault = hub.faults.pop(0) if hub.faults and self.command in hub.faulty else None
        if fault and fault(self, hub, url.path[len(prefix):], body):
            return
        hub.route(self, url.path[len(prefix):], dict(urllib.parse.parse_qsl(url.query)), body)

    do_GET = do_POST = do_PATCH = _serve


class GitHub:
    """One repository. FAULTS: functions(handler, hub, path, body), one a request of a method in FAULTY; True when it
    has answered."""

    def __init__(self, name="team/calculator", push=True, drafts=True, branches=("main",), head=None):
        self.name, self.push, self.drafts, self.branches = name, push, drafts, set(branches)
        self.head = head or (lambda branch: "0" * 40)  # branch → commit
        self.token = TOKEN
        self.pulls, self.requests, self.faults, self.faulty = [], [], [], ("POST",)
        self.lock = threading.Lock()

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that was cut off."""
        self.httpd = Server(("127.0.0.1", 0), _Handler)
        self.httpd.owner = self
        self.api = f"http://127.0.0.1:{self.httpd.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()

    def route(self, handler, path, query, body):
        if path == "":
            handler.answer(200, {"full_name": self.name, "archived": False,
                                 "permissions": {"admin": False, "push": self.push, "pull": True}})
        elif path.startswith("/branches/"):
            branch = urllib.parse.unquote(path[len("/branches/"):])
            handler.answer(*((200, {"name": branch}) if branch in self.branches
                             else (404, {"message": "Branch not found"})))
        elif path == "/pulls" and handler.command == "GET":
            head = query.get("head", "").partition(":")[2]
            handler.answer(200, [pull for pull in self.pulls if pull["head"]["ref"] == head])
        elif path == "/pulls" and handler.command == "POST":
            self.create(handler, body)
        elif path.startswith("/pulls/"):
            found = [pull for pull in self.pulls if pull["number"] == int(path[len("/pulls/"):])]
            handler.answer(*((200, found[0]) if found else (404, {"message": "Not Found"})))
        else:
            handler.answer(404, {"message": "Not Found"})

    def create(self, handler, body):
        with self.lock:
            refusal = self.refusal(body)
            if refusal:
                handler.answer(422, {"message": "Validation Failed", "errors": [{"message": refusal}]})
                return
            pull = self.add(body)
        handler.answer(201, pull)

    def refusal(self, body):
        if set(body) != {"title", "head", "base", "body", "draft"}:
            return f"unexpected members: {sorted(body)}"
        if body["base"] not in self.branches:
            return "base is invalid"
        if body["draft"] and not self.drafts:
            return "Draft pull requests are not supported in this repository."
        if any(pull["head"]["ref"] == body["head"] and pull["state"] == "open" for pull in self.pulls):
            return f"A pull request already exists for team:{body['head']}."
        return None

    def add(self, body):
        number = 40 + len(self.pulls)
        pull = {"number": number, "html_url": f"https://github.com/{self.name}/pull/{number}", "state": "open",
                "draft": body["draft"], "merged_at": None, "title": body["title"], "body": body["body"],
                "head": {"ref": body["head"], "sha": self.head(body["head"])}, "base": {"ref": body["base"]}}
        self.pulls.append(pull)
        return pull

    def asked(self, method):
        return [path for command, path, _, _ in self.requests if command == method]
