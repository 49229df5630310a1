"""A real ssh server on a free port of loopback: dropbear, as root in a mount namespace of its own where /root is
empty but for the keys of the test."""
import pathlib
import shutil
import socket
import subprocess
import time

SECONDS = 20


def available():
    return shutil.which("dropbear") and shutil.which("dropbearkey")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class SshServer:
    """DIRECTORY is for its files; what is in PROGRAMS can be run by who logs in. `key`: the private key that may log in; `known_hosts`: the line of the server's."""

    def __init__(self, directory, programs=""):
        self.directory, self.programs = pathlib.Path(directory), programs
        self.directory.mkdir()
        self.port = free_port()
        self.site = f"127.0.0.1:{self.port}"
        self.key, public = self.make_key("client")
        self.stranger = self.make_key("stranger")[0]
        self.host_key, host_public = self.make_key("host")
        (self.directory / "authorized_keys").write_text(public)
        self.known_hosts = f"[127.0.0.1]:{self.port} {' '.join(host_public.split()[:2])}\n"
        self.process = None

    def make_key(self, name):
        """(path of a private key, its public line)"""
        path = self.directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path, path.with_suffix(".pub").read_text()

    def url(self, path):
        return f"ssh://root@{self.site}{path}"

    def __enter__(self):
        host = self.directory / "host.dropbear"
        subprocess.run(["dropbearconvert", "openssh", "dropbear", self.host_key, host], check=True, capture_output=True)
        script = ("mount -t tmpfs -o mode=700 none /root && mkdir -m 700 /root/.ssh && "
                  "cp \"$1\" /root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys && "
                  "printf '[safe]\\n\\tdirectory = *\\n' >/root/.gitconfig && "
                  "if test \"$5\"; then mount -t overlay -o \"lowerdir=$5:/usr/bin\" none /usr/bin; fi && "
                  "exec dropbear -F -E -s -P \"$4\" -p \"127.0.0.1:$2\" -r \"$3\"")
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, "sh", self.directory / "authorized_keys", str(self.port), host,
                 self.directory / "pid", self.programs], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert self.process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
