"""A git server on loopback: git-http-backend behind a small HTTP(S) server, with logins, and servers that
misbehave."""
import base64
import contextlib
import http.server
import pathlib
import ssl
import subprocess
import threading

from support.codex import wait_for
from support.repository import ENVIRONMENT

BACKEND = "/usr/lib/git-core/git-http-backend"
TOKEN = "ghp-secret-token-of-the-forge"
USER = "git"


def certificate(directory):
    """A certificate authority and a certificate of it for 127.0.0.1: (the authority's file, certificate, key)."""
    directory = pathlib.Path(directory)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
            "-subj", "/CN=Test CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj",
            "/CN=127.0.0.1")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.crt")
    return directory / "ca.crt", directory / "server.crt", directory / "server.key"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written one after the other

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def _authorized(self, service):
        server = self.server.owner
        header = self.headers.get("Authorization", "")
        server.requests.append((self.command, self.path, header))
        if server.public and "receive-pack" not in service:
            return True
        expected = base64.b64encode(f"{server.user}:{server.token}".encode()).decode()
        if header == f"Basic {expected}":
            if "receive-pack" in service and server.read_only:
                self._plain(403, b"no")
                return False
            return True
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _plain(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self):
        server = self.server.owner
        path, _, query = self.path.partition("?")
        body = server.reader(self, path, self.body) if server.reader else self.body()
        service = query + path
        if not self._authorized(service):
            return
        if server.hook and server.hook(self, path, query, body):
            return
        environment = {**ENVIRONMENT, "GIT_PROJECT_ROOT": str(server.root), "GIT_HTTP_EXPORT_ALL": "1",
                       "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                       "REMOTE_USER": server.user, "REMOTE_ADDR": "127.0.0.1",
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        done = subprocess.run([BACKEND], env=environment, input=body, capture_output=True, check=False)
        if server.afterwards and server.afterwards(self, path, query):
            return
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self._plain(status, content, headers)

    do_GET = do_POST = do_PUT = _serve


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that leaves early, as killed ones do."""


class GitServer:
    """Serves the bare repositories below ROOT. HOOK(handler, path, query, body): True when it has answered.

    READER(handler, path, body): the request's body in the place of body(), what git sends. AFTERWARDS(handler, path,
    query), when git has done its work: True when it has answered."""

    def __init__(self, root, tls=None, token=TOKEN, user=USER, public=False, read_only=False, hook=None):
        self.root = pathlib.Path(root)
        self.token, self.user, self.public, self.read_only, self.hook = token, user, public, read_only, hook
        self.reader = self.afterwards = None
        self.requests = []
        self.httpd = _Server(("127.0.0.1", 0), _Handler)
        self.httpd.owner = self
        self.tls = tls
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls[1], tls[2])
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)
        self.site = f"127.0.0.1:{self.httpd.server_address[1]}"
        self.base = f"{'https' if tls else 'http'}://{self.site}"
        self.released = threading.Event()  # for hooks that hang: set at the end

    def url(self, name):
        return f"{self.base}/{name}"

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    def served(self, part):
        """The requests whose path has PART in it."""
        return [path for _, path, _ in self.requests if part in path]


def bare(repository, path):
    """Make PATH a bare clone of the Repository, to be served; pushing is allowed."""
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.path), str(path)], check=True,
                   env=ENVIRONMENT, capture_output=True)
    subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True, env=ENVIRONMENT)
    return pathlib.Path(path)


def git(path, *arguments):
    """What git prints about the repository at PATH."""
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", str(path), *arguments], check=True, env=ENVIRONMENT,
                          capture_output=True, text=True).stdout.rstrip("\n")


def access(**fields):
    """The bytes of an access file: user, token, ssh_key, known_hosts, ca."""
    return b"".join(f"{name} {len(value.encode())}\n{value}\n".encode() for name, value in fields.items())


@contextlib.contextmanager
def nothing_stays_in_run():
    """What codex-git makes in /run meanwhile goes away. Other tests' is there at times: none of it may stay."""
    def directories():
        return set(pathlib.Path("/run").glob("codex-git-*"))
    before = directories()
    yield
    made = directories() - before
    wait_for(lambda: not made & directories(), 30, "nothing is left in /run")


@contextlib.contextmanager
def cloned(path, directory):
    """A work tree of the bare repository at PATH."""
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "--quiet", str(path), str(directory)], check=True,
                   env=ENVIRONMENT)
    yield pathlib.Path(directory)
