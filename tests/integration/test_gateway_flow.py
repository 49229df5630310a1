"""codex-gateway: back-pressure, bounds, and clients that go away, are slow or are many."""
import json
import socket
import threading
import time

import pytest

from support.codex import IS_SANITIZED, wait_for
from support.gateway import MODEL, SANDBOX_KEY, Answer, Gateway, request
from support.raw_provider import (USAGE, RawProvider, chunk, completed, says, stream_head, whole)

MEGABYTE = 1 << 20
ANSWER = whole(200, json.dumps({"object": "response", "output": [], "usage": USAGE}).encode())
BODY = json.dumps({"model": MODEL, "input": [], "stream": True}).encode()


def open_gateway(provider, **config):
    """A gateway before PROVIDER."""
    return Gateway(base_url=provider.base_url, **config)


def assert_flat(gateway, before, megabytes=2):
    """What it wrote to has not grown by more (which says nothing under the sanitizers). Clean pages become
    private whenever another gateway ends."""
    after = gateway.memory()
    if not IS_SANITIZED:
        assert after["Dirty"] - before["Dirty"] < megabytes * 1024, (before, after)


def large_body(size):
    """A request of SIZE bytes; the model comes last."""
    end = b'","model":"test-model"}'
    begin = b'{"input":"'
    return begin + b"x" * (size - len(begin) - len(end)) + end


@pytest.mark.parametrize("length", [None, "chunked"])
def test_a_64_mb_request_passes_in_flat_memory(length):
    """To a provider that begins to read it late."""
    body = large_body(64 * MEGABYTE)
    go = threading.Event()

    def answer(talk):
        talk.read_head()
        go.wait(20)
        assert talk.read_body()
        talk.send(ANSWER)
        assert talk.body == body

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        gateway.ask(b"{}")
        before = gateway.memory()
        result = []
        thread = threading.Thread(target=lambda: result.append(
            gateway.raw(request(body, length=length), timeout=60)))
        thread.start()
        wait_for(lambda: provider.heads, what="the request begins")
        time.sleep(0.2)         # long enough for a gateway without back-pressure to take it all
        assert_flat(gateway, before)
        go.set()
        thread.join(60)
        assert_flat(gateway, before)
        assert result[0].status == 200


@pytest.mark.parametrize("size, status", [(64 * MEGABYTE, 200), (64 * MEGABYTE + 1, 413)])
@pytest.mark.parametrize("length", [None, "chunked"])
def test_the_largest_request(size, status, length):
    """One byte more is refused, and never whole at the provider."""
    body = large_body(size)
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(request(body, length=length), timeout=60)
        assert got.status == status
        assert len(provider.bodies) == (status == 200)
        if status == 413:
            assert got.error == "too_large"


def test_a_64_mb_answer_waits_for_a_slow_reader():
    """In flat memory; and the provider is slowed down."""
    sent = []
    piece = chunk(b"data: " + b"x" * 65000 + b"\n\n")

    def answer(talk):
        talk.read_request()
        talk.send(stream_head())
        for _ in range(1024):
            talk.send(piece)
            sent.append(1)
        talk.send(chunk(completed()) + chunk(b""))

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        gateway.ask(b"{}")
        before = gateway.memory()
        with gateway.connect(timeout=60) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(request(BODY))
            wait_for(lambda: len(sent) > 10)
            stalled = wait_for(lambda: _unchanged(sent), seconds=30, what="the provider is slowed down")
            assert stalled < 900
            assert_flat(gateway, before)
            cpu = gateway.cpu_seconds()
            time.sleep(0.5)
            assert gateway.cpu_seconds() - cpu < 0.1     # it waits, and does not spin
            got = Answer.read(connection)
            assert len(got.body) == 1024 * 65008 + len(completed()) and not got.broken
        assert_flat(gateway, before)
        gateway.close()
        assert len(gateway.events("model.usage")) == 1


def _unchanged(seen):
    """How many there are, once that has not changed for a while."""
    count = len(seen)
    time.sleep(0.3)
    return count if len(seen) == count else None


def test_a_large_last_event_is_metered_in_flat_memory():
    """response.completed repeats the whole conversation."""
    big = completed(instructions="x" * (32 * MEGABYTE))

    def answer(talk):
        talk.read_request()
        talk.send(stream_head())
        for i in range(0, len(big), MEGABYTE):
            talk.send(chunk(big[i:i + MEGABYTE]))
        talk.send(chunk(b""))

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        gateway.ask(b"{}")
        before = gateway.memory()
        assert gateway.ask().body == big
        assert_flat(gateway, before)
        gateway.close()
        assert gateway.events("model.usage")[0]["usage"]["input_tokens"] == 100


# ---- clients that leave

@pytest.mark.parametrize("said", [b"", stream_head(), stream_head() + chunk(b"data: 1\n\n")])
def test_a_client_that_leaves_ends_the_providers_work(said):
    """Before the answer and in the middle of it: nobody pays for what nobody reads."""
    def answer(talk):
        talk.read_request()
        talk.send(said)
        talk.wait_for_end()
        talk.provider.ended.set()

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        provider.ended = threading.Event()
        connection = gateway.connect()
        connection.sendall(request(BODY))
        if said:
            wait_for(lambda: connection.recv(100), what="the answer begins")
        else:
            wait_for(lambda: provider.bodies, what="the provider has the request")
        connection.close()
        assert provider.ended.wait(5)
        gateway.close()
        notes = [e["note"] for e in gateway.events("model.usage")]
        assert notes == ["the client left before the answer's usage had come"]


def test_a_client_that_leaves_in_its_request_leaves_no_trace():
    """The provider's connection is given up; the next request works."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        connection = gateway.connect()
        connection.sendall(request(large_body(MEGABYTE))[:500000])
        wait_for(lambda: provider.heads, what="the provider hears of it")
        connection.close()
        wait_for(lambda: provider.cut_bodies, what="the provider sees the end")
        assert gateway.ask().status == 200
        assert provider.bodies[0] != b""


def test_an_early_answer_reaches_a_client_that_still_sends():
    """The provider says no after the head: the client gets to read that."""
    def answer(talk):
        talk.read_head()
        talk.send(whole(413, b'{"error":{"code":"provider says no"}}', "Connection: close"))
        talk.wait_for_end()

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        got = gateway.raw(request(large_body(8 * MEGABYTE)))
        assert got.status == 413
        assert b"provider says no" in got.body


def test_a_refusal_reaches_a_client_that_still_sends():
    """The same for the gateway's own."""
    with Gateway(replay=[{"replay": 1}]) as gateway:
        got = gateway.raw(request(large_body(8 * MEGABYTE), key="wrong"))
        assert (got.status, got.error) == (401, "wrong_key")


# ---- clients that are many, or slow

def test_sixteen_requests_at_once_and_no_more():
    """The seventeenth is told to come back."""
    hold = threading.Event()

    def answer(talk):
        while talk.read_request():
            hold.wait(20)
            talk.send(ANSWER)

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        connections = [gateway.connect() for _ in range(16)]
        for connection in connections:
            connection.sendall(request(BODY))
        wait_for(lambda: len(provider.bodies) == 16, what="sixteen requests")
        got = gateway.ask()
        assert (got.status, got.error, got.headers["retry-after"]) == (503, "too_many_requests", "1")
        hold.set()
        for connection in connections:
            assert Answer.read(connection).status == 200
            connection.close()
        assert gateway.ask().status == 200


def test_idle_connections_keep_nobody_out():
    """Commands in the sandbox can connect as well, but have no key: the agent still gets through."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        idle = [gateway.connect() for _ in range(300)]
        for connection in idle[:100]:
            connection.sendall(b"POST /v1/responses HTTP/1.1\r\n")
        for _ in range(5):
            assert gateway.ask().status == 200
        for connection in idle:
            connection.close()


def test_a_flood_of_connections_does_not_grow_it():
    """Ten thousand, opened and left."""
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        gateway.ask()
        before = gateway.memory()
        for _ in range(10000):
            gateway.connect().close()
        assert gateway.ask().status == 200
        assert_flat(gateway, before, megabytes=1)


def test_a_request_that_never_gets_ready_is_closed():
    """Five seconds for a head, however slowly it drips."""
    with Gateway(replay=[{"replay": 1}]) as gateway, gateway.connect() as connection:
        began = time.monotonic()
        connection.settimeout(0.5)
        data = None
        while data is None and time.monotonic() - began < 20:
            try:
                connection.sendall(b"X")
                data = connection.recv(100)
            except TimeoutError:
                pass
            except OSError:
                data = b""
        assert data == b""
        assert 4 < time.monotonic() - began < 10


def test_a_refused_client_that_does_not_hang_up_is_left():
    """It has its answer, and two seconds."""
    with Gateway(replay=[{"replay": 1}]) as gateway, gateway.connect() as connection:
        connection.sendall(request(b"{}", key="wrong"))
        assert Answer.read(connection).status == 401
        began = time.monotonic()
        wait_for(lambda: _is_reset(connection), seconds=10, what="the connection is closed")
        assert time.monotonic() - began > 1


def _is_reset(connection):
    """The other side no longer takes anything."""
    try:
        connection.sendall(b"more")
        return False
    except OSError:
        return True


def test_requests_at_once_are_not_mixed_up():
    """Each client gets the answer to its own request."""
    def answer(talk):
        while talk.read_request():
            number = json.loads(talk.body)["input"]
            talk.send(stream_head() + b"".join(chunk(f"data: {number}\n\n".encode()) for _ in range(200))
                      + chunk(completed()) + chunk(b""))

    with RawProvider(answer) as provider, open_gateway(provider) as gateway:
        results = {}

        def ask(number):
            for turn in range(5):
                name = f"{number}-{turn}"
                results[name] = gateway.ask(input=name).body

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(results) == 60
        for name, body in results.items():
            assert body == f"data: {name}\n\n".encode() * 200 + completed(), name
        gateway.close()
        assert len(gateway.events("model.usage")) == 60


def test_hostile_bytes_never_end_it():
    """Random garbage, and mutations of a good request, from clients that do not wait."""
    import random
    dice = random.Random(7)
    good = request(BODY)
    with RawProvider(says(ANSWER)) as provider, open_gateway(provider) as gateway:
        for _ in range(500):
            data = bytearray(good)
            for _ in range(dice.randrange(1, 8)):
                at = dice.randrange(len(data))
                data[at:at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
            with gateway.connect() as connection:
                connection.sendall(data[:dice.randrange(1, len(data) + 1)])
        assert gateway.ask().status == 200
        assert SANDBOX_KEY not in gateway.log()
