"""codex-gateway: who may ask the model for what, and what becomes of request and answer."""
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from support.codex import wait_for
from support.gateway import (MODEL, PHASE_STARTED, REAL_KEY, RUN_ENDED, SANDBOX_KEY, VERIFYING, WORKING, WRITTEN,
                             Answer, Gateway, request)
from support.raw_provider import (EVENT_USAGE, USAGE, RawProvider, chunk, completed, event, head, says,
                                  says_once, stream_head, whole)

ANSWER = whole(200, json.dumps({"object": "response", "output": [], "usage": USAGE}).encode())
BODY = json.dumps({"model": MODEL, "input": [], "stream": True}).encode()


def estimate(sent, received):
    """What is counted for a request and an answer of these bytes when nobody else has counted."""
    return {"input_tokens": -(-len(sent) // 4), "cached_input_tokens": 0,
            "output_tokens": -(-len(received) // 4), "reasoning_output_tokens": 0}


def open_gateway(provider, **config):
    """A gateway before PROVIDER."""
    return Gateway(base_url=provider.base_url, **config)


# ---- what goes out

def test_a_request_goes_out_with_the_real_key_and_little_else():
    """The body as it is; of the headers only what a provider needs."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        answer = gateway.ask(BODY, headers=[
            "Accept: text/event-stream", "OpenAI-Beta: responses=v1", "Cookie: a=b", "X-Evil: 1",
            "User-Agent: evil", "Content-Type: text/plain", "X-Forwarded-For: 1.2.3.4",
            "Proxy-Authorization: Basic x", "Connection: keep-alive, x-evil", "TE: trailers"])
        assert answer.status == 200
        assert provider.bodies == [BODY]
        lines = provider.heads[0].split("\r\n")
        assert lines[0] == "POST /v1/responses HTTP/1.1"
        assert sorted(lines[1:]) == sorted([
            f"Host: 127.0.0.1:{provider.port}", "User-Agent: codex-gateway",
            "Accept: text/event-stream", "OpenAI-Beta: responses=v1",
            "Content-Type: application/json", f"Content-Length: {len(BODY)}",
            f"Authorization: Bearer {REAL_KEY}"])
        assert SANDBOX_KEY not in provider.heads[0]


def test_a_provider_without_a_key_gets_none():
    """A server of one's own."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider, key=None) as gateway:
        assert gateway.ask().status == 200
        assert "uthorization" not in provider.heads[0]


def test_a_body_in_chunks_goes_out_in_chunks():
    """Its length is not known before its end."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        assert gateway.raw(request(BODY, length="chunked")).status == 200
        assert provider.bodies == [BODY]
        assert "Transfer-Encoding: chunked" in provider.heads[0]


def test_a_body_in_single_bytes_arrives():
    """However the client cuts it."""
    body = json.dumps({"model": MODEL, "input": "é€😀"}, ensure_ascii=False).encode()
    chunks = b"".join(chunk(body[i:i + 1]) for i in range(len(body))) + b"0\r\nTrailer: x\r\n\r\n"
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        data = request(b"", length="chunked").split(b"\r\n\r\n")[0] + b"\r\n\r\n" + chunks
        with gateway.connect() as connection:
            for i in range(len(data)):
                connection.sendall(data[i:i + 1])
            assert Answer.read(connection).status == 200
        assert provider.bodies == [body]


def test_expect_continue_is_answered():
    """curl asks before it sends a large body."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        with gateway.connect() as connection:
            connection.sendall(request(b"", headers=["Expect: 100-continue"], length=len(BODY)))
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY)
            assert Answer.read(connection).status == 200
        assert "Expect" not in provider.heads[0]


def test_connections_to_the_provider_are_used_again():
    """Five requests, one connection."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        for _ in range(5):
            assert gateway.ask().status == 200
        assert provider.connections == 1


def test_proxies_of_the_environment_are_ignored():
    """They would see the key."""
    proxy = {name: "http://127.0.0.1:1" for name in
             ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider, environment=proxy) as gateway:
        assert gateway.ask().status == 200


# ---- what comes back

def test_of_the_answers_headers_only_safe_ones_come_back():
    """Rate limits and the wait until a retry do, cookies do not."""
    lines = ["Retry-After: 7", "x-ratelimit-remaining-tokens: 0", "X-Request-ID: req_1",
             "Set-Cookie: a=b", "Location: http://evil/", "Server: s", "Alt-Svc: h3", "Via: x",
             "WWW-Authenticate: Basic", "Content-Length-X: 1"]
    with RawProvider(says(whole(429, b"{}", *lines))) as provider, open_gateway(provider) as gateway:
        answer = gateway.ask()
        assert answer.status == 429
        assert answer.body == b"{}"
        assert answer.headers == {
            "connection": "close", "transfer-encoding": "chunked", "content-type": "application/json",
            "retry-after": "7", "x-ratelimit-remaining-tokens": "0", "x-request-id": "req_1"}
        gateway.close()
        assert gateway.events("model.usage") == []


@pytest.mark.parametrize("status", [201, 204, 301, 304, 307, 400, 401, 403, 404, 418, 500, 503, 599])
def test_the_providers_status_comes_back_unchanged(status):
    """Redirects are not followed: a provider must not send the key elsewhere."""
    body = b"" if status in (204, 304) else b'{"error":{"message":"from the provider"}}'
    answer = head(status, "Location: http://127.0.0.1:1/") if not body else \
        whole(status, body, "Location: http://127.0.0.1:1/")
    with RawProvider(says(answer)) as provider, open_gateway(provider) as gateway:
        got = gateway.ask()
        assert (got.status, got.body, got.broken) == (status, body, False)
        assert "location" not in got.headers
        assert gateway.ask().status == status


def stream_of(count=3):
    """The pieces of a small stream."""
    return [event({"type": "response.output_text.delta", "delta": f"word {i} é"}) for i in range(count)] \
        + [completed()]


def test_a_stream_comes_back_as_it_is_said():
    """Each event is there before the provider says the next."""
    turn = threading.Semaphore(0)

    def answer(talk):
        talk.read_request()
        talk.send(stream_head())
        for piece in stream_of():
            talk.send(chunk(piece))
            assert turn.acquire(timeout=10)
        talk.send(chunk(b""))

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        with gateway.connect() as connection:
            connection.sendall(request(BODY))
            data = b""
            for piece in stream_of():
                while piece not in data:
                    data += connection.recv(65536)
                turn.release()
            while not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(65536)
            assert connection.recv(1) == b""
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE]


def test_an_answer_in_single_bytes_comes_back():
    """Head, chunk sizes and all: however the provider's bytes are cut."""
    body = b"".join(stream_of())
    data = stream_head("Retry-After: 1") + chunk(body[:70]) + chunk(body[70:]) + chunk(b"")

    def answer(talk):
        talk.read_request()
        for i in range(len(data)):
            talk.send(data[i:i + 1])

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        got = gateway.ask()
        assert (got.status, got.body, got.broken) == (200, body, False)
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE]


def test_an_answer_until_the_connections_end_comes_back():
    """HTTP/1.0 servers do that."""
    with RawProvider(says_once(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", *stream_of())) \
            as provider, open_gateway(provider) as gateway:
        got = gateway.ask()
        assert (got.body, got.broken) == (b"".join(stream_of()), False)


@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain", b"Text/Event-Stream; charset=UTF-8",
                                          None])
def test_a_stream_is_metered_whatever_it_is_called(content_type):
    line = b"Content-Type: " + content_type + b"\r\n" if content_type else b""
    with RawProvider(says_once(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + line + b"\r\n", *stream_of())) \
            as provider, open_gateway(provider) as gateway:
        assert gateway.ask().body == b"".join(stream_of())
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE]


@pytest.mark.parametrize("cut", range(0, 260, 13))
def test_a_cut_answer_is_cut_for_the_client_too(cut):
    """Never an end that looks like one. Before the head is whole it is a 502."""
    body = b"".join(stream_of())
    data = stream_head() + chunk(body) + chunk(b"")
    with RawProvider(says_once(data[:cut])) as provider, open_gateway(provider) as gateway:
        got = gateway.ask(BODY)
        if cut < len(stream_head()):
            assert (got.status, got.error) == (502, "provider_unreachable")
            assert b"No error" not in got.body
        else:
            assert (got.status, got.broken) == (200, True)
            assert body.startswith(got.body)
        gateway.close()
        seen = [(e["usage"], e.get("note")) for e in gateway.events("model.usage")]
        assert seen == ([] if cut < len(stream_head()) else
                        [(estimate(BODY, got.body),
                          "the answer broke off before its usage had come")])


@pytest.mark.parametrize("answer", [
    b"", b"garbage\r\n\r\n", b"HTTP/1.1 999 X\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Y: 1234567890\r\n" * (1 << 16) + b"\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
], ids=lambda data: repr(data[:40]))
def test_an_answer_that_is_none_becomes_502(answer):
    """And the gateway goes on."""
    answers = iter([answer, answer])

    def speak(talk):
        if talk.read_request():
            talk.send(next(answers, ANSWER))

    with RawProvider(speak) as provider, open_gateway(provider) as gateway:
        got = gateway.ask()
        assert (got.status, got.error) == (502, "provider_unreachable"), got.body
        assert f"127.0.0.1:{provider.port}" in got.message
        assert got.message in gateway.log()
        gateway.ask()
        assert gateway.ask().status == 200


def test_a_provider_that_is_not_there_becomes_502():
    """With the address in the message, and one line in the log."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with Gateway(base_url=f"http://127.0.0.1:{port}/v1") as gateway:
        got = gateway.ask()
        assert (got.status, got.error) == (502, "provider_unreachable")
        assert f"127.0.0.1:{port}" in got.message
        assert gateway.log().count("\n") == 1


def test_a_name_is_resolved_without_a_thread():
    """localhost is in /etc/hosts; a name that is nowhere is told."""
    with RawProvider(says(ANSWER)) as provider:
        with Gateway(base_url=f"http://localhost:{provider.port}/v1") as gateway:
            assert gateway.ask().status == 200
            assert gateway.ask().status == 200
        assert provider.heads[0].split("\r\n")[1] == f"Host: localhost:{provider.port}"
    with Gateway(base_url="http://no-such-host.invalid/v1") as gateway:
        got = gateway.ask()
        assert (got.status, got.error) == (502, "provider_unreachable")
        assert "no-such-host.invalid" in got.message


def test_the_key_in_an_answer_is_made_unreadable():
    """Some servers repeat the key that they refuse: it must not enter the sandbox that way."""
    text = json.dumps({"error": {"message": f"Incorrect API key provided: {REAL_KEY}."}}).encode()
    data = whole(401, text, f"x-request-id: {REAL_KEY}")

    def answer(talk):
        talk.read_request()
        for i in range(0, len(data), 3):
            talk.send(data[i:i + 3])

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        got = gateway.ask()
        assert got.status == 401
        assert got.body == text.replace(REAL_KEY.encode(), b"*" * len(REAL_KEY))
        assert "x-request-id" not in got.headers
        gateway.close()
        assert REAL_KEY not in gateway.log()


# ---- time

def silent(talk):
    """Read the request, and say nothing."""
    talk.read_request()
    talk.wait_for_end()


def test_a_silent_provider_becomes_504():
    """After the configured time; the connection is given up."""
    with RawProvider(silent) as provider, open_gateway(provider, first_byte_timeout_ms=300) as gateway:
        began = time.monotonic()
        got = gateway.ask()
        assert (got.status, got.error) == (504, "provider_timeout")
        assert 0.3 <= time.monotonic() - began < 5


def test_a_stream_that_falls_silent_is_cut():
    """The idle time counts from the last byte; the first-byte time has passed by then and is no matter."""
    def answer(talk):
        talk.read_request()
        talk.send(stream_head())
        for _ in range(4):
            time.sleep(0.2)
            talk.send(chunk(b": still here\n\n"))
        talk.wait_for_end()

    with RawProvider(answer) as provider, \
            open_gateway(provider, first_byte_timeout_ms=400, idle_timeout_ms=500) as gateway:
        got = gateway.ask()
        assert (got.status, got.broken, got.body) == (200, True, b": still here\n\n" * 4)


def test_a_slow_upload_is_no_silence():
    """The provider's time begins when it has the request."""
    with RawProvider(says(ANSWER)) as provider, \
            open_gateway(provider, first_byte_timeout_ms=300) as gateway:
        data = request(BODY)
        with gateway.connect() as connection:
            connection.sendall(data[:-10])
            time.sleep(0.7)
            connection.sendall(data[-10:])
            assert Answer.read(connection).status == 200


# ---- who may

@pytest.mark.parametrize("key", [None, "", "wrong-key-of-the-test!!", SANDBOX_KEY + "x", SANDBOX_KEY[:-1],
                                 SANDBOX_KEY.upper(), REAL_KEY])
def test_another_key_is_refused(key):
    """Whatever is asked for."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        for path in ("/v1/responses", "/", "/v1/models"):
            got = gateway.ask(key=key, path=path)
            assert (got.status, got.error) == (401, "wrong_key")
        assert provider.connections == 0


@pytest.mark.parametrize("headers", [
    [f"Authorization: Bearer {SANDBOX_KEY}", f"Authorization: Bearer {SANDBOX_KEY}"],
    [f"Authorization: Basic {SANDBOX_KEY}"], [f"Authorization: {SANDBOX_KEY}"],
    [f"X-Api-Key: {SANDBOX_KEY}"], [f"Authorization: Bearer  {SANDBOX_KEY}"],
])
def test_the_key_in_another_place_is_refused(headers):
    """Two of them are one too many."""
    with Gateway(replay=[{"replay": 1}]) as gateway:
        assert gateway.ask(key=None, headers=headers).error == "wrong_key"


@pytest.mark.parametrize("path", ["/v1/models", "/", "/v1/responses/", "/v1/responses?x=1", "/v1//responses",
                                  "//v1/responses", "/v1/responses/../files", "/v1/%72esponses", "*",
                                  "http://127.0.0.1/v1/responses", "/V1/RESPONSES", "/v1/responses#x"])
def test_only_the_one_path_is_there(path):
    """Nothing is normalised: what is not the path letter for letter is not found."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.ask(path=path)
        assert (got.status, got.error) == (404, "not_found")
        assert provider.connections == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "post"])
def test_only_post_is_possible(method):
    """405, and which method is."""
    with Gateway(replay=[{"replay": 1}]) as gateway:
        got = gateway.ask(method=method)
        assert (got.status, got.error, got.headers["allow"]) == (405, "bad_request", "POST")


def test_head_has_no_body():
    """As RFC 9110 wants it."""
    with Gateway(replay=[{"replay": 1}]) as gateway, gateway.connect() as connection:
        connection.sendall(request(b"", method="HEAD"))
        data = b""
        while piece := connection.recv(65536):
            data += piece
        assert data.startswith(b"HTTP/1.1 405 ") and data.endswith(b"\r\n\r\n")


# ---- the model

WRONG_MODELS = [
    b'{}', b'{"model":"other"}', b'{"model":"test-model2"}', b'{"model":"test-mode"}', b'{"model":null}',
    b'{"model":["test-model"]}', b'{"model":"test\\u002dmodel"}', b'{"Model":"test-model"}',
    b'{"model":"test-model","model":"other"}', b'{"model":"other","model":"test-model"}',
    b'{"model":"test-model","MODEL":"other"}', b'{"input":{"model":"test-model"}}',
    b'{"input":[{"model":"test-model"}]}',
]
MALFORMED = [
    b'', b' ', b'[]', b'"model"', b'{"model":"test-model"', b'{"model":"test-model"}}',
    b'{"model":"test-model"}{"model":"other"}', b'{"mod\\u0065l":"other","model":"test-model"}',
    b'{"model":"test-model","mod\xc3\xa9l":"x"}', b"{'model':'test-model'}",
    b'\xef\xbb\xbf{"model":"test-model"}', b'{"model":"test-model",}', b'{"model":"test-model","a":\xff}',
    b'{"model":"test-model","a":"\xc3"}', b'{"model":"test-model"}\0', b'model=test-model',
    b'{"model":"test-model","a":' + b"[" * 200 + b"]" * 200 + b"}",
]


@pytest.mark.parametrize("body", WRONG_MODELS, ids=str)
@pytest.mark.parametrize("length", [None, "chunked"])
def test_another_model_is_refused(body, length):
    """In all disguises; small ones before the provider hears of them."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(request(body, length=length))
        assert (got.status, got.error) == (403, "wrong_model")
        assert provider.connections == 0


@pytest.mark.parametrize("body", MALFORMED, ids=str)
@pytest.mark.parametrize("length", [None, "chunked"])
def test_what_another_parser_might_read_differently_is_refused(body, length):
    """Strict JSON or nothing."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(request(body, length=length))
        assert (got.status, got.error) == (400, "bad_request")
        assert provider.bodies == []
        assert length or provider.connections == 0


@pytest.mark.parametrize("end, code", [
    (b'","model":"other"}', "wrong_model"), (b'"}', "wrong_model"),
    (b'","model":"test-model"', "bad_request"), (b'","model":"test-model"}}', "bad_request"),
    (b'","model":"test-model"}' + b" " * 70000 + b"{", "bad_request"),
])
@pytest.mark.parametrize("length", [None, "chunked"])
def test_a_wrong_model_at_the_end_of_a_large_body_never_gets_there_whole(end, code, length):
    """The provider has most of it by then; the request is broken off."""
    body = b'{"input":"' + b"x" * (1 << 20) + end
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(request(body, length=length))
        assert got.error == code
        wait_for(lambda: provider.cut_bodies, what="the provider sees the end")
        assert provider.bodies == []
        assert body.startswith(provider.cut_bodies[0])
        assert len(provider.cut_bodies[0]) < len(body)
        assert gateway.ask().status == 200


def test_a_content_encoding_is_refused():
    """What cannot be read cannot be checked."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.ask(headers=["Content-Encoding: gzip"])
        assert (got.status, got.error) == (415, "bad_request")
        assert gateway.ask(headers=["Content-Encoding: identity"]).status == 200
        assert "ontent-Encoding" not in provider.heads[0]


# ---- strictness

AMBIGUOUS = [
    (b"Content-Length: 5\r\nContent-Length: 5\r\n", 400), (b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    (b"Content-Length: 5, 5\r\n", 400), (b"Content-Length: +5\r\n", 400), (b"Content-Length: 0x5\r\n", 400),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
    (b"Transfer-Encoding: chunked, chunked\r\n", 400), (b"Transfer-Encoding: gzip, chunked\r\n", 400),
    (b"Transfer-Encoding: xchunked\r\n", 400),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
    (b"Transfer-Encoding : chunked\r\n", 400), (b" Transfer-Encoding: chunked\r\n", 400),
    (b"X: a\r\n b\r\n", 400), (b"X: a\rb\r\n", 400), (b"X: a\nContent-Length: 5\r\n", 400),
    (b"X: a\0b\r\n", 400), (b"no colon\r\n", 400), (b": empty\r\n", 400), (b"Host: other\r\n", 400),
    (b"Expect: something\r\n", 417), (b"Content-Length: 67108865\r\n", 413),
    (b"Content-Length: 99999999999999999999999\r\n", 400),
    (b"".join(b"X-%d: y\r\n" % i for i in range(200)), 400), (b"X: " + b"x" * (1 << 20) + b"\r\n", 400),
]


@pytest.mark.parametrize("lines, status", AMBIGUOUS, ids=lambda value: repr(value)[:60])
def test_an_ambiguous_head_is_refused(lines, status):
    """RFC 9112: an error, never a guess."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(b"POST /v1/responses HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
                          + SANDBOX_KEY.encode() + b"\r\n" + lines + b"\r\n" + b"{}")
        assert got.status == status
        assert got.error == ("too_large" if status == 413 else "bad_request")
        assert provider.connections == 0


@pytest.mark.parametrize("data, status", [
    (b"\r\n\r\n", 400), (b"POST /v1/responses\r\n\r\n", 400), (b"GARBAGE\r\n\r\n", 400),
    (b"POST  /v1/responses HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"POST /v1/responses HTTP/1.1\r\n\r\n", 400), (b"POST /v1/responses HTTP/1.0\r\nHost: a\r\n\r\n", 505),
    (b"POST /v1/responses HTTP/3.0\r\nHost: a\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400), (b"POST /v1/res\tponses HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (b"x" * 40000, 400),
])
def test_what_is_no_request_is_refused(data, status):
    """One line back, and the connection is closed."""
    with Gateway(replay=[{"replay": 1}]) as gateway:
        got = gateway.raw(data)
        assert (got.status, got.error) == (status, "bad_request")


@pytest.mark.parametrize("chunks", [
    b"zz\r\n", b"5\r\nhello", b"-1\r\n", b"1;" + b"x" * 5000 + b"\r\n", b"5\nhello\r\n", b"ffffffffffffffff\r\n",
    b"0\r\n" + b"T: " + b"t" * 5000 + b"\r\n\r\n", b"5\r\nhelloX\r\n",
])
def test_malformed_chunks_are_refused(chunks):
    """In the middle of a body; its beginning was in order."""
    data = request(b"", length="chunked").split(b"\r\n\r\n")[0] + b"\r\n\r\n" + chunk(b'{"a":') + chunks
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        with gateway.connect() as connection:
            connection.sendall(data + (b"X\r\n" if chunks == b"5\r\nhello" else b""))
            got = Answer.read(connection)
        assert (got.status, got.error) == (400, "bad_request")
        assert provider.bodies == []


def test_a_pipelined_request_is_not_answered():
    """One request a connection: nothing that hides behind the first is ever looked at."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        with gateway.connect() as connection:
            connection.sendall(request(BODY) + request(BODY))
            data = b""
            while piece := connection.recv(65536):
                data += piece
        assert data.count(b"HTTP/1.1 ") == 1
        assert len(provider.bodies) == 1


# ---- budget

def test_the_budget_is_enforced_to_the_token():
    """Input and output count; what earlier runs used counts too."""
    with RawProvider(says(ANSWER)) as provider, \
            open_gateway(provider, budget_tokens=1000, used_tokens=761) as gateway:
        gateway.send(PHASE_STARTED, phase=WORKING)
        assert gateway.ask().status == 200      # 881
        gateway.send(PHASE_STARTED, phase=VERIFYING)
        wait_for(lambda: len(gateway.events("phase.started")) == 2)
        assert gateway.ask().status == 200      # 1001
        for _ in range(2):
            got = gateway.ask()
            assert (got.status, got.error) == (403, "budget_exceeded")
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE] * 2
        assert [e["phase"] for e in gateway.events("model.usage")] == ["working", "verifying"]
        limit, = gateway.events("limit.hit")
        assert (limit["limit"], limit["figure"]) == ("budget", 1001)
        assert len(provider.bodies) == 2


@pytest.mark.parametrize("used, status", [(999, 200), (1000, 403)])
def test_the_budgets_edge(used, status):
    """Used up means reached."""
    with RawProvider(says(ANSWER)) as provider, \
            open_gateway(provider, budget_tokens=1000, used_tokens=used) as gateway:
        assert gateway.ask().status == status


def test_the_budget_counts_before_the_streams_end():
    """The agent's next request may come while the last answer's connection is still open."""
    hold = threading.Event()

    def answer(talk):
        talk.read_request()
        talk.send(stream_head() + chunk(completed()))
        hold.wait(10)
        talk.send(chunk(b""))

    with RawProvider(answer) as provider, open_gateway(provider, budget_tokens=1) as gateway:
        with gateway.connect() as connection:
            connection.sendall(request(BODY))
            data = b""
            while b"response.completed" not in data:
                data += connection.recv(65536)
            assert gateway.ask().error == "budget_exceeded"
            hold.set()


@pytest.mark.parametrize("kind", ["response.incomplete", "response.failed"])
def test_unfinished_answers_are_metered_too(kind):
    """They cost as well."""
    data = event({"type": kind, "response": {"usage": USAGE}})
    with RawProvider(says(stream_head() + chunk(data) + chunk(b""))) as provider, \
            open_gateway(provider) as gateway:
        assert gateway.ask().body == data
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE]


def test_an_answer_without_usage_is_estimated():
    """And the event says so."""
    with RawProvider(says(stream_head() + chunk(b"data: [DONE]\n\n") + chunk(b""))) as provider, \
            open_gateway(provider) as gateway:
        assert gateway.ask(BODY).status == 200
        gateway.close()
        usage, = gateway.events("model.usage")
        assert usage["note"] == "the answer ended without usage"
        assert usage["estimated"] is True
        assert usage["usage"] == estimate(BODY, b"data: [DONE]\n\n")


def test_an_image_is_not_estimated_by_its_bytes():
    image = "data:image/png;base64," + "A" * 400000
    body = json.dumps({"model": MODEL, "input": [{"type": "input_image", "image_url": image}]}).encode()
    with RawProvider(says(stream_head() + chunk(b"data: [DONE]\n\n") + chunk(b""))) as provider, \
            open_gateway(provider) as gateway:
        assert gateway.ask(body).status == 200
        gateway.close()
        usage, = gateway.events("model.usage")
        assert usage["usage"]["input_tokens"] == 5000 + -(-(len(body) - len(image)) // 4)


@pytest.mark.parametrize("length, sent", [
    (None, "y" * 2000), ("chunked", "y" * 2000),
    (None, [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + "y" * 40000}]}])])
def test_hanging_up_before_the_usage_is_no_way_around_the_budget(length, sent):
    """What was sent and what had come is charged, and soon it is used up. Images, too, by their bytes: they may be text."""
    text = event({"type": "response.output_text.delta", "delta": "x" * 2000})
    body = json.dumps({"model": MODEL, "input": sent}).encode()
    cost = sum(estimate(body, text).values())

    def answer(talk):
        if talk.read_request():
            talk.send(stream_head() + chunk(text))
            talk.wait_for_end()

    with RawProvider(answer) as provider, open_gateway(provider, budget_tokens=3 * cost) as gateway:
        for i in range(3):
            with gateway.connect() as connection:
                connection.sendall(request(body, length=length))
                data = b""
                while text not in data:
                    data += connection.recv(65536)
            wait_for(lambda: len(gateway.events("model.usage")) == i + 1)
        assert gateway.ask().error == "budget_exceeded"
        gateway.close()
        assert [(e["usage"], e["estimated"]) for e in gateway.events("model.usage")] == \
            [(estimate(body, text), True)] * 3
        assert [e["figure"] for e in gateway.events("limit.hit")] == [3 * cost]
        assert len(provider.bodies) == 3


def test_parallel_requests_are_no_way_around_the_budget():
    """What is under way holds what is left; the rest may come again when that is known."""
    hold = threading.Event()

    def answer(talk):
        while talk.read_request():
            hold.wait(20)
            talk.send(ANSWER)

    with RawProvider(answer) as provider, open_gateway(provider, budget_tokens=10000) as gateway:
        connections = []
        for _ in range(3):      # each holds 4096 and its request: the third is beyond 8192
            connections.append(gateway.connect())
            connections[-1].sendall(request(BODY))
            wait_for(lambda: len(provider.bodies) == len(connections))
        got = gateway.ask()
        assert (got.status, got.error) == (503, "too_many_requests")
        assert got.headers["retry-after"] == "1" and "token budget" in got.message
        hold.set()
        for connection in connections:
            assert Answer.read(connection).status == 200
            connection.close()
        assert gateway.ask().status == 200
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [EVENT_USAGE] * 4
        assert gateway.events("limit.hit") == []


def test_a_body_of_unknown_length_holds_as_much_as_it_may_become():
    """Sixteen of them, each still small, would all be let in else."""
    with RawProvider(says(ANSWER)) as provider, \
            open_gateway(provider, budget_tokens=1000000) as gateway:
        with gateway.connect() as connection:
            head_ = request(b"", length="chunked").split(b"\r\n\r\n")[0] + b"\r\n\r\n"
            connection.sendall(head_ + chunk(BODY[:10]))
            wait_for(lambda: provider.heads)
            got = gateway.ask()
            assert (got.status, got.error) == (503, "too_many_requests")
            connection.sendall(chunk(BODY[10:]) + chunk(b""))
            assert Answer.read(connection).status == 200
        assert gateway.ask().status == 200


def test_a_provider_that_is_silent_for_too_long_is_charged_for():
    """It had the request, and may have worked on it."""
    def answer(talk):
        talk.read_request()
        talk.wait_for_end()

    with RawProvider(answer) as provider, \
            open_gateway(provider, first_byte_timeout_ms=100) as gateway:
        assert gateway.ask(BODY).error == "provider_timeout"
        gateway.close()
        assert [e["usage"] for e in gateway.events("model.usage")] == [estimate(BODY, b"")]


def test_what_is_under_way_when_the_run_ends_is_counted_before_its_last_line():
    """Nobody reads behind that."""
    def answer(talk):
        if talk.read_request():
            talk.send(stream_head())
            talk.wait_for_end()

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        with gateway.connect() as connection:
            connection.sendall(request(BODY))
            wait_for(lambda: connection.recv(100), what="the answer begins")
            gateway.send(RUN_ENDED, outcome=0)
            assert gateway.receive() == (WRITTEN, 0)
            assert [e["type"] for e in gateway.events()] == ["model.usage", "run.ended"]


def test_work_in_the_background_is_refused():
    """Its answer would never be metered."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.ask(background=True)
        assert (got.status, got.error) == (400, "bad_request") and "background" in got.message
        assert provider.bodies == []


# ---- TLS

@pytest.fixture(name="certificate", scope="module")
def make_certificate():
    """A certificate for localhost and 127.0.0.1 that nobody has signed: (certificate, key)."""
    # Not below pytest's directory, which only root can enter: the gateway reads it as nobody.
    with tempfile.TemporaryDirectory(prefix="codex-test-tls-") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        yield sign_itself(directory)


def sign_itself(directory):
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    certificate.chmod(0o644)
    return str(certificate), str(key)


def test_an_unknown_certificate_is_refused(certificate):
    """No key goes to whoever answers."""
    with RawProvider(says(ANSWER), certificate=certificate) as provider, \
            open_gateway(provider) as gateway:
        got = gateway.ask()
        assert (got.status, got.error) == (502, "provider_unreachable")
        assert "certificate" in got.message
        assert provider.heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_works_with_a_known_certificate(certificate, host):
    """SSL_CERT_FILE, as for every program that uses OpenSSL."""
    with RawProvider(says(ANSWER), certificate=certificate) as provider, \
            Gateway(base_url=f"https://{host}:{provider.port}/v1",
                    environment={"SSL_CERT_FILE": certificate[0]}) as gateway:
        for _ in range(3):
            assert gateway.ask().status == 200
        assert provider.connections == 1


def test_a_certificate_for_another_name_is_refused(certificate):
    """127.0.0.2 is not in it."""
    with RawProvider(says(ANSWER), certificate=certificate, host="0.0.0.0") as provider, \
            Gateway(base_url=f"https://127.0.0.2:{provider.port}/v1",
                    environment={"SSL_CERT_FILE": certificate[0]}) as gateway:
        assert gateway.ask().error == "provider_unreachable"
        assert provider.heads == []
