"""A codex-gateway of the test's own: the test plays its runner and its sandbox.

    with Gateway(base_url=provider.base_url) as gateway:
        answer = gateway.ask({"input": []})
        assert answer.status == 200
        gateway.close()                      # ends it, and checks that it ended well
        assert gateway.events("model.usage")
"""
import fcntl
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import tempfile
import time

from support.codex import BUILD

SANDBOX_KEY = "sandbox-key-of-the-test"
REAL_KEY = "sk-real-key-of-the-provider"
MODEL = "test-model"

# src/task/gateway_control.h
CONTROL = struct.Struct("=IIIiqIIQIIIIQ32sI4x")
LISTEN, PHASE_STARTED, PHASE_COMPLETED, STREAM, STREAM_STOP, LIMIT_HIT, NOTE, RUN_ENDED, UNLISTEN, NARROW = range(1, 11)
LISTENER_MODEL, LISTENER_PROXY, LISTENER_SIDE_PROXY = range(3)
STREAM_ENDED, WRITTEN, LIMIT, NARROWED = 100, 101, 102, 103
OUTPUT, EVENTS = 0, 1
PREPARING, BASELINE, WORKING, VERIFYING, FINISHING = range(5)
EXIT_DONE, EXIT_START, EXIT_CONTROL, EXIT_DISK_FULL, EXIT_EVENTS = 0, 10, 11, 12, 13


def control(type_, phase=WORKING, round_=1, status=0, duration_ms=0, stream=0, kind=0, figure=0,
            outcome=0, fault=0, changed=0, archive=None, payload=b""):
    """One message to the gateway."""
    size, sha256 = archive or (0, b"")
    return CONTROL.pack(type_, phase, round_, status, duration_ms, stream, kind, figure, outcome,
                        fault, changed, archive is not None, size, sha256, len(payload)) + payload


class Gateway:
    """KEYWORDS go into gateway.json over the defaults (None: null). REPLAY: the lines of a replay file,
    or bytes. EVENTS: a descriptor instead of a file of the test's own. MORE_FDS: {number: descriptor}."""

    def __init__(self, replay=None, events=None, environment=None, more_fds=None, listen=True,
                 **config):
        self.config = {"task": "task-test01", "wire_api": "replay" if replay is not None else "responses",
                       "base_url": None, "key": REAL_KEY, "model": MODEL, "sandbox_key": SANDBOX_KEY,
                       "budget_tokens": None, "used_tokens": 0, "first_byte_timeout_ms": 10000,
                       "idle_timeout_ms": 10000, **config}
        self.directory = tempfile.TemporaryDirectory(prefix="codex-gateway-")
        self.event_path = pathlib.Path(self.directory.name, "events.jsonl")
        self.log_path = pathlib.Path(self.directory.name, "log")
        self.environment = {"PATH": os.environ["PATH"], **(environment or {})}
        for name, value in os.environ.items():
            if name.endswith("SAN_OPTIONS"):
                self.environment[name] = value
        self._given_events = events
        self._replay = self._replay_bytes(replay)
        self._more_fds = more_fds or {}
        self._listens = listen
        self.pid = None
        self.status = None
        self.control = None
        self._listener = None
        self.streams = 0

    @staticmethod
    def _replay_bytes(replay):
        if replay is None or isinstance(replay, bytes):
            return replay
        return b"".join(json.dumps(line).encode() + b"\n" for line in replay)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if self.status is None and kind is None:
                self.close()
        finally:
            if self.pid and self.status is None:
                os.kill(self.pid, signal.SIGKILL)
                self.wait()
            if self.control:
                self.control.close()
            if self._listener:
                self._listener.close()
            self.directory.cleanup()

    def start(self):
        """Start the program with its descriptors, and let it listen on a free port."""
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(20)
        events = self._given_events
        if events is None:
            events = os.open(self.event_path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        config = self._memfd(json.dumps(self.config).encode())
        fds = {3: theirs.fileno(), 4: events, 5: config}
        if self._replay is not None:
            fds[6] = self._memfd(self._replay)
        log = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.pid = self._spawn({**fds, **self._more_fds, 2: log})
        self.status = None
        for fd in (config, log, *([fds[6]] if 6 in fds else []),
                   *([events] if self._given_events is None else [])):
            os.close(fd)
        theirs.close()
        if self._listens:
            self.listen()

    @staticmethod
    def _memfd(content):
        fd = os.memfd_create("test")
        os.write(fd, content)   # and the position stays at the end: the gateway must not mind
        return fd

    def _spawn(self, fds):
        """Start the program with exactly these descriptors."""
        high = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for number, fd in fds.items()}
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in high.items()]
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        program = str(BUILD / "codex-gateway")
        try:
            return os.posix_spawn(program, [program], self.environment, file_actions=actions)
        finally:
            for fd in high.values():
                os.close(fd)

    # ---- playing the runner

    def send(self, type_, fd=None, **fields):
        """One control message, with a descriptor when FD is given."""
        message = control(type_, **fields)
        socket.send_fds(self.control, [message], [fd] if fd is not None else [])

    def receive(self):
        """The next answer: (type, stream), of LIMIT (type, kind, figure); None when the gateway has closed."""
        try:
            data = self.control.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return None
        fields = CONTROL.unpack(data[:CONTROL.size])
        if fields[0] == LIMIT:
            return fields[0], fields[6], fields[7]
        return fields[0], fields[5]

    def listen(self, backlog=128):
        """A listener on a free port of loopback takes the place of the one before."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.send(LISTEN, fd=listener.fileno())
        if self._listener:
            self._listener.close()
        self._listener = listener

    @property
    def port(self):
        """Where the sandbox finds the model."""
        return self._listener.getsockname()[1]

    def stream(self, kind=OUTPUT, phase=WORKING):
        """Hand over a new pipe; returns (number, the write end as a file without buffer)."""
        self.streams += 1
        read_end, write_end = os.pipe()
        self.send(STREAM, fd=read_end, stream=self.streams, kind=kind, phase=phase)
        os.close(read_end)
        return self.streams, os.fdopen(write_end, "wb", buffering=0)

    def expect_ended(self, *numbers):
        """Wait for STREAM_ENDED of each of these streams, in any order."""
        assert {self.receive() for _ in numbers} == {(STREAM_ENDED, number) for number in numbers}

    def close(self, status=EXIT_DONE):
        """Close the control socket; the gateway ends with STATUS."""
        self.control.shutdown(socket.SHUT_RDWR)
        self.wait()
        assert self.status == status, self.log()
        if status == EXIT_DONE:
            assert "Sanitizer" not in self.log() and "runtime error" not in self.log(), self.log()

    def wait(self, seconds=20):
        """Reap it, and return its exit status (-N: killed by signal N)."""
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                return self.status
            assert time.monotonic() < deadline, f"the gateway is still there after {seconds} s"
            time.sleep(0.005)

    # ---- playing the sandbox

    def connect(self, **options):
        """A connection to the model listener."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(options.get("timeout", 20))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def raw(self, data, of_connect=False, **options):
        """Send exactly DATA on a connection of its own; returns the Answer."""
        with self.connect(**options) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass        # an early answer may close it; what came is still to be read
            return Answer.read(connection, of_connect)

    def ask(self, body=None, key=SANDBOX_KEY, path="/v1/responses", method="POST", headers=(), **members):
        """A request for the model: BODY (bytes or a dict) or MEMBERS over the plain request."""
        if not isinstance(body, bytes):
            body = json.dumps(body if body is not None else
                              {"model": MODEL, "input": [], "stream": True, **members}).encode()
        return self.raw(request(body, key=key, path=path, method=method, headers=headers))

    # ---- what came of it

    def log(self):
        """Its standard error."""
        return self.log_path.read_text(errors="replace")

    def events(self, type_=None):
        """What is in the event file: every line must be a JSON object with time, type and phase."""
        lines = self.event_path.read_bytes().split(b"\n")
        events = [json.loads(line) for line in lines[:-1]]
        for event in events:
            assert {"ts", "type", "phase"} <= set(event), event
        return [event for event in events if type_ in (None, event["type"])]

    def output(self):
        """The text of all phase.output events."""
        return "".join(event["text"] for event in self.events("phase.output"))

    def memory(self):
        """Kilobytes: {"Private": …, "Pss": …, "Rss": …}."""
        figures = {}
        for line in pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split()[:2]
            figures[name.rstrip(":")] = int(value)
        return {"Private": figures["Private_Clean"] + figures["Private_Dirty"],
                "Dirty": figures["Private_Dirty"], "Pss": figures["Pss"], "Rss": figures["Rss"]}

    def cpu_seconds(self):
        """User and system time so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(body, key=SANDBOX_KEY, path="/v1/responses", method="POST", headers=(), length=None):
    """The bytes of one request. LENGTH: another Content-Length; "chunked": the body in one chunk."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:64080"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if length == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += list(headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Answer:
    """An HTTP answer as it was read; `broken` when it was cut."""

    def __init__(self, status, headers, body, broken):
        self.status, self.headers, self.body, self.broken = status, headers, body, broken

    @classmethod
    def read(cls, connection, of_connect=False):
        """Read one from CONNECTION to its end; OF_CONNECT: a tunnel is not read."""
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
        except (http.client.HTTPException, ConnectionError):
            return cls(None, {}, b"", True)
        body, broken = b"", False
        try:
            if not (of_connect and response.status == 200):
                body = response.read()
        except http.client.IncompleteRead as error:
            body, broken = error.partial, True
        except ConnectionError:
            broken = True
        headers = {name.lower(): value for name, value in response.getheaders()}
        return cls(response.status, headers, body, broken)

    @property
    def error(self):
        """The code of an error in the shape of the Responses API."""
        error = json.loads(self.body)["error"]
        assert {"message", "type", "param", "code"} == set(error)
        return error["code"]

    @property
    def message(self):
        """The error's sentence."""
        return json.loads(self.body)["error"]["message"]

    @property
    def sse(self):
        """The data of each event of a stream, parsed."""
        events = []
        for block in self.body.decode().split("\n\n"):
            data = [line[6:] for line in block.split("\n") if line.startswith("data: ")]
            if data:
                events.append(json.loads("\n".join(data)))
        return events
