#!/usr/bin/python3
"""Stands for codex-gateway in tests of the runner: writes down every message and stream that it gets, as JSON lines in the
event file, and answers "hello" on the listener."""
import json
import os
import socket
import struct
import threading

HEADER = struct.Struct("=IIIiqIIQIIIIQ32sI4x")
LISTEN, PHASE_STARTED, PHASE_COMPLETED, STREAM, STREAM_STOP, LIMIT_HIT, NOTE, RUN_ENDED, UNLISTEN, NARROW = range(1, 11)
STREAM_ENDED, WRITTEN, LIMIT, NARROWED = 100, 101, 102, 103
NAMES = {LISTEN: "listen", PHASE_STARTED: "phase.started", PHASE_COMPLETED: "phase.completed", STREAM: "stream",
         STREAM_STOP: "stream.stop", LIMIT_HIT: "limit.hit", NOTE: "note", RUN_ENDED: "run.ended", UNLISTEN: "unlisten", NARROW: "narrow"}
control = socket.socket(fileno=3)
lock = threading.Lock()
stops = {}
me = os.urandom(4).hex()  # its pid is 1, in a namespace of its own


def write(event):
    with lock:
        os.write(4, (json.dumps({**event, "gateway": me}) + "\n").encode())


def answer(kind, stream=0, what=0, figure=0):
    with lock:
        control.send(HEADER.pack(kind, 0, 0, 0, 0, stream, what, figure, 0, 0, 0, 0, 0, bytes(32), 0))


def read_stream(fd, number, phase, kind):
    import select
    stop, _ = stops[number]
    while True:
        ready, _, _ = select.select([fd, stop], [], [])
        if fd not in ready:
            break
        data = os.read(fd, 65536)
        if not data:
            break
        write({"type": "events" if kind else "output", "phase": phase, "text": data.decode(errors="replace")})
    os.close(fd)
    answer(STREAM_ENDED, number)


def serve(fd):
    listener = socket.socket(fileno=fd)
    listener.setblocking(True)
    while True:
        client, _ = listener.accept()
        client.sendall(b"hello\n")
        client.close()


def main():
    status = open("/proc/self/status", encoding="ascii").read()
    write({"type": "gateway", "config": os.read(5, 4096).decode(), "replay": os.path.exists("/proc/self/fd/6"),
           "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
           "caps": [line for line in status.splitlines() if line.startswith(("Cap", "NoNew"))]})
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 17, 4)
        if not message:
            return
        (kind, phase, round_, code, duration, number, stream_kind, figure, outcome, fault, changed, has_archive, size,
         sha, payload_size) = HEADER.unpack_from(message)
        payload = message[HEADER.size:].decode(errors="replace")
        assert len(message) == HEADER.size + payload_size
        event = {"type": NAMES[kind], "phase": phase}
        if kind in (PHASE_STARTED, PHASE_COMPLETED):
            event["round"] = round_
        if kind == PHASE_COMPLETED:
            event.update(status=code, result=payload, duration_ms=duration)
        elif kind in (NOTE, LIMIT_HIT, NARROW):
            event.update(text=payload, figure=figure)
        elif kind == RUN_ENDED:
            event.update(outcome=outcome, fault=fault, message=payload, changed=changed, has_archive=has_archive,
                         archive_size=size, archive_sha256=sha.hex())
        if kind == STREAM:
            stops[number] = os.pipe()
            threading.Thread(target=read_stream, args=(fds[0], number, phase, stream_kind), daemon=True).start()
        elif kind == STREAM_STOP:
            os.close(stops[number][1])
        if kind in (LISTEN, UNLISTEN):
            event["kind"] = stream_kind
        if kind == LISTEN:
            threading.Thread(target=serve, args=(fds[0],), daemon=True).start()
        write(event)
        if kind == RUN_ENDED:
            answer(WRITTEN)
        elif kind == NARROW:
            for what, figure in ((99, 100), (0, 0), (0, 4096), (2, 1), (2, 1 << 63), (3, (1 << 64) - 1)):
                answer(LIMIT, 0, what, figure)  # none of them can be: without effect
            answer(NARROWED)


main()
