"""What a sandbox must refuse: the attack is tried, from inside."""
import array
import fcntl
import os
import pathlib
import socket
import subprocess

import pytest

from support.sandbox import Sandbox


# The way to the internet: variables with the address of the proxy, and no secret.
PROXY = {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "YARN_HTTP_PROXY", "YARN_HTTPS_PROXY",
         "NODE_USE_ENV_PROXY"}


@pytest.fixture(name="sandbox")
def fixture_sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def test_the_command_has_no_privilege(sandbox):
    status = sandbox.shell("cat /proc/self/status; id")
    for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000",
                 "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in status
    assert "uid=1000(codex) gid=1000(codex) groups=1000(codex)" in status


def test_only_loopback_and_no_name_service(sandbox):
    out = sandbox.run("python3", "-c", """
import socket, time
print([name for _, name in socket.if_nameindex()])
for host, port in (("192.0.2.1", 80), ("1.1.1.1", 443)):
    try: socket.create_connection((host, port), 5)
    except OSError as e: print(e.errno)
began = time.monotonic()
try: socket.getaddrinfo("example.com", 80)
except OSError as e: print("no name", time.monotonic() - began < 3)
server = socket.create_server(("127.0.0.1", 80))
socket.create_connection(("127.0.0.1", 80), 5)
print("own port 80")
""").stdout.splitlines()
    assert out == ["['lo']", "101", "101", "no name True", "own port 80"]  # 101: ENETUNREACH


def test_the_hosts_loopback_and_abstract_sockets_are_elsewhere(sandbox):
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"\0codex-test-{os.getpid()}")
    unix.listen()
    out = sandbox.run("python3", "-c", f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {tcp.getsockname()[1]})),
                        (socket.AF_UNIX, "\\0codex-test-{os.getpid()}")):
    try: socket.socket(family).connect(address); print("connected")
    except OSError as e: print(e.strerror)
""").stdout.splitlines()
    assert out == ["Connection refused", "Connection refused"]


def test_no_process_of_the_host_and_not_the_first_one(sandbox):
    out = sandbox.shell("ls /proc | grep -c '^[0-9]'; ls /proc/1 2>&1 | head -1; ipcs -a | grep -c 0x || true")
    count, first, ipc = out.splitlines()
    assert int(count) <= 4  # bash, ls, grep
    assert "No such file" in first or first == ""
    assert ipc == "0"


def test_files_of_the_host_are_not_there(sandbox):
    secret = sandbox.home / "secret"
    secret.write_text("secret")
    out = sandbox.shell(
        f"cat {secret} 2>&1 || true; cat /etc/shadow 2>&1 || true; ls -A /root 2>&1 || true; "
        "ls /dev; ls -A /home /mnt /srv; cat /proc/keys /proc/kcore /proc/timer_list 2>/dev/null | wc -c; "
        "grep -c . /etc/passwd >/dev/null; awk -F: '$3>=1000 && $3<65000' /etc/passwd")
    assert "secret: No such file" in out
    assert "/etc/shadow: Permission denied" in out
    assert "cannot open directory '/root': Permission denied" in out
    for device in ("mem", "kvm", "fuse", "net", "loop-control", "vda", "sda"):
        assert f"\n{device}\n" not in out
    lines = out.splitlines()
    assert lines[-2] == "0"
    assert lines[-1] == "codex:x:1000:1000:Codex:/home/codex:/bin/bash"


def test_the_mount_table_names_no_path_of_the_host(sandbox):
    table = sandbox.run("cat", "/proc/self/mountinfo").stdout
    for word in (str(sandbox.home), "images", "sandboxes", "/private", "/build"):
        assert word not in table
    # Of a bind mount the root within its file system is told: the workspace with --write.
    assert " / / " in table


def test_nothing_is_inherited_but_three_descriptors(sandbox):
    inherited = os.open("/etc/shadow", os.O_RDONLY)
    out = sandbox.run("python3", "-c", """
import os
for name in os.listdir("/proc/self/fd"):
    try: print(name, os.readlink(f"/proc/self/fd/{name}").split(":")[0])
    except OSError: pass
print(*os.environ)""", pass_fds=(inherited,), env={**os.environ, "SECRET": "key"}).stdout.splitlines()
    os.close(inherited)
    assert out[:-1] == ["0 pipe", "1 pipe", "2 pipe"]
    assert set(out[-1].split()) <= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TERM", "LC_CTYPE", *PROXY, "PWD"}


def test_the_platforms_files_cannot_be_changed(sandbox):
    out = sandbox.shell("""
for command in 'echo x >/run/codex/codex-agent' 'rm /run/codex/codex-agent' 'touch /run/codex/new' 'mv /run/codex /run/x' 'mv /run /x'; do
    bash -c "$command" 2>&1 | tail -1
done""", options=("--root",)).splitlines()
    assert len(out) == 5
    for line in out:
        assert "Read-only file system" in line or "busy" in line


def test_container_root_cannot_change_the_image(sandbox):
    sandbox.shell("echo changed >/etc/hosts; rm -r /usr/share/doc; echo x >/usr/bin/true; chmod 4755 /usr/bin/env",
                  options=("--root",))
    assert "localhost" in sandbox.run("cat", "/etc/hosts").stdout
    assert sandbox.run("test", "-d", "/usr/share/doc").returncode == 0
    assert sandbox.run("true").returncode == 0
    assert not os.stat("/usr/bin/env").st_mode & 0o6000


def test_setuid_files_give_nothing(sandbox):
    out = sandbox.shell("cp /usr/bin/id /workspace/project/id; chown root /workspace/project/id; "
                        "chmod 4755 /workspace/project/id /workspace/project/id; "
                        "/run/codex/codex-agent 2>/dev/null || true; "
                        "setpriv --reuid 1000 --regid 1000 --clear-groups /workspace/project/id -u",
                        options=("--root",))
    assert out.strip() == "1000"


def test_two_sandboxes_at_once_do_not_see_each_other(sandbox):
    (sandbox.workdir / "ready").touch()
    with sandbox.start("bash", "-c", "echo mine >/tmp/mine; echo mine >/dev/shm/mine; echo up; read x",
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "up\n"
        out = sandbox.shell("ls -A /tmp /dev/shm; cat /proc/self/uid_map; pgrep -c bash || true")
        assert "mine" not in out
        other = pathlib.Path(f"/proc/{first.pid}").exists()
        assert other
        first.communicate("\n", timeout=60)
        assert first.returncode == 0


# What the kernel counts for each user, over all namespaces that a user has made: queued signals, message
# queues, instances of inotify. All that one sandbox can have of them.
HOG = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
while libc.inotify_init1(0) >= 0: pass
queues = 0
while libc.mq_open(b"/queue%d" % queues, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0: queues += 1
while libc.sigqueue(os.getpid(), 40, None) == 0: pass
print("full", flush=True)
sys.stdin.readline()
"""
ONE_OF_EACH = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
print(libc.inotify_init1(0) >= 0, libc.mq_open(b"/codex-test%d" % os.getpid(), os.O_CREAT | os.O_RDWR, 0o600, None) >= 0,
      libc.sigqueue(os.getpid(), 40, None) == 0)
libc.mq_unlink(b"/codex-test%d" % os.getpid())
"""


@pytest.mark.parametrize("options", [(), ("--root",)], ids=["user", "root"])
def test_one_that_takes_all_it_can_leaves_the_others_theirs(sandbox, options):
    """Also the host, whose root is not the owner of the sandbox's user namespace."""
    with sandbox.start("python3", "-c", HOG, options=options, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, text=True) as hog:
        assert hog.stdout.readline() == "full\n"
        assert sandbox.run("python3", "-c", ONE_OF_EACH).stdout == "True True True\n"
        here = subprocess.run(["python3", "-c", ONE_OF_EACH], check=True, capture_output=True, text=True)
        assert here.stdout == "True True True\n"
        hog.communicate("\n", timeout=60)
        assert hog.returncode == 0


def test_the_user_namespace_belongs_to_nobody_of_the_host(sandbox):
    """Who owns it has every right in it: that is an id of the sandbox's own range."""
    with sandbox.start("bash", "-c", "echo up; read x", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                       text=True) as first:
        assert first.stdout.readline() == "up\n"
        owners = set()
        for pid in sandbox.processes():
            try:
                with open(f"/proc/{pid}/ns/user", "rb") as namespace:
                    if os.stat(namespace.fileno()).st_ino != os.stat("/proc/self/ns/user").st_ino:
                        owner = array.array("I", [0])
                        fcntl.ioctl(namespace, 0xb704, owner)   # NS_GET_OWNER_UID
                        owners.add(owner[0])
            except FileNotFoundError:
                pass
        first.communicate("\n", timeout=60)
    assert len(owners) == 1 and owners.pop() >= 0x70000000


def test_what_is_written_to_the_host_cannot_be_setuid(sandbox):
    """It would be the owner's identity, root's perhaps, for whoever runs it there."""
    out = sandbox.run("python3", "-c", """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
open("file", "w").close()
file = os.open("file", os.O_RDONLY)
def raw(number, *arguments):
    if libc.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), "")
for mode in (0o4755, 0o2755, 0o6755):
    for attempt in (lambda: os.chmod("file", mode), lambda: os.fchmod(file, mode),
                    lambda: os.chmod("file", mode, dir_fd=os.open(".", os.O_RDONLY)),
                    lambda: os.open("a", os.O_CREAT | os.O_WRONLY, mode),
                    lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY, mode),
                    lambda: raw(2, b"b", os.O_CREAT | os.O_WRONLY, mode), lambda: raw(85, b"c", mode),
                    lambda: os.mknod("d", 0o100000 | mode),
                    lambda: raw(437, -100, b"e", (ctypes.c_ulonglong * 3)(os.O_CREAT | 1, mode, 0), 24),
                    lambda: raw(452, -100, b"file", mode, 0)):
        try: attempt(); print("done")
        except OSError as e: print(os.strerror(e.errno))
raw(2, b"file", os.O_RDONLY, 0o7777)   # there the mode does not count
os.chmod("file", 0o1755)
""", options=("--write",)).stdout.splitlines()
    assert out == (["Operation not permitted"] * 8 + ["Function not implemented"] * 2) * 3
    for path in sandbox.workdir.iterdir():
        assert not path.stat().st_mode & 0o6000
