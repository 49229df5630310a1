"""What one process may do and holds, from outside: ids, capabilities, namespaces, open files, libraries."""
import ctypes
import os
import re
import socket

from support.processes import read

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# linux/capability.h, in their order; the later ones nothing of ours has alone.
CAPABILITIES = ("CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
                "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
                "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
                "AUDIT_WRITE AUDIT_CONTROL SETFCAP").split()
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
KINDS = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "dgram", socket.SOCK_SEQPACKET: "seqpacket"}
SYS_PIDFD_GETFD = 438  # of every architecture
O_PATH = 0o10000000


def mask(*names):
    return sum(1 << CAPABILITIES.index(name) for name in names)


def status_of(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").decode().splitlines())


ALL_CAPABILITIES = int(status_of("self")["CapPrm"], 16)  # as many as this machine gives to root


class Portrait:
    """The process PID as it is now. PLACES: {name: path}, names to put in place of paths of open files."""

    def __init__(self, pid, places):
        self.pid, self.places = pid, {name: str(path) for name, path in places.items()}
        fields = status_of(pid)
        self.uids = tuple(map(int, fields["Uid"].split()))   # real, effective, saved, of files
        self.gids = tuple(map(int, fields["Gid"].split()))
        self.groups = set(map(int, fields["Groups"].split()))
        self.capabilities = {name: int(fields[name], 16) for name in CAPABILITY_SETS}
        self.no_new_privs = fields["NoNewPrivs"] == "1"
        self.seccomp = int(fields["Seccomp"])
        self.owner = os.stat(f"/proc/{pid}/environ").st_uid  # its own uid, or another when it is not dumpable
        # Those that are not the machine's own.
        self.namespaces = {name for name in NAMESPACES
                           if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")}
        self.files = {int(fd): self._file(int(fd)) for fd in os.listdir(f"/proc/{pid}/fd")}
        self.libraries = {match[1].decode() for match in
                          re.finditer(rb"/([^/\n]+?)\.so[.0-9]*$", read(f"/proc/{pid}/maps"), re.MULTILINE)}

    def _named(self, path):
        for name, place in self.places.items():
            path = path.replace(place, name)
        return path

    def _file(self, fd):
        """"read|write|both|path NAME", or what a socket is."""
        link = os.readlink(f"/proc/{self.pid}/fd/{fd}").removesuffix(" (deleted)")
        if link.startswith("socket:"):
            return self._socket(fd)
        flags = int(re.search(rb"flags:\s*(\d+)", read(f"/proc/{self.pid}/fdinfo/{fd}"))[1], 8)
        how = "path" if flags & O_PATH else ("read", "write", "both")[flags & os.O_ACCMODE]
        name = re.sub(r"^(pipe):.*", r"\1", self._named(link))
        return f"{how} {name}"

    def _socket(self, fd):
        pidfd = os.pidfd_open(self.pid)
        try:
            copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
        finally:
            os.close(pidfd)
        assert copy >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=copy) as it:
            listens = "listener " if it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else ""
            kind = KINDS.get(it.type, str(it.type))
            if it.family == socket.AF_UNIX:
                return f"unix {kind} {listens}{self._named(os.fsdecode(it.getsockname()))}".rstrip()
            if it.family in (socket.AF_INET, socket.AF_INET6):
                return f"inet {kind} {listens}{it.getsockname()[0]}:{it.getsockname()[1]}"
            return f"{it.family!r} {kind}"
