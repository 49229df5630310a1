"""A scripted model server on loopback that speaks the Responses API, Chat Completions and the Messages
API, each at its path, for tests.

    with ModelServer([
        [reasoning("thinking"), call("exec_command", {"cmd": "ls"})],
        status(429, headers={"Retry-After": "0"}),
        [message("done")],
    ]) as server:
        run_the_agent(base_url=server.base_url)          # http://127.0.0.1:PORT/v1
        assert server.requests[1].outputs == {"call_1_2": "…"}

A script is a list. Each entry answers one request; it is

- a list of output items: message(), call(), custom_call(), reasoning(), or any dict;
- a function of the Request that returns an entry (or blocks first, to hold the answer back); it is
  asked again until its items are in the conversation;
- what stream(), status(), cut(), failed(), … below make: items told in another way, or a fault;
- forever(entry): also answers every request after it.

Which entry answers is found from the conversation, not from a counter: items carry ids ("msg_2_1":
turn 2, item 1), and the turn to serve is the one after the highest in the request's input. So an agent
that was killed and asks again gets the same turn again, and a run can be repeated. An entry that leaves
no trace in a conversation (a fault, an empty answer) is served once, when its place in the script comes.

Many tasks on one server: ModelServer({"marker-a": [...], "marker-b": [...]}) picks the script whose key
occurs in a user message of the request.

A request past the end of its script, or of no script, is answered 400 and fails the test when the
`with` block ends (strict=False: only noted in `unexpected`).
"""
import dataclasses
import http.server
import json
import socket
import sys
import threading
import time

from support.wires import Responses, wire_of

DEFAULT_USAGE = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 20,
                 "reasoning_output_tokens": 5}


# ---- what a model says: output items. Ids are made when the item is served, unless they are given
# (id=None: the item has none).

def message(text, **more):
    """The assistant says TEXT. Without calls beside it, that ends the agent's turn."""
    return {"type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}], **more}


def reasoning(encrypted, summary="", **more):
    """A reasoning item; ENCRYPTED is the opaque content that has to come back unchanged."""
    parts = [{"type": "summary_text", "text": summary}] if summary else []
    return {"type": "reasoning", "summary": parts, "encrypted_content": encrypted, **more}


def call(name, arguments, **more):
    """A function call; ARGUMENTS is a dict, or a string that is sent as it is (broken JSON)."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function_call", "name": name, "arguments": text, "status": "completed", **more}


def custom_call(name, text, **more):
    """A call of a freeform tool."""
    return {"type": "custom_tool_call", "name": name, "input": text, "status": "completed", **more}


def usage(input_tokens=0, output_tokens=0, cached_input_tokens=0, reasoning_output_tokens=0):
    """The usage of one response, for stream(usage=…)."""
    return {"input_tokens": input_tokens, "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            "reasoning_output_tokens": reasoning_output_tokens}


# ---- how it is told

@dataclasses.dataclass
class Entry:
    """One answer. `items` None: a plain HTTP answer of `status` and `body`, or none at all."""
    items: list | None = None
    usage: dict | None = None
    end: str = "response.completed"   # the terminal event; "" for none
    error: dict | None = None         # of response.failed
    reason: str | None = None         # of response.incomplete
    style: str = "full"               # "full", "done": no deltas, "completed": all in the last event
    noise: list = dataclasses.field(default_factory=list)  # lines sent between any two events
    cut_after: int | None = None      # bytes of the stream, then the connection breaks
    then_silent: bool = False         # at cut_after (or the end) say nothing more, but stay connected
    chunk: int | None = None          # bytes a write
    delay_s: float = 0.0              # before each write
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    body: bytes = b""
    answer: bool = True               # False: not even a head
    is_forever: bool = False

    @property
    def leaves_trace(self):
        """Whether the conversation shows afterwards that this was served."""
        return bool(self.items) and self.end in ("response.completed", "response.incomplete") \
            and self.cut_after is None and not self.then_silent


def stream(items, **how):
    """ITEMS with some field of Entry changed: usage, style, chunk, delay_s, noise, headers …"""
    return Entry(items=list(items), **how)


def slow(items, delay_s, chunk=16):
    """The stream in pieces of CHUNK bytes, DELAY_S seconds apart."""
    return stream(items, delay_s=delay_s, chunk=chunk)


def cut(items, after):
    """The connection breaks after AFTER bytes of the event stream (negative: from its end)."""
    return stream(items, cut_after=after)


def unfinished(items):
    """Every item is there and the stream ends as HTTP wants it, but no terminal event came."""
    return stream(items, end="")


def noisy(items, lines):
    """LINES (bytes, without line end) between any two events: malformed data, comments, unknown fields."""
    return stream(items, noise=list(lines))


def failed(code, text="", items=()):
    """response.failed with this error code, after ITEMS."""
    return stream(items, end="response.failed", error={"code": code, "message": text})


def incomplete(reason, items=()):
    """response.incomplete: "max_output_tokens" or "content_filter"."""
    return stream(items, end="response.incomplete", reason=reason)


def status(code, body=None, headers=None):
    """A plain HTTP answer. BODY: bytes, or a dict that becomes JSON; default: an error object."""
    if body is None:
        body = {"error": {"message": f"scripted {code}", "type": "error", "code": None}}
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    return Entry(status=code, body=body, headers=dict(headers or {}))


def raw(body, headers=None):
    """Exactly these bytes as the event stream."""
    return Entry(body=body, headers={"Content-Type": "text/event-stream", **(headers or {})})


def silence(after=None, items=()):
    """Accept and say nothing; or, with AFTER, stop talking after that many bytes of the stream."""
    if after is None:
        return Entry(answer=False, then_silent=True)
    return stream(items, cut_after=after, then_silent=True)


def hang_up():
    """Close the connection without an answer."""
    return Entry(answer=False)


def forever(entry):
    """Answer with ENTRY from here on."""
    return dataclasses.replace(as_entry(entry), is_forever=True)


def as_entry(entry):
    """Lists of items are entries too."""
    return entry if isinstance(entry, Entry) else Entry(items=list(entry))


# ---- what was asked

class Request:
    """One request to the model, as it arrived."""

    def __init__(self, path, headers, raw_body):
        self.time = time.monotonic()
        self.path = path
        self.headers = headers      # as email.message.Message: headers["Authorization"]
        self.wire = wire_of(path)
        self.raw = raw_body
        self.body = json.loads(raw_body)

    @property
    def input(self):
        """The conversation."""
        return self.wire.conversation(self.body)

    @property
    def user_texts(self):
        """The text of every user message."""
        return self.wire.user_texts(self.body)

    @property
    def outputs(self):
        """What the calls came to: call_id → output, in the order of the conversation."""
        return self.wire.outputs(self.body)

    @property
    def turn(self):
        """Which turn of the script comes next."""
        return self.wire.turn(self.body)


# ---- the server

class ModelServer:
    """See the module's text. `requests` holds every Request; `api_key`, when given, is demanded."""

    def __init__(self, script, api_key=None, strict=True, port=0):
        self.scripts = {key: list(entries) for key, entries in script.items()} \
            if isinstance(script, dict) else {"": list(script)}
        self.api_key = api_key
        self.strict = strict
        self.requests = []
        self.unexpected = []
        self._served = set()        # (key, index) of entries without a trace that were served
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._http = _HttpServer(("127.0.0.1", port), _Handler)
        self._http.model = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self):
        """The TCP port on 127.0.0.1."""
        return self._http.server_address[1]

    @property
    def base_url(self):
        """For `base_url =` of a provider."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, value, traceback):
        self.close()
        if self.strict and kind is None and self.unexpected:
            raise AssertionError("requests that no script answers: " + "; ".join(self.unexpected))

    def close(self):
        """Stop listening, break every open connection."""
        self._closing.set()
        self._http.shutdown()
        self._http.break_connections()
        self._http.server_close()
        self._thread.join()

    def wait_for(self, count, timeout_s=30):
        """Block until COUNT requests have arrived; returns the COUNT-th."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise AssertionError(f"{len(self.requests)} of {count} requests in {timeout_s} s")
            return self.requests[count - 1]

    def requests_of(self, marker):
        """The requests with MARKER in a user message."""
        return [request for request in self.requests
                if any(marker in text for text in request.user_texts)]

    def choose(self, request):
        """Note REQUEST, and find the entry that answers it, and its turn."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            key = self._script_of(request)
            index = self._index_of(key, request.turn) if key is not None else None
            if index is None:
                what = "no script" if key is None else f"script {key!r} ended"
                self.unexpected.append(f"{what} at turn {request.turn}")
                return status(400, {"error": {"code": "script_ended", "message": what}}), 0
            entry = self.scripts[key][index]
            if not callable(entry) and not as_entry(entry).leaves_trace:
                self._served.add((key, index))
        while callable(entry):
            entry = entry(request)
        return as_entry(entry), request.turn

    def _script_of(self, request):
        text = "\n".join(request.user_texts)
        found = [key for key in self.scripts if key in text]
        return max(found, key=len) if found else None

    def _index_of(self, key, turn):
        """The TURN-th entry that leaves a trace, or one before it that leaves none and was not served."""
        turns_passed = 0
        for index, entry in enumerate(self.scripts[key]):
            known = None if callable(entry) else as_entry(entry)
            if known and known.is_forever:
                return index
            if (key, index) in self._served:
                continue
            if turns_passed >= turn - 1:
                return index
            turns_passed += known.leaves_trace if known else 1
        return None

    def pause(self, seconds):
        """Sleep, but not past the end of the server. Returns False when that has come."""
        return not self._closing.wait(seconds)

    def authorised(self, headers):
        """Whether the request brings the key that is demanded."""
        return not self.api_key or headers.get("Authorization") == f"Bearer {self.api_key}" \
            or headers.get("x-api-key") == self.api_key


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args):
        self.model = None
        self._open = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self):
        """Wake every thread that still reads or writes."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        """A client that went away is no news; anything else is a bug in a script: shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        """The one call of the API."""
        body = self._read_body()
        model = self.server.model
        if not wire_of(self.path):
            return self._send_plain(status(404))
        if not model.authorised(self.headers):
            return self._send_plain(status(401, {"error": {
                "message": "Incorrect API key provided", "type": "invalid_request_error",
                "code": "invalid_api_key"}}))
        request = Request(self.path, self.headers, body)
        entry, turn = model.choose(request)
        request_streams = json.loads(body).get("stream", False)
        if not entry.answer:
            return self._say_nothing(entry)
        if entry.items is None:
            return self._send_plain(entry)
        if not request_streams:
            return self._send_plain(Entry(body=json.dumps(whole_answer(request.wire, entry, turn)).encode()))
        return self._send_stream(entry, told_as_stream(request.wire, entry, turn))

    def _read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _head(self, entry, more):
        self.send_response(entry.status)
        for name, value in {"Content-Type": "application/json", **more, **entry.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_plain(self, entry):
        self._head(entry, {"Content-Length": len(entry.body)})
        self.wfile.write(entry.body)

    def _say_nothing(self, entry):
        self.close_connection = True
        while entry.then_silent and self.server.model.pause(0.02) and self._client_is_there():
            pass

    def _client_is_there(self):
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _send_stream(self, entry, body):
        self._head(entry, {"Content-Type": "text/event-stream", "Cache-Control": "no-cache",
                           "Transfer-Encoding": "chunked"})
        self.wfile.flush()
        whole = entry.cut_after is None
        body = body if whole else body[:entry.cut_after]
        step = entry.chunk or max(len(body), 1)
        for start in range(0, len(body), step):
            if entry.delay_s and not self.server.model.pause(entry.delay_s):
                return
            piece = body[start:start + step]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if entry.then_silent:
            return self._say_nothing(entry)
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True
        return None


# ---- the answer, as its wire tells it

def told_as_stream(wire, entry, turn):
    """Server-sent events, with the entry's noise in front of each but the first."""
    if wire is Responses:
        events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                  for event in response_events(entry, turn)]
    else:
        events = list(wire.events(entry, turn, DEFAULT_USAGE))
    noise = b"\n\n".join(entry.noise) + b"\n\n" if entry.noise else b""
    return noise.join(events)


def whole_answer(wire, entry, turn):
    """The same as one JSON object."""
    if wire is Responses:
        return list(response_events(entry, turn))[-1].get("response", {})
    return wire.whole(entry, turn, DEFAULT_USAGE)


# ---- the Responses API

def response_events(entry, turn):
    """The events of one response, numbered, as the published API sends them."""
    items = [_with_ids(item, turn, n) for n, item in enumerate(entry.items, 1)]
    response = {"id": f"resp_{turn}", "object": "response", "status": "in_progress", "output": []}
    number = 0
    for event in _events(entry, items, response):
        yield {"type": event.pop("type"), "sequence_number": number, **event}
        number += 1


def _with_ids(item, turn, n):
    prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
    ids = {"id": f"{prefix.get(item['type'], 'item')}_{turn}_{n}"}
    if item["type"] in ("function_call", "custom_tool_call"):
        ids["call_id"] = f"call_{turn}_{n}"
    told = {"type": item["type"], **ids, **item}
    return {name: value for name, value in told.items() if value is not None}


def _events(entry, items, response):
    yield {"type": "response.created", "response": dict(response)}
    yield {"type": "response.in_progress", "response": dict(response)}
    if entry.style != "completed":
        for index, item in enumerate(items):
            if entry.style == "full":
                yield from _item_events(item, index)
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
    if not entry.end:
        return
    final = {**response, "status": entry.end.partition(".")[2], "output": items,
             "error": entry.error,
             "incomplete_details": {"reason": entry.reason} if entry.reason else None,
             "usage": _usage_on_the_wire(entry.usage or DEFAULT_USAGE)}
    yield {"type": entry.end, "response": final}


def _usage_on_the_wire(figures):
    return {"input_tokens": figures["input_tokens"],
            "input_tokens_details": {"cached_tokens": figures["cached_input_tokens"]},
            "output_tokens": figures["output_tokens"],
            "output_tokens_details": {"reasoning_tokens": figures["reasoning_output_tokens"]},
            "total_tokens": figures["input_tokens"] + figures["output_tokens"]}


def _item_events(item, index):
    """What comes before output_item.done: the item begins empty, and its text comes in pieces."""
    empty = {"message": {"content": []}, "reasoning": {"summary": [], "encrypted_content": ""},
             "function_call": {"arguments": ""}, "custom_tool_call": {"input": ""}}
    where = {"item_id": item.get("id"), "output_index": index}
    yield {"type": "response.output_item.added", "output_index": index,
           "item": {**item, "status": "in_progress", **empty.get(item["type"], {})}}
    if item["type"] == "message":
        for n, part in enumerate(item["content"]):
            here = {**where, "content_index": n}
            yield {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
            yield from _deltas("response.output_text", part.get("text", ""), "text", here)
            yield {"type": "response.content_part.done", **here, "part": part}
    elif item["type"] == "reasoning":
        for n, part in enumerate(item["summary"]):
            here = {**where, "summary_index": n}
            yield {"type": "response.reasoning_summary_part.added", **here,
                   "part": {**part, "text": ""}}
            yield from _deltas("response.reasoning_summary_text", part["text"], "text", here)
            yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
    elif item["type"] == "function_call":
        yield from _deltas("response.function_call_arguments", item["arguments"], "arguments", where)
    elif item["type"] == "custom_tool_call":
        yield from _deltas("response.custom_tool_call_input", item["input"], "input", where)


def _deltas(kind, text, name, where, size=48):
    for start in range(0, len(text), size):
        yield {"type": kind + ".delta", **where, "delta": text[start:start + size]}
    yield {"type": kind + ".done", **where, name: text}
