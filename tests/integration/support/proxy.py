"""The gateway's proxy without a sandbox: the proxy listens on a port of the test's, hosts are servers on
loopback that the policy allows, and names come from a name server of the test's own.

    with Host(answer(b"hello")) as host, Proxy(internet(host)) as proxy:
        assert proxy.get(f"http://127.0.0.1:{host.port}/").body == b"hello"
"""
import contextlib
import socket
import struct
import subprocess
import threading
import time

from support.gateway import LISTEN, LISTENER_PROXY, Answer, Gateway

SECONDS = 20
TYPE_A, TYPE_AAAA = 1, 28


def internet(*hosts, access="public", **more):
    """A policy that lets HOSTS (Host or "rule") be reached, although they are on loopback."""
    rules = [host if isinstance(host, str) else f"127.0.0.1:{host.port}" for host in hosts]
    return {"access": access, "allow_private": rules, **more}


class Proxy(Gateway):
    """A gateway without a model, whose proxy listens for the test."""

    def __init__(self, policy, **config):
        super().__init__(wire_api="none", internet=policy, **config)

    def listen(self, backlog=128, kind=LISTENER_PROXY):
        listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.send(LISTEN, fd=listener.fileno(), kind=kind)
        if self._listener:
            self._listener.close()
        self._listener = listener

    def open(self, data=b""):
        """A connection to the proxy, with DATA sent."""
        connection = self.connect()
        connection.sendall(data)
        return connection

    def tunnel(self, authority, data=b""):
        """CONNECT; returns the connection behind the proxy's answer, which must be good."""
        connection = self.open(b"CONNECT %s HTTP/1.1\r\n\r\n" % authority.encode() + data)
        head = read_head(connection)
        assert head.startswith(b"HTTP/1.1 200 "), head
        return connection

    def refused(self, authority):
        """CONNECT that is refused; returns (status, the header X-Codex-Denied, the sentence)."""
        got = self.raw(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" %
                       (authority if isinstance(authority, bytes) else authority.encode("latin-1")), of_connect=True)
        return got.status, got.headers.get("x-codex-denied"), got.body.decode()

    def get(self, url, method="GET", headers=(), body=b"", version="HTTP/1.1"):
        """A plain request through the proxy."""
        url = url if isinstance(url, bytes) else url.encode("latin-1")
        lines = [b"%s %s %s" % (method.encode(), url, version.encode()), *(header.encode("latin-1") for header in headers)]
        return self.raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def denied(self):
        """[(host, port, reason, count)] of the events so far."""
        return [(event["host"], event["port"], event["reason"], event["count"]) for event in self.events("network.denied")]


def read_head(connection):
    """Up to the end of a head, and not a byte further."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head


def read_all(connection):
    """Up to the end, or a reset, which is told by the second value."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        return data, True
    return data, False


class Host:
    """A TCP server on 127.0.0.1: SERVE(connection) for each connection, in a thread of its own."""

    def __init__(self, serve, family=socket.AF_INET, address="127.0.0.1"):
        self._serve = serve
        self._listener = socket.create_server((address, 0), family=family, backlog=300)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.heads = []         # of requests, by those SERVEs that read one
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread in accept() would keep it listening
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                connection.settimeout(SECONDS)
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection):
        with connection, contextlib.suppress(OSError):
            self._serve(self, connection)


def answer(body, head=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):
    """Read a request's head, and answer BODY."""
    def serve(host, connection):
        host.heads.append(read_head(connection).decode("latin-1"))
        connection.sendall((head % len(body) if b"%d" in head else head) + body)
    return serve


def echo(_, connection):
    """Send back what comes, and then the end."""
    while data := connection.recv(65536):
        connection.sendall(data)


class NameServer:
    """A name server on a free port. ANSWERS: {name: [addresses, addresses of the second time, …]}; the last is
    repeated. A name that is not there does not exist; None is no answer at all."""

    def __init__(self, answers):
        self.answers = {name: list(sets) for name, sets in answers.items()}
        self.questions = []
        self._asked = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(4096)
                try:
                    reply = self._reply(query)
                except (IndexError, struct.error):  # what is no question is not answered
                    print(f"no question, from {client}: {query.hex()}")
                    continue
                if reply:
                    self._socket.sendto(reply, client)

    def _reply(self, query):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode("latin-1"))
            at += 1 + length
        name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0]
        self.questions.append((name, kind))
        question = query[12:at + 5]
        if name not in self.answers:
            return query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question
        addresses = self._turn(name, kind)
        if addresses is None:
            return None
        records = b""
        packed = [self._pack(address) for address in addresses]
        for data in (data for data in packed if len(data) == (4 if kind == TYPE_A else 16)):
            records += struct.pack(">HHHIH", 0xc00c, kind, 1, 0, len(data)) + data
        count = sum(len(data) == (4 if kind == TYPE_A else 16) for data in packed)
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0) + question + records

    def _turn(self, name, kind):
        """Each kind of question has a turn of its own."""
        turn = self._asked.get((name, kind), 0)
        self._asked[(name, kind)] = turn + 1
        sets = self.answers[name]
        return sets[min(turn, len(sets) - 1)]

    @staticmethod
    def _pack(address):
        return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def client_hello(name=None, more_extensions=b"", version=b"\x03\x01"):
    """A TLS ClientHello in one record. NAME: what server_name asks for (bytes)."""
    extensions = more_extensions
    if name is not None:
        entry = b"\x00" + struct.pack(">H", len(name)) + name
        extensions = struct.pack(">HHH", 0, len(entry) + 2, len(entry)) + entry + extensions
    body = (b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" +
            struct.pack(">H", len(extensions)) + extensions)
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + version + struct.pack(">H", len(message)) + message


def until(condition, seconds=SECONDS):
    """Poll until CONDITION() is true; returns what it returned last."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value


def has_registry():
    """Whether npm's registry can be reached from here."""
    done = subprocess.run(["curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://registry.npmjs.org/left-pad"],
                          capture_output=True, text=True, check=False)
    return done.stdout == "200"


__all__ = ["Answer", "Host", "NameServer", "Proxy", "answer", "client_hello", "echo", "has_registry", "internet", "read_all",
           "read_head", "until"]
