"""A model provider that says exactly the bytes it is told to, for tests of what is on the wire.

    def answer(talk):
        talk.read_request()
        talk.send(b"HTTP/1.1 200 OK\r\n…")

    with RawProvider(answer) as provider:
        … base_url=provider.base_url …
"""
import json
import socket
import ssl
import threading

USAGE = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40},
         "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120}
EVENT_USAGE = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 20,
               "reasoning_output_tokens": 5}


def completed(usage=None, **response):
    """The last event of a stream."""
    return event({"type": "response.completed",
                  "response": {"status": "completed", **response, "usage": usage or USAGE}})


def event(data):
    """One event of a stream."""
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def stream_head(*lines):
    """The head of a chunked event stream."""
    return head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked", *lines)


def head(status, *lines):
    """A head with these header lines."""
    return f"HTTP/1.1 {status} X\r\n".encode() + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def chunk(data):
    """DATA as one chunk; b"" is the last."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(status, body, *lines, content_type="application/json"):
    """A whole answer."""
    return head(status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *lines) + body


class Talk:
    """One connection, seen from the provider."""

    def __init__(self, connection, provider):
        self.connection = connection
        self.provider = provider
        self._file = connection.makefile("rb", buffering=1 << 16)
        self.head = b""
        self.body = b""

    def read_head(self):
        """Read up to the empty line. False when the client sent nothing more."""
        lines = []
        while (line := self._file.readline()) != b"\r\n":
            if not line:
                return False
            lines.append(line)
        self.head = b"".join(lines).removesuffix(b"\r\n")
        self.provider.heads.append(self.head.decode())
        return True

    @property
    def headers(self):
        """Names in small letters → values."""
        lines = self.head.decode().split("\r\n")[1:]
        return {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}

    def read_body(self):
        """Read the body; False when it was cut off."""
        length = self.headers.get("content-length")
        if length is not None:
            self.body = self._read(int(length))
            whole_body = len(self.body) == int(length)
        else:
            pieces = []
            whole_body = self._read_chunks(pieces)
            self.body = b"".join(pieces)
        if not whole_body:
            self.provider.cut_bodies.append(self.body)
        return whole_body

    def _read(self, size):
        """SIZE bytes, or what comes before the end or the break of the connection."""
        pieces, left = [], size
        try:
            while left and (piece := self._file.read1(left)):
                pieces.append(piece)
                left -= len(piece)
        except OSError:
            pass
        return b"".join(pieces)

    def _read_chunks(self, pieces):
        while True:
            try:
                size = int(self._file.readline(), 16)
            except (OSError, ValueError):
                return False
            pieces.append(self._read(size))
            if len(pieces[-1]) != size or self._read(2) != b"\r\n":
                return False
            if not size:
                return True

    def read_request(self):
        """Head and body; False when no whole request came."""
        if not self.read_head() or not self.read_body():
            return False
        self.provider.bodies.append(self.body)
        return True

    def send(self, data):
        """All of DATA."""
        self.connection.sendall(data)

    def wait_for_end(self):
        """Read until the client closes."""
        while self._file.read1(1 << 16):
            pass

    def close(self):
        """Both ends of it."""
        self._file.close()
        self.connection.close()


class RawProvider:
    """ANSWER(talk) speaks on each connection, in a thread of its own; the connection is closed after it.
    `heads`, `bodies`: of the requests that came; `cut_bodies`: what had come of those that were cut."""

    def __init__(self, answer, certificate=None, host="127.0.0.1"):
        self.answer = answer
        self.heads, self.bodies, self.cut_bodies = [], [], []
        self.connections = 0
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._server = socket.create_server((host, 0), backlog=64)
        self._open = []
        self._threads = []
        self._closing = False
        self.failures = []

    @property
    def port(self):
        """Its TCP port."""
        return self._server.getsockname()[1]

    @property
    def base_url(self):
        """For gateway.json."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, kind, *_):
        self._closing = True
        for connection in [self._server, *self._open]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(timeout=10)
        self._server.close()
        if kind is None and self.failures:
            raise self.failures[0]

    def _accept(self):
        while not self._closing:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            talk = Talk(connection, self)
            try:
                self.answer(talk)
            finally:
                talk.close()
        except OSError:
            connection.close()      # the gateway went away: some tests are about that
        except Exception as error:  # pylint: disable=broad-except
            self.failures.append(error)


def says(*pieces):
    """An answer that reads each request whole and then sends PIECES."""
    def answer(talk):
        while talk.read_request():
            for piece in pieces:
                talk.send(piece)
    return answer


def says_once(*pieces):
    """As says(), and then the connection is closed."""
    def answer(talk):
        if talk.read_request():
            for piece in pieces:
                talk.send(piece)
    return answer
