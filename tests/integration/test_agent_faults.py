"""`codex-agent run` when the model server fails: nothing is lost, nothing runs twice, every end is told
apart."""
import socket
import threading
import time

import pytest

from support import agent as status
from support.agent import FAST_RETRIES, Agent
from support.model_server import (Entry, ModelServer, call, cut, failed, forever, hang_up, message, noisy,
                                  reasoning, silence, slow, stream, unfinished)
from support.model_server import status as http


def shell(command):
    """A call that runs COMMAND."""
    return call("exec_command", {"cmd": command})


COUNTING = [reasoning("e"), shell("echo ran >> count")]

PASSING = {
    "500": http(500),
    "503": http(503),
    "408": http(408),
    "409": http(409),
    "429 without a word": http(429),
    "429 with Retry-After": http(429, headers={"Retry-After": "0"}),
    "429 with a text": http(429, {"error": {"message": "Rate limit. Please try again in 20ms."}}),
    "no JSON": http(502, b"<html>bad gateway</html>"),
    "hung up": hang_up(),
    "cut after the calls": cut(COUNTING, -1),
    "cut in the calls": cut(COUNTING, 900),
    "cut at the start": cut(COUNTING, 0),
    "no terminal event": unfinished(COUNTING),
    "no event at all": stream([], end=""),
    "rate_limit_exceeded": failed("rate_limit_exceeded", "Please try again in 0.02s", COUNTING),
    "server_is_overloaded": failed("server_is_overloaded"),
    "server_error": failed("server_error", items=COUNTING),
    "an unknown error": failed("never_heard_of"),
    "an error event": Entry(body=b'data: {"type":"error","code":"server_error","message":"x"}\n\n',
                            headers={"Content-Type": "text/event-stream"}),
    "a silent server": silence(),
    "a stream that falls silent": silence(after=700, items=COUNTING),
    "only comments": Entry(body=b": keep-alive\n\n" * 20, chunk=14, delay_s=0.05,
                           headers={"Content-Type": "text/event-stream"}),
}
"""Troubles that pass: after them the turn goes on as if nothing had been."""

SILENT = ("a silent server", "a stream that falls silent", "only comments")
"""Those that only a timeout ends. The others get the time that a busy machine needs."""


@pytest.mark.parametrize("fault", PASSING)
def test_trouble_that_passes_is_waited_out(fault):
    limits = dict(FAST_RETRIES)
    if fault in SILENT:
        limits |= {"first_byte_timeout_ms": 300, "idle_timeout_ms": 300}
    with ModelServer([PASSING[fault], COUNTING, PASSING[fault], [message("ok")]]) as server, \
            Agent(server.base_url, retry=limits) as agent:
        result = agent.run()
        count = (agent.workdir / "count").read_text()
    assert result.status == status.DONE, result.errors
    assert count == "ran\n", "a call ran for an answer that was not whole, or twice"
    assert len(server.requests) == 4
    troubles = result.messages("error")
    assert len(troubles) == 2 and all("trying again in" in text for text in troubles)
    assert server.requests[1].raw == server.requests[0].raw


def test_a_server_that_is_not_up_yet_is_waited_for():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Agent(f"http://127.0.0.1:{port}/v1") as agent:
        agent.start()
        agent.wait_for_event("error")
        with ModelServer([[message("ok")]], port=port):
            result = agent.finish()
    assert result.status == status.DONE
    assert "cannot connect" in result.messages("error")[0]


FINAL = {
    "401": (http(401), status.KEY_REFUSED),
    "403": (http(403), status.KEY_REFUSED),
    "budget": (http(403, {"error": {"code": "budget_exceeded", "message": "used up"}}), status.BUDGET),
    "400": (http(400), status.MODEL_FAILED),
    "404": (http(404), status.MODEL_FAILED),
    "redirect": (http(302, headers={"Location": "http://example.com/"}), status.MODEL_FAILED),
    "quota": (http(429, {"error": {"code": "insufficient_quota", "message": "no money"}}),
              status.MODEL_BUSY),
    "quota in the stream": (failed("insufficient_quota"), status.MODEL_BUSY),
    "context": (http(400, {"error": {"code": "context_length_exceeded", "message": "x"}}),
                status.CONTEXT_FULL),
    "context in the stream": (failed("context_length_exceeded"), status.CONTEXT_FULL),
    "too large": (http(413), status.CONTEXT_FULL),
    "invalid_prompt": (failed("invalid_prompt"), status.MODEL_FAILED),
    "asked to wait too long": (http(429, headers={"Retry-After": "3600"}), status.MODEL_BUSY),
}
"""What no retry helps against: said at once, with the status that tells it apart."""


@pytest.mark.parametrize("fault", FINAL)
def test_trouble_that_stays_is_said_at_once(fault):
    answer, expected = FINAL[fault]
    with ModelServer([answer]) as server, Agent(server.base_url) as agent:
        began = time.monotonic()
        result = agent.run()
        took = time.monotonic() - began
    assert result.status == expected
    assert len(server.requests) == 1
    assert took < 2
    assert result.errors.count("\n") == 1 and result.errors.startswith("codex-agent: ")
    assert result.messages("turn.failed") == [result.errors.removeprefix("codex-agent: ").strip()]


LASTING = {
    "500": (http(500), status.MODEL_FAILED),
    "hung up": (hang_up(), status.MODEL_FAILED),
    "429": (http(429), status.MODEL_BUSY),
    "overloaded": (failed("server_is_overloaded"), status.MODEL_BUSY),
    "cut": (cut(COUNTING, -1), status.MODEL_FAILED),
}


@pytest.mark.parametrize("fault", LASTING)
def test_trouble_that_never_passes_ends_within_its_time(fault):
    answer, expected = LASTING[fault]
    limits = {**FAST_RETRIES, "give_up_ms": 400}
    with ModelServer([forever(answer)]) as server, Agent(server.base_url, retry=limits) as agent:
        began = time.monotonic()
        result = agent.run()
        took = time.monotonic() - began
        assert not (agent.workdir / "count").exists()
    assert result.status == expected
    assert "gave up after" in result.errors
    assert len(server.requests) > 3
    assert took < 3


def test_a_broken_answer_is_not_paid_for_without_end():
    with ModelServer([forever(cut(COUNTING, -1))]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.MODEL_FAILED
    assert len(server.requests) == 9


def test_retry_after_is_honoured():
    with ModelServer([http(429, headers={"Retry-After": "1"}), [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
    assert 1.0 <= server.requests[1].time - server.requests[0].time < 2.5


def test_noise_in_the_stream_is_skipped():
    noise = [b": comment", b"data: {broken", b"nonsense", b"event: x", b"data:", b"retry: 7",
             b'data: {"type":"response.unheard_of","item":{"type":"function_call"}}']
    with ModelServer([noisy(COUNTING, noise), noisy([message("ok")], noise)]) as server, \
            Agent(server.base_url) as agent:
        result = agent.run()
        assert (agent.workdir / "count").read_text() == "ran\n"
    assert result.status == status.DONE
    assert len(server.requests) == 2


def test_a_slow_stream_is_read_as_it_comes():
    limits = {**FAST_RETRIES, "idle_timeout_ms": 500}
    with ModelServer([slow([message("ok")], delay_s=0.02, chunk=40)]) as server, \
            Agent(server.base_url, retry=limits) as agent:
        assert agent.run().status == status.DONE
    assert len(server.requests) == 1


def test_what_a_server_does_not_take_is_left_out():
    refusal = http(400, {"error": {"code": "unsupported_value", "param": "reasoning.summary",
                                   "message": "Your organization must be verified"}})
    with ModelServer([refusal, [shell("true")], [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        result = agent.run()
    assert result.status == status.DONE
    assert [request.body["reasoning"] for request in server.requests] == [
        {"effort": "high", "summary": "auto"}, {"effort": "high"}, {"effort": "high"}]
    assert "going on without" in result.messages("error")[0]


def test_a_server_that_refuses_the_same_again_is_not_asked_for_ever():
    refusal = http(400, {"error": {"param": "reasoning.summary", "message": "no"}})
    with ModelServer([forever(refusal)]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.MODEL_FAILED
    assert len(server.requests) == 2


def test_the_next_request_does_not_wait_for_the_end_of_the_connection():
    lingering = stream([shell("true")], then_silent=True)
    with ModelServer([lambda request: lingering, [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        began = time.monotonic()
        assert agent.run().status == status.DONE
    assert time.monotonic() - began < 2
    assert len(server.requests) == 2


class _RawServer:
    """Answers each connection with exactly these bytes, then closes it."""

    def __init__(self, answers):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.answers = list(answers)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def base_url(self):
        """For the agent's task."""
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def _serve(self):
        for answer in self.answers:
            connection, _ = self.socket.accept()
            with connection:
                self._read_request(connection)
                try:
                    connection.sendall(answer)
                except OSError:
                    pass  # it has seen enough
        self.socket.close()

    @staticmethod
    def _read_request(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)


GOOD = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        b'data: {"type":"response.completed","response":{"output":[{"type":"message","role":'
        b'"assistant","content":[{"type":"output_text","text":"ok"}]}]}}\n\n')


NO_HTTP = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 99999,
    "zeros": b"\x00" * 1000,
    "a short body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
}


@pytest.mark.parametrize("what", NO_HTTP)
def test_what_is_no_http_is_trouble_that_passes(what):
    server = _RawServer([NO_HTTP[what], GOOD])
    with Agent(server.base_url) as agent:
        result = agent.run()
    assert result.status == status.DONE, result.errors
    assert len(result.messages("error")) == 1


def test_an_endless_answer_is_given_up():
    endless = Entry(body=b"data: " + b"x" * (40 << 20), headers={"Content-Type": "text/event-stream"})
    limits = {**FAST_RETRIES, "give_up_ms": 300}
    with ModelServer([forever(endless)]) as server, Agent(server.base_url, retry=limits) as agent:
        result = agent.run()
    assert result.status == status.MODEL_FAILED
    assert "larger than" in result.errors
