"""The least model server there is: it counts bytes, never parses, and answers with what was made beforehand.
For each task (told apart by its prompt_cache_key) it keeps when a request was whole and when its answer was out."""
import json
import re
import socket
import threading
import time

CACHE_KEY = re.compile(rb'"prompt_cache_key":"(task-[a-z0-9]+)"')


def sse(*items):
    """One response, as the bytes of its event stream."""
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    events = [{"type": "response.output_item.done", "output_index": index, "item": item}
              for index, item in enumerate(items)]
    events.append({"type": "response.completed",
                   "response": {"id": "r", "status": "completed", "output": list(items), "usage": usage}})
    body = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    return (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


def call(turn, command):
    """A response that runs COMMAND."""
    return sse({"type": "function_call", "id": f"fc_{turn}_1", "call_id": f"call_{turn}_1", "name": "exec_command",
                "arguments": json.dumps({"cmd": command}), "status": "completed"})


def message(text):
    """A response that ends the turn."""
    return sse({"type": "message", "id": "msg_9", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]})


class Exchange:
    """One request and its answer: seconds of the monotonic clock."""

    def __init__(self, arrived):
        self.arrived = arrived
        self.answered = None


class ModelStub:
    """ANSWERS: one response a request of a task, in order. HOLD: never answer, but keep the connection."""

    def __init__(self, answers, hold=False):
        self.answers = answers
        self.hold = hold
        self.exchanges = {}
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.base_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        self.held = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()
        for connection in self.held:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, body = data.split(b"\r\n\r\n", 1)
        chunked = b"chunked" in head.lower()
        length = 0 if chunked else int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        pieces, got = [body], len(body)
        while (not pieces[-1].endswith(b"0\r\n\r\n")) if chunked else got < length:
            pieces.append(connection.recv(1 << 20))
            got += len(pieces[-1])
        exchange = Exchange(time.monotonic())
        task = CACHE_KEY.search(b"".join(pieces))[1].decode()
        with self.changed:
            exchanges = self.exchanges.setdefault(task, [])
            exchanges.append(exchange)
            turn = len(exchanges)
            self.changed.notify_all()
        if self.hold:
            self.held.append(connection)
            return
        connection.sendall(self.answers[min(turn, len(self.answers)) - 1])
        exchange.answered = time.monotonic()
        connection.close()

    def wait(self, condition, seconds=120):
        """Until CONDITION(exchanges) is true."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.exchanges), seconds), "the tasks do not get there"
