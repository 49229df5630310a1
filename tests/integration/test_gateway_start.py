"""codex-gateway: its start, its privileges, its end."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from support.codex import IS_SANITIZED, wait_for
from support.gateway import (BUILD, EXIT_CONTROL, EXIT_DISK_FULL, EXIT_DONE, EXIT_EVENTS, EXIT_START, LISTEN, NOTE,
                             PHASE_STARTED, STREAM, Gateway, control)

REPLAY = [{"replay": 1}]


def status_of(gateway):
    """/proc/PID/status as a dictionary."""
    lines = pathlib.Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}


def ready(gateway):
    """Wait until it takes messages."""
    gateway.send(NOTE, payload=b"ready\n")
    wait_for(lambda: "ready" in gateway.output(), what="the gateway is ready")


def test_privileges_are_gone_in_the_running_process():
    """Checked from outside, in /proc."""
    with Gateway(replay=REPLAY) as gateway:
        ready(gateway)
        status = status_of(gateway)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert status["Threads"] == "1"
        limits = pathlib.Path(f"/proc/{gateway.pid}/limits").read_text()
        assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
        if os.geteuid() == 0:
            assert int(status["CapBnd"], 16) == 0
            assert status["Uid"].split() == ["65534"] * 4
            assert status["Gid"].split() == ["65534"] * 4
            assert status["Groups"] == ""
            # Not dumpable: its files in /proc are root's although it is not.
            assert os.stat(f"/proc/{gateway.pid}/environ").st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="starts processes of other users")
def test_nobody_of_its_own_uid_can_look_into_it():
    """Another process of uid 65534 finds neither its memory nor its environment nor its descriptors."""
    with Gateway(replay=REPLAY) as gateway:
        ready(gateway)
        for name in ("mem", "environ", "maps", "fd/3"):
            done = subprocess.run(["cat", f"/proc/{gateway.pid}/{name}"], user=65534, group=65534,
                                  extra_groups=[], capture_output=True, check=False)
            assert done.returncode != 0 and b"Permission denied" in done.stderr, name


def test_it_holds_only_what_it_was_given():
    """Descriptors that were open by accident are closed; the configuration is not kept open."""
    with Gateway(replay=REPLAY, more_fds={7: 0, 50: 0}) as gateway:
        ready(gateway)
        links = {int(fd): os.readlink(f"/proc/{gateway.pid}/fd/{fd}")
                 for fd in os.listdir(f"/proc/{gateway.pid}/fd")}
        assert links[4].endswith("events.jsonl")
        assert 50 not in links and links.get(7) != os.readlink("/proc/self/fd/0")
        assert [fd for fd, link in links.items() if link.startswith("/memfd")] == [6]


def test_without_its_descriptors_it_says_who_starts_it():
    """By hand, for example."""
    done = subprocess.run([BUILD / "codex-gateway"], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == EXIT_START
    assert done.stderr.count("\n") == 1
    assert "codex-gateway is started by codex-runner" in done.stderr


@pytest.mark.parametrize("change, message", [
    ({"wire_api": "smoke"}, "'wire_api' must be responses, chat, messages, replay or none, not 'smoke'"),
    ({"base_url": "ftp://host/"}, "'base_url' must be http:// or https://"),
    ({"base_url": "http://user:pw@host/"}, "'base_url' must be http:// or https://"),
    ({"key": "with space"}, "'key' must be a string of"),
    ({"key": "two\r\nlines"}, "'key' must be a string of"),
    ({"model": ""}, "'model' must be a string of"),
    ({"model": "a\"b"}, "'model' must be a string of"),
    ({"sandbox_key": "short"}, "'sandbox_key' must be a string of 16"),
    ({"budget_tokens": -1}, "'budget_tokens' must be a whole number"),
    ({"budget_tokens": "many"}, "'budget_tokens' must be a whole number"),
    ({"used_tokens": None}, "'used_tokens' must be a whole number"),
    ({"first_byte_timeout_ms": 0}, "'first_byte_timeout_ms' must be a whole number"),
])
def test_a_bad_configuration_is_one_clear_line(change, message):
    """And the exit status that says that there is no use in trying again."""
    with Gateway(listen=False, **{"base_url": "http://127.0.0.1:9/v1", **change}) as gateway:
        assert gateway.wait() == EXIT_START
        assert gateway.log().count("\n") == 1
        assert "gateway.json: " + message in gateway.log()


def test_a_replay_without_its_file_is_told():
    """The configuration says replay, the runner handed nothing over."""
    with Gateway(wire_api="replay", listen=False) as gateway:
        assert gateway.wait() == EXIT_START
        assert "no replay file was handed over" in gateway.log()


def test_a_closed_control_socket_ends_it():
    """What its streams hold by then is in the file, also of a stream that is still open."""
    with Gateway(replay=REPLAY) as gateway:
        _, pipe = gateway.stream()
        pipe.write(b"the last words")
        ready(gateway)
        gateway.close()
        assert "the last words" in gateway.output()
        assert gateway.log() == ""


def test_sigterm_ends_it_the_same_way():
    """SIGINT and SIGHUP, which a terminal sends to everybody, do not."""
    with Gateway(replay=REPLAY) as gateway:
        _, pipe = gateway.stream()
        pipe.write(b"the last words")
        ready(gateway)
        os.kill(gateway.pid, signal.SIGINT)
        os.kill(gateway.pid, signal.SIGHUP)
        ready(gateway)
        os.kill(gateway.pid, signal.SIGTERM)
        assert gateway.wait() == EXIT_DONE
        assert "the last words" in gateway.output()


@pytest.mark.parametrize("message", [
    b"",
    b"short",
    control(NOTE, payload=b"x")[:-1],
    control(NOTE) + b"more than it says",
    control(99),
    control(0),
    control(100),
    control(PHASE_STARTED, phase=5),
    control(LISTEN),
    control(STREAM, stream=1),
    control(8, outcome=3),
    control(8, fault=7),
    control(STREAM, kind=2),
    b"\xff" * 128,
])
def test_a_malformed_message_ends_it(message):
    """The runner is trusted, a broken one is not guessed at. (An empty message is the end.)"""
    with Gateway(replay=REPLAY) as gateway:
        ready(gateway)
        gateway.control.send(message)
        assert gateway.wait() == (EXIT_CONTROL if message else EXIT_DONE)
        if message:
            assert "the control socket: a malformed message from the runner" in gateway.log()


def test_a_message_with_a_descriptor_too_many_ends_it():
    """And the descriptor is closed with it."""
    with Gateway(replay=REPLAY) as gateway:
        gateway.send(NOTE, fd=0, payload=b"x")
        assert gateway.wait() == EXIT_CONTROL


def test_a_listener_that_is_none_ends_it():
    """A regular file cannot be waited for."""
    with Gateway(replay=REPLAY) as gateway:
        with open("/etc/passwd", "rb") as file:
            gateway.send(LISTEN, fd=file.fileno())
        assert gateway.wait() == EXIT_CONTROL
        assert gateway.log().count("\n") == 1


def test_a_new_listener_takes_the_place_of_the_old():
    """The old one is closed: it would keep its network namespace alive."""
    with Gateway(replay=[{"replay": 1}]) as gateway:
        old = gateway.port
        gateway.listen()
        assert gateway.ask().error == "replay_ended"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old))


def test_a_full_disk_has_its_own_exit_status():
    """Every write to /dev/full fails as on a full disk."""
    full = os.open("/dev/full", os.O_RDWR | os.O_APPEND)
    with Gateway(replay=REPLAY, events=full) as gateway:
        gateway.send(PHASE_STARTED)
        assert gateway.wait() == EXIT_DISK_FULL
        assert gateway.log().count("\n") == 1
        assert "the event file: cannot write: No space left on device" in gateway.log()
    os.close(full)


def test_a_broken_event_file_has_another():
    """A pipe whose reader has gone, in place of an I/O error."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with Gateway(replay=REPLAY, events=write_end) as gateway:
        gateway.send(PHASE_STARTED)
        assert gateway.wait() == EXIT_EVENTS
        assert "the event file: cannot write: Broken pipe" in gateway.log()
    os.close(write_end)


@pytest.mark.skipif(IS_SANITIZED, reason="the sanitizers' own memory is not the gateway's")
def test_an_idle_gateway_is_small():
    """Its own memory: what is written to, and what is not shared."""
    with Gateway(base_url="https://127.0.0.1:9/v1") as gateway:
        ready(gateway)
        memory = gateway.memory()
        assert memory["Dirty"] < 2048, memory
        assert memory["Pss"] < 5120, memory
