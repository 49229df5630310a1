"""codex-gateway's HTTP proxy: what it refuses, in whatever disguise, and what it says then."""
import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from support.gateway import FINISHING, LIMIT, LISTENER_SIDE_PROXY, NARROW, NARROWED, PHASE_STARTED, WORKING
from support.proxy import Host, NameServer, Proxy, answer, client_hello, echo, internet, read_all, until

@pytest.fixture(name="public", scope="module")
def fixture_public():
    """What everybody has by default."""
    with Proxy({"access": "public"}) as proxy:
        yield proxy


LOOPBACK = ["127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.1",
            "017700000001", "0177.0.0.1", "0177.1", "0177.0x0.1", "00000177.0.0.01", "[::1]", "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "LOCALHOST", "a.localhost"]
SPECIAL = ["0.0.0.0", "0", "0.1.2.3", "[::]", "10.0.0.1", "0xa.1", "167772161", "100.64.0.1", "100.127.255.255",
           "169.254.169.254", "0xa9fea9fe", "2852039166", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
           "[fd00:ec2::254]", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.170", "192.88.99.1", "198.18.0.1",
           "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fdff::1]",
           "[ff02::1]", "[2002:a00:1::1]", "[2002:c0a8:101::]", "[64:ff9b:1::1]", "[2001::1]", "[100::1]", "[5f00::1]",
           "[4000::1]", "[::ffff:0:127.0.0.1]"]


@pytest.mark.parametrize("host", LOOPBACK + SPECIAL)
def test_no_spelling_reaches_a_special_address(public, host):
    """Neither by a tunnel nor by a plain request."""
    assert public.refused(f"{host}:443")[:2] == (403, "private_address")
    got = public.get(f"http://{host}/")
    assert (got.status, got.headers["x-codex-denied"]) == (403, "private_address")


def test_no_rule_but_a_private_one_opens_them():
    """`allow` with any host and port is about public ones."""
    with Proxy({"access": "list", "allow": ["*", "*:8080", "0.0.0.0/0:8080", "[::]/0:8080", "*.localhost:8080"]}) as proxy:
        for host in LOOPBACK + SPECIAL:
            assert proxy.refused(f"{host}:8080")[:2] == (403, "private_address"), host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("port", [64080, 64081])
def test_the_gateways_own_ports_are_closed(host, port):
    """Whatever is allowed: the model's listener, and the proxy itself."""
    policy = {"access": "public", "allow": [f"*:{port}"],
              "allow_private": [f"127.0.0.0/8:{port}", f"localhost:{port}", f"0.0.0.0:{port}", f"[::1]:{port}", f"[::]:{port}"]}
    with Proxy(policy) as proxy:
        assert proxy.refused(f"{host}:{port}")[:2] == (403, "own_address")
        assert proxy.get(f"http://{host}:{port}/v1/responses", method="POST").headers["x-codex-denied"] == "own_address"


@pytest.mark.parametrize("port", [22, 25, 21, 23, 8080, 8443, 3128, 5432, 6379, 65535, 1])
def test_other_ports_are_closed(public, port):
    status, reason, sentence = public.refused(f"example.com:{port}")
    assert (status, reason) == (403, "port_not_allowed")
    assert sentence == (f"codex: port {port} of example.com is closed to this sandbox; to allow it, add "
                        f"'allow = example.com:{port}' to [internet] in the server's codex.conf\n")


@pytest.mark.parametrize("authority", [
    "example.com", "example.com:", "example.com:0", "example.com:65536", "example.com:443x", "example.com:-1",
    "example.com:+443", "example.com: 443", "example.com:0x1bb", "example.com:443:443", ":443", "example.com.:443",
    ".example.com:443", "example..com:443", "-a.com:443", "a-.com:443", "ex%61mple.com:443", "user@example.com:443",
    b"ex\xc3\xa4mple.com:443", b"example.com\x00.allowed.test:443", b"example.com\t:443", "[::1:443", "[example.com]:443",
    "[127.0.0.1]:443", "::1:443", "[::1]443", "[fe80::1%25lo]:443", "[fe80::1%lo]:443", "1.2.3.4.5:443", "256.1.1.1:443",
    "1.2.3.09:443", "0x:443x", "1.2.3.4294967296:443", "99999999999:443", "a" * 64 + ".com:443", "a." * 127 + "com:443", "[]:443",
    "a/b:443", "a\\b:443", "a,b:443", "*.example.com:443", "(a):443",
])
def test_what_is_no_host(public, authority):
    """400; nothing is looked up."""
    assert public.refused(authority)[0] == 400


def test_a_long_name_is_a_name(public):
    """253 bytes in parts of 63; it does not exist."""
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(name) == 253
    assert public.refused(f"{name}:25")[1] == "port_not_allowed"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "100.100.100.200", "::1",
                                     "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fe80::1"])
def test_names_of_private_addresses(address):
    """Checked after the look-up. The event has the address; the program is not told it."""
    with NameServer({"evil.test": [[address]]}) as names, Proxy({"access": "public", "resolver": names.address}) as proxy:
        status, reason, sentence = proxy.refused("evil.test:443")
        assert (status, reason) == (403, "private_address")
        assert "evil.test is no public address (" in sentence and address not in sentence
        assert "add 'allow_private = evil.test:443'" in sentence
        (event,) = proxy.events("network.denied")
        assert event["address"] in (address, address.removeprefix("::ffff:"))


def test_one_private_address_among_public_ones():
    """The whole name is refused, whatever comes first; no connection is made."""
    with Host(echo) as host:
        for addresses in (["192.0.2.99", "127.0.0.1"], ["127.0.0.1", "192.0.2.99"], ["2001:db8::1", "127.0.0.1"]):
            with NameServer({"mixed.test": [addresses]}) as names, \
                    Proxy({"access": "public", "allow": [f"*:{host.port}"], "resolver": names.address}) as strict:
                assert strict.refused(f"mixed.test:{host.port}")[:2] == (403, "private_address")
        assert host.connections == 0


def test_rebinding():
    """Public when it is looked up first, private the second time: each connection is checked by the addresses that it
    is made to, and nobody asks again in between."""
    with Host(echo) as host:
        turns = [["192.0.2.99"], ["127.0.0.1"], ["192.0.2.99"], ["127.0.0.1"]]
        with NameServer({"rebind.test": turns}) as names, \
                Proxy({"access": "public", "allow": [f"*:{host.port}"], "resolver": names.address,
                       "limits": {"connect_ms": 300}}) as proxy:
            first = proxy.refused(f"rebind.test:{host.port}")
            assert first[0] != 403 and first[1] is None      # tried, whether somebody is there or not
            assert proxy.refused(f"rebind.test:{host.port}")[:2] == (403, "private_address")
            assert host.connections == 0
            assert len([kind for _, kind in names.questions if kind == 1]) == 2


def own_addresses():
    """Of this machine, outside of loopback and the ranges that are refused anyway."""
    lines = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split()[3].partition("/")[0] for line in lines]
    private = re.compile(r"127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd]|fe80|::1$")
    return [address for address in found if not private.match(address)]


def test_the_machines_own_address():
    """A public address of the machine itself is not reached: what listens there trusts it."""
    addresses = own_addresses()
    if not addresses:
        pytest.skip("this machine has private addresses only")
    for address in addresses:
        text = f"[{address}]" if ":" in address else address
        with NameServer({"me.test": [[address]]}) as names, Proxy({"access": "public", "resolver": names.address}) as proxy:
            assert proxy.refused(f"{text}:443")[:2] == (403, "own_address")
            assert proxy.refused("me.test:443")[:2] == (403, "own_address")


def test_off():
    """Nothing, and no question to a name server either."""
    with NameServer({"example.com": [["192.0.2.99"]]}) as names, Proxy({"access": "off", "resolver": names.address}) as proxy:
        for authority in ("example.com:443", "192.0.2.99:80", "127.0.0.1:64080"):
            status, reason, sentence = proxy.refused(authority)
            assert (status, reason) == (403, "internet_off") and "[internet] access is off" in sentence
        assert names.questions == []
    with Proxy(None) as proxy:      # a gateway that is told nothing
        assert proxy.refused("example.com:443")[1] == "internet_off"


@pytest.mark.parametrize("host, allowed", [
    ("allowed.test", True), ("ALLOWED.test", True), ("sub.allowed.test", False), ("evilallowed.test", False),
    ("allowed.test.evil.test", False), ("below.test", False), ("a.below.test", True), ("a.b.below.test", True),
    ("xbelow.test", False), ("other.test", False), ("192.0.2.99", False), ("198.51.100.7", True), ("0xc6.0x33.0x64.7", True),
    ("203.0.113.200", True),
])
def test_a_list_is_matched_at_its_dots(host, allowed):
    names = {name: [["198.51.100.7"]] for name in ("allowed.test", "a.below.test", "a.b.below.test", "other.test")}
    policy = {"access": "list", "allow": ["allowed.test", "*.below.test", "198.51.100.7", "203.0.113.192/26"],
              "limits": {"connect_ms": 50}}
    with NameServer(names) as server, Proxy({**policy, "resolver": server.address}) as proxy:
        status, reason, _ = proxy.refused(f"{host}:80")
        # Whether anybody is there does not matter.
        assert reason == (None if allowed else "host_not_allowed") and (status == 403) != allowed
        if not allowed:
            assert server.questions == []       # a name that is not listed is not even looked up
        assert proxy.refused(f"{host}:22")[1] == ("port_not_allowed" if allowed else "host_not_allowed")


def test_ports_of_a_list():
    with Host(echo) as host, Host(echo) as other, NameServer({"site.test": [["127.0.0.1"]]}) as names:
        policy = {"access": "list", "allow_private": [f"site.test:{host.port}"], "resolver": names.address}
        with Proxy(policy) as proxy:
            proxy.tunnel(f"site.test:{host.port}").close()
            assert proxy.refused(f"site.test:{other.port}")[1] == "port_not_allowed"
            assert proxy.refused("site.test:443")[1] == "port_not_allowed"
            assert proxy.refused(f"127.0.0.1:{host.port}")[1] == "host_not_allowed"


def test_common_is_the_file():
    """Hosts of common.txt are asked for, others are not; and `allow` adds to it."""
    path = pathlib.Path(__file__).parents[2] / "src/gateway/egress/common.txt"
    hosts = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    hosts = [host for host in hosts if host]
    assert len(hosts) == len(set(hosts)) > 100
    answers = {host: [["127.0.0.9"]] for host in [*hosts, "mine.test"]}
    with NameServer(answers) as names, Proxy({"access": "common", "allow": ["mine.test"], "resolver": names.address}) as proxy:
        for host in [*hosts, "mine.test"]:
            assert proxy.refused(f"{host}:443")[1] == "private_address", host   # let through, and then found on loopback
        for host in ("example.com", "x.github.io", "evilgithub.com", "github.com.evil.test", "bucket.s3.amazonaws.com"):
            assert proxy.refused(f"{host}:443")[1] == "host_not_allowed"
        assert {name for name, _ in names.questions} == {*hosts, "mine.test"}


def test_no_search_domains_are_tried():
    """A short name is asked for as it is (see test_gateway_dns.py for a machine that has search domains)."""
    with NameServer({"intranet": [["192.0.2.99"]]}) as names, \
            Proxy({"access": "public", "resolver": names.address, "limits": {"connect_ms": 50}}) as proxy:
        proxy.refused("intranet:443")
        proxy.refused("nothere:443")
        assert {name for name, _ in names.questions} == {"intranet", "nothere"}


# ---- TLS within a tunnel, where not every host may be reached

def tls(host, *more):
    return {"access": "list", "allow_private": [host, *more]}


ECH = b"\xfe\x0d\x00\x04abcd"


@pytest.mark.parametrize("hello", [
    client_hello(b"evil.test"),
    client_hello(b"tls.test.evil.test"),
    client_hello(b"tls.test\x00"),
    client_hello(b"tls.test."),
    client_hello(None),
    client_hello(b""),
    client_hello(b"tls.test", more_extensions=ECH),
    client_hello(b"tls.test", more_extensions=client_hello(b"evil.test")[-18:]),
    client_hello(b"tls.test")[:5] + b"\x02" + client_hello(b"tls.test")[6:],
    b"GET / HTTP/1.1\r\n\r\n",
    b"SSH-2.0-test\r\n",
    b"\x80\x2e\x01\x03\x01" + bytes(60),
    b"\x16\x03\x01\xff\xff" + bytes(100),
    b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(100),
])
def test_a_tunnel_to_another_host_by_tls(hello):
    """In `list` and `common` a tunnel to port 443 has to ask for the host that it was opened for: the host hears nothing."""
    with forwarded_443() as host:
        received = host.received
        with NameServer({"tls.test": [[host.address]]}) as names, \
                Proxy({**tls("tls.test:443"), "resolver": names.address}) as proxy:
            with proxy.tunnel("tls.test:443", hello) as connection:
                data, _ = read_all(connection)
            assert data in (b"", b"\x15\x03\x03\x00\x02\x02\x31")
            assert until(lambda: proxy.denied()) == [("tls.test", 443, "tls_name", 1)]
        assert received == [b""] * len(received)


class forwarded_443:  # pylint: disable=invalid-name
    """A host on port 443 of a loopback address that nobody else uses."""

    def __enter__(self):
        if os.geteuid() != 0:
            pytest.skip("port 443 is root's")
        self.received = []
        for last in range(2, 250):
            self.address = f"127.43.{os.getpid() % 250}.{last}"
            try:
                self._listener = socket.create_server((self.address, 443))
                break
            except OSError:
                continue
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a thread in accept() would keep it listening
        self._listener.close()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                data = b""
                try:
                    while piece := connection.recv(65536):
                        data += piece
                        connection.sendall(b"got %d" % len(piece))
                except OSError:
                    pass
                self.received.append(data)


@pytest.mark.parametrize("pieces", [1, 3, 50])
def test_tls_for_the_host_goes_through(pieces):
    """However it is cut, by TCP and into records; in `public` anything goes through."""
    hello = client_hello(b"TLS.test")
    body = hello[5:]
    split = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (body[:3], body[3:40], body[40:]))
    for access, data in (("list", hello), ("list", split), ("public", b"anything"), ("public", client_hello(b"evil.test"))):
        with forwarded_443() as host, NameServer({"tls.test": [[host.address]]}) as names, \
                Proxy({"access": access, "allow_private": ["tls.test:443"], "resolver": names.address}) as proxy:
            with proxy.tunnel("tls.test:443") as connection:
                step = -(-len(data) // pieces)
                for at in range(0, len(data), step):
                    connection.sendall(data[at:at + step])
                    time.sleep(0.001)
                assert connection.recv(100).startswith(b"got ")
                connection.shutdown(socket.SHUT_WR)
                read_all(connection)
            assert until(lambda: host.received) == [data]
            assert proxy.denied() == []


def test_a_tls_greeting_has_its_time():
    with forwarded_443() as host, NameServer({"tls.test": [[host.address]]}) as names, \
            Proxy({**tls("tls.test:443"), "resolver": names.address, "limits": {"hello_ms": 300}}) as proxy:
        with proxy.tunnel("tls.test:443", client_hello(b"tls.test")[:-1]) as connection:
            assert read_all(connection)[0] == b""
        assert until(lambda: proxy.denied()) == [("tls.test", 443, "tls_name", 1)]


def test_a_real_tls_client(tmp_path):
    """OpenSSL's greeting, with a server behind it."""
    key, certificate = tmp_path / "key", tmp_path / "cert"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                    "-subj", "/CN=tls.test", "-addext", "subjectAltName=DNS:tls.test"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(_, connection):
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"secret " + secure.recv(100))
    with Host(serve) as host, NameServer({"tls.test": [["127.0.0.1"]]}) as names, \
            Proxy({**tls(f"tls.test:{host.port}"), "resolver": names.address}) as proxy:
        client = ssl.create_default_context(cafile=certificate)
        with client.wrap_socket(proxy.tunnel(f"tls.test:{host.port}"), server_hostname="tls.test") as secure:
            secure.sendall(b"words")
            assert secure.recv(100) == b"secret words"


# ---- how it is told

def test_a_refusal_says_what_to_change(public):
    """In the header, in a sentence, and in the line that programs show of a refused CONNECT."""
    with public.open(b"CONNECT 10.1.2.3:443 HTTP/1.1\r\n\r\n") as connection:
        data, _ = read_all(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 403 Forbidden by Codex: private_address"
    assert "X-Codex-Denied: private_address" in lines and f"Content-Length: {len(body)}" in lines
    assert body == (b"codex: 10.1.2.3 is no public address (private network); to allow it, add 'allow_private = 10.1.2.3:443' to "
                    b"[internet] in the server's codex.conf\n")
    assert b"ask it directly (set no_proxy" in public.get("http://127.0.0.1:3000/").body


def test_what_a_sentence_advises_works():
    """Each advice, taken, leads to the host."""
    with Host(answer(b"ok")) as host, NameServer({"site.test": [["127.0.0.1"]]}) as names:
        policy = {"access": "list", "allow": [], "allow_private": [], "resolver": names.address}
        for advised in ("allow", "allow_private"):
            with Proxy(policy) as proxy:
                got = proxy.get(f"http://site.test:{host.port}/")
            advice = re.search(r"add '(\w+) = (\S+)'", got.body.decode())
            assert got.status == 403 and advice[1] == advised
            policy[advised].append(advice[2])
        with Proxy(policy) as proxy:
            assert proxy.get(f"http://site.test:{host.port}/").body == b"ok"


def test_events_are_few():
    """The first refusal at once; repetitions are counted; places beyond the 128th are counted together."""
    with Proxy({"access": "public"}) as proxy:
        proxy.send(PHASE_STARTED, phase=WORKING)
        for _ in range(50):
            proxy.refused("example.com:22")
        assert proxy.denied() == [("example.com", 22, "port_not_allowed", 1)]
        for port in range(1000, 1200):
            proxy.refused(f"example.com:{port}")
        proxy.send(PHASE_STARTED, phase=FINISHING)
        assert until(lambda: len(proxy.denied()) == 130)
        events = proxy.events("network.denied")
        assert [event["count"] for event in events if event["port"] == 22] == [1, 49]
        assert events[-1]["host"] is None and events[-1]["reason"] == "others" and events[-1]["count"] == 73
        assert {event["phase"] for event in events} == {"working"}
        assert all("message" in event for event in events)


def test_a_flood_costs_little():
    """Ten thousand refusals: a bounded file, and a gateway that still answers."""
    with Proxy({"access": "public"}) as proxy:
        for i in range(2000):
            with proxy.open(b"".join(b"CONNECT host%d-%d.test:25 HTTP/1.1\r\n\r\n" % (i, j) for j in range(5))):
                pass
        assert proxy.refused("example.com:22")[0] == 403
        proxy.send(PHASE_STARTED, phase=FINISHING)
        assert until(lambda: proxy.events("phase.started"))
        assert proxy.event_path.stat().st_size < 200000


def test_hostile_names_are_harmless_in_the_file(public):
    """Whatever stands in a request, the events are JSON, and the sentences one line."""
    for authority in (b"a\"b:443", b"a\\u0000:443", b"\xff\xfe:443", b"a\x1b[31m:443"):
        assert public.refused(authority)[0] == 400
    for event in public.events():
        json.dumps(event)


def narrowing(value):
    """What the base's checkout says, with this `internet`."""
    return json.dumps({"commit": "0" * 40, "internet": value}).encode()


def test_nobody_is_let_out_before_the_repository_was_heard():
    """Who connects meanwhile waits, and is judged by what it says."""
    with Host(answer(b"hello")) as host, Host(answer(b"other")) as other, \
            Proxy(internet(host, other), repository_narrows=True) as proxy:
        early = proxy.open(b"GET http://127.0.0.1:%d/ HTTP/1.0\r\n\r\n" % other.port)
        early.settimeout(0.3)
        with pytest.raises(TimeoutError):
            early.recv(1)
        assert other.connections == 0
        proxy.send(NARROW, payload=narrowing({"access": "list", "allow": [f"127.0.0.1:{host.port}"]}))
        early.settimeout(20)
        refused = early.recv(65536)
        early.close()
        assert b"403 " in refused and b"X-Codex-Denied: narrowed_by_repository" in refused
        assert proxy.get(f"http://127.0.0.1:{host.port}/").body == b"hello"
        # A listener that comes later is not held, and has the same policy.
        proxy.listen(kind=LISTENER_SIDE_PROXY)
        status, word, text = proxy.refused(f"127.0.0.1:{other.port}")
        assert (status, word) == (403, "narrowed_by_repository")
        assert f"add 'allow = 127.0.0.1:{other.port}' to .codex/environment.conf" in text
        # What the server does not allow stays the server's to say.
        assert proxy.refused("10.0.0.1:80")[1] == "private_address"
        assert other.connections == 0
        assert "internet: narrowed by .codex/environment.conf to 'list'" in proxy.output()
        proxy.close()


def test_the_runner_is_told_numbers_and_nothing_else():
    """Of what a repository says of limits: those that can be, whatever else is there."""
    hostile = {"memory_bytes": 1 << 30, "cpu_milli": "1; reboot", "pids": 100, "disk_bytes": -5, "others": [{}]}
    for limits, expected in ((hostile, [(LIMIT, 0, 1 << 30), (LIMIT, 2, 100)]), (None, []), ([1], []), ("x", []),
                             ({"pids": 1 << 62, "memory_bytes": 1, "cpu_milli": 1e300}, [])):
        with Proxy({"access": "off"}, repository_narrows=True) as proxy:
            proxy.send(NARROW, payload=json.dumps({"internet": None, "limits": limits}).encode())
            assert [proxy.receive() for _ in range(len(expected) + 1)] == expected + [(NARROWED, 0)]
            assert ("asks for no more pids than 100 processes" in proxy.output()) == (limits is hostile)
            proxy.close()


WIDENING = {
    "null narrows nothing": (narrowing(None), None),
    "public": (narrowing({"access": "public", "allow": ["*"], "allow_private": ["0.0.0.0/0"]}), None),
    "everything": (narrowing({"access": "list", "allow": ["*", "*:22", "0.0.0.0/0", "10.0.0.0/8"]}), None),
    "off": (narrowing({"access": "off", "allow": ["*"]}), "narrowed_by_repository"),
    "nothing was said": (b'{"commit":"0"}', "narrowed_by_repository"),
    "no JSON": (b"internet = public", "narrowed_by_repository"),
    "nothing": (b"", "narrowed_by_repository"),
    "a bad rule": (narrowing({"access": "list", "allow": ["*", "http://x"]}), "narrowed_by_repository"),
    "said twice": (b'{"internet":{"access":"off"},"internet":null}', "narrowed_by_repository"),
    "deep": (b'{"internet":' + b"[" * 5000 + b"]" * 5000 + b"}", "narrowed_by_repository"),
    "large": (narrowing({"access": "list", "allow": ["*"] * 600}), "narrowed_by_repository"),
}


@pytest.mark.parametrize("what", WIDENING)
def test_no_repository_widens(what):
    payload, word = WIDENING[what]
    with Host(answer(b"hello")) as host, Proxy(internet(host, access="list"), repository_narrows=True) as proxy:
        proxy.send(NARROW, payload=payload)
        assert proxy.refused("10.0.0.1:80")[1] == "host_not_allowed"
        assert proxy.refused("example.com:443")[1] == "host_not_allowed"
        assert proxy.refused("127.0.0.1:22")[1] == "private_address"
        got = proxy.get(f"http://127.0.0.1:{host.port}/")
        if what == "everything":    # its rules name other ports
            word = "narrowed_by_repository"
        assert (got.headers.get("x-codex-denied"), got.body == b"hello") == (word, word is None)
        assert ("not known" in proxy.output()) == (word is not None and what not in ("off", "everything"))
        proxy.close()
