"""codex-gateway's HTTP proxy: what goes through, how, and what bounds it."""
import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from support.codex import IS_SANITIZED
from support.gateway import (EXIT_CONTROL, LISTENER_MODEL, LISTENER_PROXY, LISTENER_SIDE_PROXY, PHASE_STARTED,
                             RUN_ENDED, UNLISTEN, WORKING, Gateway)
from support.proxy import (Host, NameServer, Proxy, answer, echo, internet, read_all, read_head, until)


def test_a_plain_request_and_its_answer():
    """Head and body, both ways; what belongs to the connection stays behind."""
    def serve(host, connection):
        host.heads.append(read_head(connection).decode())
        body = b""
        while len(body) < 11:
            body += connection.recv(100)
        connection.sendall(b"HTTP/1.1 418 Short And Stout\r\nX-Kind: tea\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n"
                           b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        got = proxy.get(f"http://127.0.0.1:{host.port}/pot?a=b%20c", method="POST", body=b"hello world", headers=[
            f"Host: 127.0.0.1:{host.port}", "Content-Length: 11", "X-Mine: yes", "Connection: close, X-Secret",
            "X-Secret: 1", "Proxy-Authorization: Basic abc", "Proxy-Connection: keep-alive", "Keep-Alive: 300",
            "TE: trailers", "Upgrade: h2c", "User-Agent: test"])
        assert (got.status, got.body) == (418, b"hello world")
        assert got.headers["x-kind"] == "tea" and got.headers["connection"] == "close"
        assert not {"x-hop", "keep-alive", "proxy-authenticate"} & set(got.headers)
        lines = host.heads[0].split("\r\n")
        assert lines[0] == "POST /pot?a=b%20c HTTP/1.1"
        assert sorted(lines[1:-2]) == ["Connection: close", "Content-Length: 11", f"Host: 127.0.0.1:{host.port}",
                                       "User-Agent: test", "X-Mine: yes"]


@pytest.mark.parametrize("url, line, host_line", [
    ("http://127.0.0.1:{port}", "GET / HTTP/1.1", "127.0.0.1:{port}"),
    ("http://127.0.0.1:{port}?q=1", "GET /?q=1 HTTP/1.1", "127.0.0.1:{port}"),
    ("HTTP://127.0.0.1:{port}/a//b/../c", "GET /a//b/../c HTTP/1.1", "127.0.0.1:{port}"),
    ("http://0x7f.1:{port}/", "GET / HTTP/1.1", "127.0.0.1:{port}"),
])
def test_addresses_as_they_are_written(url, line, host_line):
    with Host(answer(b"ok")) as host, Proxy(internet(host)) as proxy:
        assert proxy.get(url.format(port=host.port)).body == b"ok"
        assert host.heads[0].split("\r\n")[:2] == [line, "Host: " + host_line.format(port=host.port)]


def test_a_chunked_body_is_made_anew():
    """Extensions and trailers do not go on: they are where two readers may differ."""
    received = []

    def serve(_, connection):
        head = read_head(connection)
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(100)
        received.extend([head, body])
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        got = proxy.get(f"http://127.0.0.1:{host.port}/", method="PUT", headers=["Transfer-Encoding: chunked"],
                        body=b"5;x=\"y\"\r\nhello\r\n006\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
        assert got.status == 204
    assert received[0].count(b"Transfer-Encoding: chunked") == 1 and b"Content-Length" not in received[0]
    content, rest = b"", received[1]
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        content += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]
    assert content == b"hello world"


@pytest.mark.parametrize("reply, body", [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and what belongs to nobody", b"hello"),
])
def test_answers_of_every_framing(reply, body):
    """Also when the host does not close the connection; what is behind an answer is not passed on."""
    def serve(_, connection):
        read_head(connection)
        connection.sendall(reply)
        if not reply.startswith(b"HTTP/1.0"):
            connection.recv(1)      # keeps it open until the proxy closes it
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        got = proxy.get(f"http://127.0.0.1:{host.port}/")
        assert (got.body, got.broken) == (body, False)


def test_interim_answers_go_through():
    reply = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
    with Host(answer(b"", reply)) as host, Proxy(internet(host)) as proxy:
        with proxy.open(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % host.port) as connection:
            assert read_all(connection) == (reply, False)


def test_the_answer_to_head_has_no_body():
    with Host(answer(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")) as host, Proxy(internet(host)) as proxy:
        with proxy.open(b"HEAD http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % host.port) as connection:
            data, reset = read_all(connection)
        assert data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"\r\n\r\n") and not reset


@pytest.mark.parametrize("reply", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
])
def test_a_cut_answer_is_cut_for_the_client(reply):
    """It must not look whole."""
    with Host(answer(b"", reply)) as host, Proxy(internet(host)) as proxy:
        assert proxy.get(f"http://127.0.0.1:{host.port}/").broken


@pytest.mark.parametrize("reply", [
    b"",
    b"HTTP/1.1 200 OK\r\nContent-Le",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n" * 17,
])
def test_what_is_no_answer(reply):
    """A 502 with a sentence, whatever the host says instead of one. (Interim answers may have gone before it.)"""
    with Host(answer(b"", reply)) as host, Proxy(internet(host)) as proxy:
        with proxy.open(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % host.port) as connection:
            data, _ = read_all(connection)
        assert b"HTTP/1.1 502 Bad Gateway" in data and b"codex: no answer from 127.0.0.1: " in data


def test_expect_continue_goes_through():
    """A client that waits for it before it sends its body."""
    def serve(_, connection):
        assert b"Expect: 100-continue" in read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.recv(5) == b"hello"
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        with proxy.open(b"PUT http://127.0.0.1:%d/ HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" % host.port) as c:
            assert read_head(c) == b"HTTP/1.1 100 Continue\r\n\r\n"
            c.sendall(b"hello")
            assert read_head(c).startswith(b"HTTP/1.1 201 Created")


def test_a_tunnel_carries_bytes_both_ways():
    """Ten megabytes, in pieces of odd sizes, some of them together with the request."""
    data = os.urandom(10 << 20)
    with Host(echo) as host, Proxy(internet(host)) as proxy:
        connection = proxy.tunnel(f"127.0.0.1:{host.port}", data[:1000])

        def send():
            at = 1000
            while at < len(data):
                connection.sendall(data[at:at + 77777])
                at += 77777
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        back, reset = read_all(connection)
        sender.join()
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest() and not reset
        connection.close()


def test_each_side_can_end_first():
    """A half-closed tunnel still carries the other direction."""
    def serve(_, connection):
        got = read_all(connection)[0]
        time.sleep(0.05)
        connection.sendall(b"got " + got)
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        with proxy.tunnel(f"127.0.0.1:{host.port}") as connection:
            connection.sendall(b"all of it")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == (b"got all of it", False)
    received = []

    def end_first(_, connection):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        received.append(read_all(connection)[0])
    with Host(end_first) as host, Proxy(internet(host)) as proxy:
        with proxy.tunnel(f"127.0.0.1:{host.port}") as connection:
            assert read_all(connection) == (b"bye", False)
            connection.sendall(b"one more thing")
            connection.shutdown(socket.SHUT_WR)
            assert until(lambda: received) == [b"one more thing"]


def test_a_reset_is_passed_on():
    """What breaks off at the host must not look like an end."""
    def serve(_, connection):
        connection.sendall(b"half")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        with proxy.tunnel(f"127.0.0.1:{host.port}") as connection:
            assert connection.recv(4) == b"half"
            connection.sendall(b"x")
            assert read_all(connection) == (b"", True)


@pytest.mark.parametrize("plain", [True, False])
def test_a_slow_reader_holds_the_host_up(plain):
    """The host cannot send more than what the buffers on the way take; the gateway stays small, and idle."""
    sent = [0]

    def serve(_, connection):
        if plain:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent[0] < 1 << 30:
            sent[0] += connection.send(bytes(65536))
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        assert proxy.refused("example.com:25")[0] == 403        # it runs by now
        before = proxy.memory()["Dirty"]
        if plain:
            connection = proxy.open(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % host.port)
        else:
            connection = proxy.tunnel(f"127.0.0.1:{host.port}")
        with connection:
            assert until(lambda: sent[0] > 100000)
            last = -1
            while sent[0] != last:
                last = sent[0]
                time.sleep(0.3)
            assert sent[0] < 64 << 20
            cpu = proxy.cpu_seconds()
            time.sleep(0.5)
            assert proxy.cpu_seconds() - cpu < 0.1
            if not IS_SANITIZED:
                assert proxy.memory()["Dirty"] - before < 1024


def test_requests_behind_one_another_do_not_go_on():
    """A second request in the same connection is not the first one's body, and not the host's to read."""
    with Host(answer(b"ok")) as host, Proxy(internet(host)) as proxy:
        first = b"GET http://127.0.0.1:%d/one HTTP/1.1\r\n\r\n" % host.port
        with proxy.open(first + first.replace(b"one", b"two")) as connection:
            data, _ = read_all(connection)
        assert data.count(b"HTTP/1.1 200 OK") == 1
        assert len(host.heads) == 1 and "two" not in host.heads[0]


@pytest.mark.parametrize("head", [
    b"POST {url} HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST {url} HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST {url} HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
    b"POST {url} HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
    b"POST {url} HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST {url} HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST {url} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST {url} HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nX: a\rY: b\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nX: a\0b\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nNo colon\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nHost: {authority}\r\nHost: {authority}\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
    b"GET {url} HTTP/1.1\r\nHost: {authority}, elsewhere.test\r\n\r\n",
    b"GET {url} HTTP/2.0\r\n\r\n",
    b"GET {url}\r\n\r\n",
    b"GET  {url} HTTP/1.1\r\n\r\n",
    b"GET {url} x HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: {authority}\r\n\r\n",
    b"GET https://{authority}/ HTTP/1.1\r\n\r\n",
    b"GET ftp://{authority}/ HTTP/1.1\r\n\r\n",
    b"GET http:///x HTTP/1.1\r\n\r\n",
    b"GET http:/x HTTP/1.1\r\n\r\n",
    b"GET http://user@{authority}/ HTTP/1.1\r\n\r\n",
    b"GET http://user:pw@{authority}/ HTTP/1.1\r\n\r\n",
    b"GET http://{authority}\\@elsewhere.test/ HTTP/1.1\r\n\r\n",
    b"GET http://elsewhere.test\\{authority}/ HTTP/1.1\r\n\r\n",
    b"GET {url}#x HTTP/1.1\r\n\r\n",
    b"CONNECT {authority} HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT http://{authority}/ HTTP/1.1\r\n\r\n",
    b"CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n",
    b"connect {authority} HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    b"\r\n\r\n",
])
def test_what_is_ambiguous_is_refused(head):
    """400, with one sentence, and nothing of it reaches the host."""
    with Host(answer(b"ok")) as host, Proxy(internet(host)) as proxy:
        authority = b"127.0.0.1:%d" % host.port
        got = proxy.raw(head.replace(b"{url}", b"http://" + authority + b"/").replace(b"{authority}", authority))
        assert got.status == 400, got.body
        assert got.body.startswith(b"codex: ") and got.body.count(b"\n") == 1
        assert host.connections == 0


def test_a_broken_chunk_of_the_client_ends_it():
    """The host sees no whole request; the client is told."""
    received = []

    def serve(_, connection):
        received.append(read_all(connection)[0])
    with Host(serve) as host, Proxy(internet(host)) as proxy:
        got = proxy.get(f"http://127.0.0.1:{host.port}/", method="POST", headers=["Transfer-Encoding: chunked"],
                        body=b"5\r\nhello\r\nzzz\r\n")
        assert got.status == 400 and b"chunk" in got.body
        assert b"0\r\n\r\n" not in (until(lambda: received) or [b""])[0]


@pytest.mark.parametrize("data", [
    b"GET http://127.0.0.1:1/ HTTP/1.1\r\nX: " + b"a" * 100000 + b"\r\n\r\n",
    b"GET http://127.0.0.1:1/" + b"a" * 100000,
    b"CONNECT " + b"a" * 100000 + b":443 HTTP/1.1\r\n\r\n",
    b"GET http://127.0.0.1:1/ HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
])
def test_a_head_has_a_size(data):
    with Proxy(internet()) as proxy:
        assert proxy.raw(data).status in (400, 431)


def test_slow_clients_are_left():
    """A request that does not come, one that comes byte by byte, and connections that say nothing."""
    with Proxy(internet(limits={"head_ms": 700})) as proxy:
        silent = [proxy.open() for _ in range(20)]
        slow = proxy.open(b"GET http://127.0.0.1:1/ HTTP/1.1\r\n")
        began = time.monotonic()
        try:
            while time.monotonic() - began < 15:
                slow.sendall(b"X")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - began < 10
        assert all(read_all(connection)[0] == b"" for connection in silent)


@pytest.mark.parametrize("limits", [{"idle_ms": 500}, {"total_ms": 500}])
def test_connections_have_an_end(limits):
    """One in which nothing happens; and, however much happens, one that lasts."""
    def serve(_, connection):
        try:
            while "total_ms" in limits:
                connection.sendall(b"x")
                time.sleep(0.02)
            connection.recv(1)
        except OSError:
            pass
    with Host(serve) as host, Proxy(internet(host, limits=limits)) as proxy:
        with proxy.tunnel(f"127.0.0.1:{host.port}") as connection:
            began = time.monotonic()
            assert read_all(connection)[1]
            assert 0.3 < time.monotonic() - began < 10


def test_connections_are_counted():
    """257 at once: the last one is told to come again; those without a request make room for it."""
    with Host(echo) as host, Proxy(internet(host)) as proxy:
        tunnels = [proxy.tunnel(f"127.0.0.1:{host.port}") for _ in range(256)]
        got = proxy.get(f"http://127.0.0.1:{host.port}/")
        assert got.status == 503 and b"too many connections" in got.body
        assert proxy.get(f"http://127.0.0.1:{host.port}/").status == 503
        hit, = until(lambda: proxy.events("limit.hit"))  # once
        assert (hit["limit"], hit["figure"], hit["unit"]) == ("connections", 256, "connections")
        for connection in tunnels[:10]:
            connection.close()
        assert until(lambda: proxy.get(f"http://127.0.0.1:{host.port}/").status != 503)    # the gateway has seen it
        idle = [proxy.open() for _ in range(40)]
        proxy.tunnel(f"127.0.0.1:{host.port}").close()
        for connection in tunnels + idle:
            connection.close()


def test_an_unreachable_host_is_told():
    """Nobody listens there; and a name that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with NameServer({}) as names, Proxy(internet(f"127.0.0.1:{port}", resolver=names.address)) as proxy:
        got = proxy.get(f"http://127.0.0.1:{port}/")
        assert got.status == 502 and b"cannot connect to 127.0.0.1:%d: Connection refused" % port in got.body
        got = proxy.get("http://nowhere.test/")
        assert got.status == 502 and b"cannot resolve 'nowhere.test'" in got.body
        assert proxy.denied() == []


def test_a_silent_name_server_and_a_silent_host():
    """Bounded by one time for both."""
    with NameServer({"silent.test": [None]}) as names, \
            Proxy(internet(resolver=names.address, limits={"connect_ms": 600})) as proxy:
        got = proxy.get("http://silent.test/")
        assert got.status == 504 and b"silent.test:80: no connection within" in got.body


def test_the_second_address_is_tried():
    """The first one of a name refuses."""
    with Host(answer(b"ok"), address="127.0.0.2") as host, NameServer({"two.test": [["127.0.0.3", "127.0.0.2"]]}) as names, \
            Proxy(internet(f"two.test:{host.port}", resolver=names.address)) as proxy:
        got = proxy.get(f"http://two.test:{host.port}/")
        assert got.body == b"ok"
        assert f"Host: two.test:{host.port}" in host.heads[0]


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_ipv6():
    """In brackets, as an address and found by name."""
    with Host(answer(b"ok"), family=socket.AF_INET6, address="::1") as host, NameServer({"six.test": [["::1"]]}) as names, \
            Proxy(internet(f"[::1]:{host.port}", f"six.test:{host.port}", resolver=names.address)) as proxy:
        assert proxy.get(f"http://[::1]:{host.port}/").body == b"ok"
        assert proxy.get(f"http://[0:0::0:1]:{host.port}/").body == b"ok"
        assert proxy.get(f"http://six.test:{host.port}/").body == b"ok"
        assert [head.split("\r\n")[1] for head in host.heads] == [
            f"Host: [::1]:{host.port}", f"Host: [::1]:{host.port}", f"Host: six.test:{host.port}"]
        with proxy.tunnel(f"[::1]:{host.port}") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert read_all(connection)[0].endswith(b"ok")


def test_it_does_not_stop_for_one_client():
    """While one looks up a name that nobody answers, and another reads nothing, a third is served."""
    with Host(answer(b"ok")) as host, Host(answer(bytes(8 << 20))) as large, NameServer({"silent.test": [None]}) as names, \
            Proxy(internet(host, large, resolver=names.address)) as proxy:
        waiting = [proxy.open(b"CONNECT silent.test:443 HTTP/1.1\r\n\r\n") for _ in range(30)]
        waiting += [proxy.open(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n" % large.port) for _ in range(10)]
        began = time.monotonic()
        assert proxy.get(f"http://127.0.0.1:{host.port}/").body == b"ok"
        assert time.monotonic() - began < 2
        for connection in waiting:
            connection.close()


def test_two_sandboxes_have_a_listener_each():
    """A new one takes the place of its own kind only; one that is dropped lets go of its network."""
    with Host(answer(b"ok")) as host, Proxy(internet(host)) as proxy:
        url = f"http://127.0.0.1:{host.port}/"
        work, work_port = proxy._listener, proxy.port
        proxy._listener = None
        proxy.listen(kind=LISTENER_SIDE_PROXY)
        test_port = proxy.port
        assert proxy.get(url).body == b"ok"
        proxy._listener.close()
        proxy._listener = work
        assert proxy.get(url).body == b"ok"
        proxy.send(UNLISTEN, kind=LISTENER_SIDE_PROXY)
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", test_port)).close() or False)
        assert proxy.get(url).body == b"ok" and proxy.port == work_port
        proxy.send(UNLISTEN, kind=LISTENER_SIDE_PROXY)      # again: nothing to do
        assert proxy.get(url).body == b"ok"


def test_what_was_used_is_told_at_the_end_of_a_phase():
    with Host(answer(b"0123456789")) as host, Proxy(internet(host)) as proxy:
        proxy.send(PHASE_STARTED, phase=WORKING)
        for _ in range(3):
            assert proxy.get(f"http://127.0.0.1:{host.port}/").status == 200
        proxy.send(RUN_ENDED, phase=WORKING)
        assert until(lambda: proxy.events("run.ended"))
        used = proxy.events("network.used")
        assert [event["phase"] for event in used] == ["working"]
        (place,) = used[0]["hosts"]
        assert (place["host"], place["port"], place["connections"]) == ("127.0.0.1", host.port, 3)
        assert place["sent_bytes"] == 0 and place["received_bytes"] > 30
        assert [event["type"] for event in proxy.events()][-1] == "run.ended"


@pytest.mark.parametrize("policy, message", [
    ({"access": "some"}, "'internet': 'access' must be off, common, list or public"),
    ({}, "'internet': 'access' must be off, common, list or public"),
    ({"access": "list", "allow": "github.com"}, "'internet': 'allow' must be an array"),
    ({"access": "list", "allow": [1]}, "'internet': 'allow': a rule must be a string"),
    ({"access": "list", "allow": ["exa mple.com"]}, "'internet': 'allow': 'exa?mple.com' is not a host"),
    ({"access": "public", "allow_private": ["10.0.0.1/8"]}, "'internet': 'allow_private': '10.0.0.1/8' is not a network"),
    ({"access": "public", "resolver": "dns.example"}, "'internet': 'resolver' must be an address"),
    ({"access": "public", "limits": {"idle_ms": 0}}, "'internet': 'limits.idle_ms' must be milliseconds"),
    ([], "'internet': 'access' must be"),
])
def test_a_policy_that_cannot_be_used(policy, message):
    """The gateway does not start with less than it was told."""
    with Gateway(wire_api="none", internet=policy, listen=False) as gateway:
        assert gateway.wait() == 10
        assert "gateway.json: " + message in gateway.log()


def test_a_model_listener_without_a_model():
    with Proxy(internet(), listen=False) as proxy:
        Proxy.listen(proxy, kind=LISTENER_MODEL)
        assert proxy.wait() == EXIT_CONTROL
        assert LISTENER_PROXY == 1
