"""GitHub's REST API as far as pull requests go (docs.github.com/en/rest), with a memory, on loopback. Requests have to be
as the published description wants them; answers are its examples with this repository's values."""
import http.server
import json
import threading
import time
import urllib.parse

from support.github_description import example, name_of, problems_of_request

TOKEN = "ghp-secret-token-of-the-forge"
REPOSITORY, PULLS = "/repos/{owner}/{repo}", "/repos/{owner}/{repo}/pulls"
ID = 1296269  # of the repository


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        # Every answer has these, refusals too.
        limits = [("X-RateLimit-Limit", "5000"), ("X-RateLimit-Remaining", "4990"),
                  ("X-RateLimit-Reset", str(int(time.time()) + 3000))]
        given = [name.lower() for name, _ in headers]
        for name, value in (("Content-Type", "application/json; charset=utf-8"), *headers,
                            *(one for one in limits if one[0].lower() not in given)):
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
        hub.released.wait(hub.slow_s)
        if hub.away:
            self.close_connection = True
            return
        path = hub.path_of(self, url)
        if path is None:
            return
        fault = hub.faults.pop(0) if hub.faults and self.command in hub.faulty and not hub.is_trial(body) else None
        if fault and fault(self, hub, path, body):
            return
        hub.route(self, path, dict(urllib.parse.parse_qsl(url.query)), body)

    do_GET = do_POST = do_PATCH = _serve


class GitHub:
    """One repository. FAULTS: functions(handler, hub, path, body), one a request of a method in FAULTY; True when it
    has answered. OLD_NAME: what it was called before. MAY: whether the token may open pull requests.
    AWAY: nobody is answered. SLOW_S: before an answer."""

    def __init__(self, name="team/calculator", push=True, drafts=True, branches=("main",), head=None):
        self.name, self.push, self.drafts, self.branches = name, push, drafts, set(branches)
        self.old_name, self.may, self.away, self.repository = None, True, False, {}
        self.head = head or (lambda branch: "0" * 40)  # branch → commit
        self.token = TOKEN
        self.pulls, self.requests, self.faults, self.faulty = [], [], [], ("POST",)
        self.wrong = []  # what the description has against requests
        self.lock = threading.Lock()
        self.slow_s, self.released = 0, threading.Event()

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

    def __exit__(self, kind, *_):
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()
        assert kind or not self.wrong, self.wrong

    @staticmethod
    def is_trial(body):
        """A pull request from a branch into itself, to learn whether one may be opened."""
        return bool(body) and body.get("head") == body.get("base")

    def path_of(self, handler, url):
        """The path below the repository's; None when it is answered already."""
        if handler.headers.get("Authorization") != f"Bearer {self.token}":
            handler.answer(401, {"message": "Bad credentials"})
        elif url.path == f"/repositories/{ID}":
            handler.answer(200, self.described())
        elif self.old_name and url.path.startswith(f"/repos/{self.old_name}"):
            to = f"{self.api}/repositories/{ID}{url.path[len(f'/repos/{self.old_name}'):]}?{url.query}".rstrip("?")
            handler.answer(301 if handler.command == "GET" else 307, {"message": "Moved Permanently", "url": to},
                           [("Location", to)])
        elif url.path == "/":
            self.check(*self.requests[-1][:3])
            handler.answer(200, example("GET", "/"))
        elif not url.path.startswith(f"/repos/{self.name}"):
            handler.answer(404, {"message": "Not Found"})
        else:
            self.check(*self.requests[-1][:3])
            return url.path[len(f"/repos/{self.name}"):]
        return None

    def check(self, method, path, body):
        self.wrong += [f"{method} {path}: {one}" for one in problems_of_request(method, path, body)]

    def described(self):
        owner, name = self.name.split("/")
        plain = example("GET", REPOSITORY)
        return {**plain, "full_name": self.name, "name": name, "owner": {**plain["owner"], "login": owner},
                "archived": False, "permissions": {"admin": False, "push": self.push, "pull": True}, **self.repository}

    def route(self, handler, path, query, body):
        if path == "":
            handler.answer(200, self.described())
        elif path.startswith("/branches/"):
            branch = urllib.parse.unquote(path[len("/branches/"):])
            handler.answer(*((200, example("GET", REPOSITORY + "/branches/{branch}", name=branch))
                             if branch in self.branches else (404, {"message": "Branch not found"})))
        elif path == "/pulls" and handler.command == "GET":
            self.list(handler, query)
        elif path == "/pulls" and handler.command == "POST":
            self.create(handler, body)
        elif path.startswith("/pulls/"):
            found = [pull for pull in self.pulls if pull["number"] == int(path[len("/pulls/"):])]
            handler.answer(*((200, found[0]) if found else (404, {"message": "Not Found"})))
        else:
            handler.answer(404, {"message": "Not Found"})

    def list(self, handler, query):
        """Newest first, a page at a time. Whose head it is counts, too."""
        owner, _, branch = query.get("head", "").partition(":")
        found = [pull for pull in reversed(self.pulls) if pull["head"]["ref"] == branch and
                 pull["head"]["repo"]["full_name"].split("/")[0] == owner]
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        handler.answer(200, found[(page - 1) * size:page * size])

    def create(self, handler, body):
        with self.lock:
            if not self.may:
                handler.answer(403, {"message": "Resource not accessible by personal access token"})
                return
            refusal = self.refusal(body)
            if refusal:
                handler.answer(422, {"message": "Validation Failed", "errors": [{"message": refusal}]})
                return
            pull = self.add(body)
        handler.answer(201, pull)

    def refusal(self, body):
        if body["base"] not in self.branches:
            return "base is invalid"
        if self.is_trial(body):
            return f"No commits between {body['base']} and {body['head']}"
        if body.get("draft") and not self.drafts:
            return "Draft pull requests are not supported in this repository."
        if any(pull["head"]["ref"] == body["head"] and pull["state"] == "open" for pull in self.pulls):
            return f"A pull request already exists for {self.name.split('/')[0]}:{body['head']}."
        return None

    def add(self, body, **changes):
        """Open one; CHANGES: of what it is like."""
        number = 40 + len(self.pulls)
        plain = example("GET", PULLS + "/{pull_number}")
        head = {**plain["head"], "ref": body["head"], "sha": self.head(body["head"]),
                "repo": {**plain["head"]["repo"], "full_name": self.name}}
        pull = {**plain, "number": number, "html_url": f"https://github.com/{self.name}/pull/{number}", "state": "open",
                "draft": body["draft"], "merged": False, "merged_at": None, "title": body["title"],
                "body": body["body"], "head": head, "base": {**plain["base"], "ref": body["base"]}, **changes}
        self.pulls.append(pull)
        return pull

    def asked(self, method):
        return [path for command, path, _, _ in self.requests if command == method]

    def created(self):
        """The bodies of requests for a pull request."""
        return [body for command, _, body, _ in self.requests if command == "POST" and not self.is_trial(body)]

    def operations(self):
        """What was asked for, by the description's names."""
        return {name_of(command, urllib.parse.urlsplit(path).path) for command, path, _, _ in self.requests}
