"""Places where a program waits until the test lets it go: reached for certain, without a sleep and without a hook in
the product."""
import ctypes
import os
import queue
import select
import struct
import threading

WAIT_SECONDS = 120

# fanotify(7)
FAN_CLASS_CONTENT, FAN_CLOEXEC = 0x4, 0x1
FAN_MARK_ADD = 0x1
FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_EVENT_ON_CHILD = 0x10000, 0x20000, 0x08000000
FAN_ALLOW = 1
EVENT = struct.Struct("=IBBHQii")


class Stop:
    """Somebody has reached NAME, and waits. PID: who, where that is known."""

    def __init__(self, name, pid=None):
        self.name, self.pid = name, pid
        self.cut = False  # the connection is to be cut there
        self._let_go = threading.Event()

    def release(self, cut=False):
        self.cut = cut
        self._let_go.set()

    def wait(self):
        self._let_go.wait(WAIT_SECONDS)


class Stops:
    """Whoever comes to one of NAMES for the first time waits there."""

    def __init__(self, names):
        self.left = set(names)
        self._reached = queue.Queue()
        self._all = []
        self._lock = threading.Lock()

    def arrive(self, name, pid=None):
        """Called at every place by whoever is there; returns whether the connection is to be cut."""
        with self._lock:
            if name not in self.left:
                return False
            self.left.remove(name)
            stop = Stop(name, pid)
            self._all.append(stop)
        self._reached.put(stop)
        stop.wait()
        return stop.cut

    def next(self, seconds=WAIT_SECONDS):
        return self._reached.get(timeout=seconds)

    def keep(self, stop):
        """STOP, which next() gave, is not for now."""
        self._reached.put(stop)

    def put_off(self, stop):
        """Whoever came to STOP goes on; another who comes there waits."""
        with self._lock:
            self.left.add(stop.name)
        stop.release()

    def release_all(self):
        with self._lock:
            self.left.clear()
            for stop in self._all:
                stop.release()


class Files:
    """Stops at files: whoever opens a file of a directory, or reads one."""

    def __init__(self, stops):
        self.stops = stops
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._call("fanotify_init", FAN_CLASS_CONTENT | FAN_CLOEXEC, os.O_RDONLY | os.O_CLOEXEC)
        self.opened, self.read = {}, {}  # name of a file: name of the stop
        self._end, self._tell_end = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._holding = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.write(self._tell_end, b"x")
        self._thread.join()
        self.stops.release_all()
        for thread in self._holding:
            thread.join()
        for fd in (self.fd, self._end, self._tell_end):  # with the first, all who wait are let go
            os.close(fd)

    def _call(self, name, *arguments):
        result = getattr(self.libc, name)(*arguments)
        assert result >= 0, f"{name}: {os.strerror(ctypes.get_errno())}"
        return result

    def _mark(self, mask, path):
        self._call("fanotify_mark", self.fd, FAN_MARK_ADD, ctypes.c_uint64(mask), -100, os.fsencode(path))

    def at_open(self, path, name):
        """Stop whoever opens PATH, which need not be there yet."""
        self.opened[os.path.basename(path)] = name
        self._mark(FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, os.path.dirname(path))

    def at_read(self, path, name):
        """Stop whoever reads PATH, which need not be there yet."""
        self.read[os.path.basename(path)] = name
        self._mark(FAN_ACCESS_PERM | FAN_EVENT_ON_CHILD, os.path.dirname(path))

    def _serve(self):
        while True:
            ready, _, _ = select.select([self.fd, self._end], [], [])
            if self._end in ready:
                return
            events = os.read(self.fd, 65536)
            while events:
                length, _, _, _, mask, fd, pid = EVENT.unpack_from(events)
                events = events[length:]
                name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
                names = self.opened if mask & FAN_OPEN_PERM else self.read
                if pid == os.getpid() or names.get(name) not in self.stops.left:
                    self._allow(fd)
                else:
                    self._holding.append(threading.Thread(target=self._hold, args=(names[name], pid, fd), daemon=True))
                    self._holding[-1].start()

    def _hold(self, name, pid, fd):
        self.stops.arrive(name, pid)
        self._allow(fd)

    def _allow(self, fd):
        try:
            os.write(self.fd, struct.pack("=iI", fd, FAN_ALLOW))
        except FileNotFoundError:  # who waited was killed
            pass
        os.close(fd)
