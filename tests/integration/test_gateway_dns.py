"""codex-gateway: names come from the DNS that resolv.conf names, without a thread and confined.

The tests run in network and mount namespaces of their own, with a name server on 127.0.0.1:53.
"""
import ctypes
import json
import os
import signal
import socket
import struct
import tempfile
import threading
import traceback

import pytest

from support.gateway import Gateway
from support.proxy import Proxy
from support.raw_provider import USAGE, RawProvider, says, whole

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces")

ANSWER = whole(200, json.dumps({"object": "response", "output": [], "usage": USAGE}).encode())
CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 0x40000000, 0x4000, 1 << 18, 0x1000
TYPE_A, TYPE_AAAA = 1, 28
LIBC = ctypes.CDLL(None, use_errno=True)


class NameServer:
    """Answers for provider.test with 127.0.0.1, after IGNORED questions; nothing else exists."""

    def __init__(self, ignored=0):
        self.ignored = ignored
        self.questions = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            query, client = self._socket.recvfrom(4096)
            name, kind, end = self._question(query)
            self.questions.append((name, kind))
            if len(self.questions) > self.ignored:
                self._socket.sendto(self._answer(query, name, kind, end), client)

    @staticmethod
    def _question(query):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode())
            at += 1 + length
        return ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0], at + 5

    @staticmethod
    def _answer(query, name, kind, end):
        known = name == "provider.test"
        has = known and kind == TYPE_A
        flags = 0x8180 if known else 0x8183      # no error, or NXDOMAIN
        head = query[:2] + struct.pack(">HHHHH", flags, 1, int(has), 0, 0)
        record = struct.pack(">HHHIH", 0xc00c, TYPE_A, 1, 60, 4) + bytes([127, 0, 0, 1]) if has else b""
        return head + query[12:end] + record


def check(result):
    """Raise what a call of libc left in errno."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter_namespaces(resolv_conf="nameserver 127.0.0.1\noptions timeout:1\n"):
    """No network but loopback, and 127.0.0.1 as the name server."""
    check(LIBC.unshare(CLONE_NEWNS | CLONE_NEWNET))
    check(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(resolv_conf)
        file.flush()
        os.chmod(file.name, 0o644)
        check(LIBC.mount(file.name.encode(), os.path.realpath("/etc/resolv.conf").encode(), None, MS_BIND,
                         None))
    request = struct.pack("16sh14x", b"lo", 1 | 0x40)       # IFF_UP | IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        import fcntl
        fcntl.ioctl(control, 0x8914, request)               # SIOCSIFFLAGS


def in_namespaces(test, *more):
    """Run TEST in a child that lives in namespaces of its own."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(60)
            enter_namespaces(*more)
            test()
            status = 0
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_name_is_asked_for_once_in_a_while():
    """Not again for each request: the answer is used for a minute."""
    def test():
        server = NameServer()
        with RawProvider(says(ANSWER)) as provider, \
                Gateway(base_url=f"http://provider.test:{provider.port}/v1") as gateway:
            for _ in range(3):
                assert gateway.ask().status == 200
            assert {name for name, _ in server.questions} == {"provider.test"}
            assert sorted(kind for _, kind in server.questions) == [TYPE_A, TYPE_AAAA]
            assert f"Host: provider.test:{provider.port}" in provider.heads[0]
    in_namespaces(test)


def test_a_lost_question_is_asked_again():
    """Datagrams get lost; the request only takes longer."""
    def test():
        NameServer(ignored=2)
        with RawProvider(says(ANSWER)) as provider, \
                Gateway(base_url=f"http://provider.test:{provider.port}/v1") as gateway:
            assert gateway.ask().status == 200
    in_namespaces(test)


def test_a_name_that_does_not_exist_is_told():
    """And asked for again at the next request: it may exist by then."""
    def test():
        server = NameServer()
        with Gateway(base_url="http://nowhere.test/v1") as gateway:
            for _ in range(2):
                before = len(server.questions)
                got = gateway.ask()
                assert (got.status, got.error) == (502, "provider_unreachable")
                assert "cannot resolve 'nowhere.test': Domain name not found" in got.message
                assert len(server.questions) > before
    in_namespaces(test)


def test_requests_wait_together_for_an_address():
    """Many at once, one question; a client that leaves meanwhile takes nobody along."""
    def test():
        server = NameServer(ignored=2)
        with RawProvider(says(ANSWER)) as provider, \
                Gateway(base_url=f"http://provider.test:{provider.port}/v1") as gateway:
            from support.gateway import MODEL, request
            leaving = gateway.connect()
            leaving.sendall(request(json.dumps({"model": MODEL}).encode()))
            statuses = []
            threads = [threading.Thread(target=lambda: statuses.append(gateway.ask().status))
                       for _ in range(5)]
            for thread in threads:
                thread.start()
            leaving.close()
            for thread in threads:
                thread.join(20)
            assert statuses == [200] * 5
            assert len(server.questions) <= 6
    in_namespaces(test)


def test_a_silent_name_server_is_a_timeout():
    """Bounded by the first-byte time, like everything before the answer."""
    def test():
        NameServer(ignored=1000)
        with Gateway(base_url="http://provider.test/v1", first_byte_timeout_ms=500) as gateway:
            got = gateway.ask()
            assert (got.status, got.error) == (504, "provider_timeout")
            gateway.close()
    in_namespaces(test)


def test_the_sandbox_gets_none_of_the_search_domains():
    """A short name that a program asks for is not completed by the machine's domain: that would reach what is inside."""
    def test():
        server = NameServer()
        with Proxy({"access": "public"}) as proxy:
            assert proxy.refused("intranet:443")[0] == 502
            assert proxy.refused("provider.test:443")[:2] == (403, "private_address")
        assert {name for name, _ in server.questions} == {"intranet", "provider.test"}
    in_namespaces(test, "nameserver 127.0.0.1\nsearch corp.test inside.test\noptions timeout:1 ndots:3\n")
