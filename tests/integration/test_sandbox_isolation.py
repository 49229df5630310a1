"""What a sandbox must refuse: the attack is tried, from inside."""
import os
import pathlib
import socket

import pytest

from support.codex import ROOT
from support.sandbox import Sandbox


# The way to the internet: variables with the address of the proxy, and no secret.
PROXY = {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "YARN_HTTP_PROXY", "YARN_HTTPS_PROXY",
         "NODE_USE_ENV_PROXY"}


@pytest.fixture(name="sandbox")
def fixture_sandbox():
    with Sandbox() as sandbox:
        yield sandbox


# Refused by the policy (EPERM), by the kernel for want of a capability, or because it is not there.
EXPECTED = {
    "unshare_user": {"EPERM"}, "unshare_mount": {"EPERM"}, "clone_user": {"EPERM"}, "clone_net": {"EPERM"},
    "clone_plain": {"0"}, "clone3": {"ENOSYS"}, "mount": {"EPERM"}, "umount": {"EPERM"}, "pivot_root": {"EPERM"},
    "chroot": {"EPERM"}, "fsopen": {"EPERM"}, "open_tree": {"EPERM"}, "setns": {"EPERM"}, "bpf": {"EPERM"},
    "perf": {"EPERM"}, "io_uring": {"EPERM"}, "userfaultfd": {"EPERM"}, "add_key": {"EPERM"},
    "keyctl": {"EPERM"}, "open_by_handle": {"EPERM"}, "init_module": {"EPERM"}, "kexec": {"EPERM"},
    "reboot": {"EPERM"}, "raw": {"EPERM"}, "packet": {"EPERM"}, "vsock": {"EPERM"}, "alg": {"EPERM"},
    "alg_high_bits": {"EPERM"}, "netlink_audit": {"EPROTONOSUPPORT"}, "netlink_route": {"0"}, "unix": {"0"},
    "int80": {"SYS"}, "x32": {"SYS"}, "mknod_block": {"EPERM"}, "mknod_fifo": {"0"},
    "core_pattern": {"EACCES", "EROFS"}, "sysrq": {"EACCES", "EROFS", "ENOENT"}, "settimeofday": {"EPERM"},
    "sethostname": {"EPERM"}, "syslog": {"EPERM"}, "personality": {"EPERM"}, "nice": {"EPERM", "EACCES"},
    "fifo_scheduler": {"EPERM"}, "oom_score": {"EACCES", "EPERM"}, "tiocsti": {"EPERM"},
    "tiocsti_high_bits": {"EPERM"}, "tioclinux": {"EPERM"}, "kcore": {"EACCES", "ENODATA", "ENOENT"},
    "kill_all_host": {"ESRCH"}, "ptrace_init": {"EPERM", "ESRCH"}, "kill_init": {"EPERM"},
    "setuid_root": {"EPERM"}, "trusted_xattr": {"EPERM"}, "memlock": {"EPERM"}, "newer_call": {"ENOSYS"},
    "swapon": {"EPERM"}, "acct": {"EPERM"}, "quotactl": {"EPERM"}, "iopl": {"EPERM"}, "pidfd_getfd": {"EPERM"},
    "fanotify": {"EPERM"},
}
# Container root may signal its init (which ignores it), create what its user may, and is refused all else.
AS_ROOT = {"setuid_root": {"0"}, "kill_init": {"0"}, "ptrace_init": {"EPERM"}}


@pytest.mark.parametrize("options", [(), ("--root",)], ids=["user", "root"])
def test_system_calls_are_refused(sandbox, options):
    source = (ROOT / "tests" / "attack" / "try_syscalls.c").read_text()
    out = sandbox.run("bash", "-ec", f"gcc -w -o /tmp/try -x c - && HOST_PID={os.getpid()} /tmp/try",
                      stdin=source, options=options).stdout
    results = dict(line.split() for line in out.splitlines())
    expected = {**EXPECTED, **(AS_ROOT if options else {})}
    assert set(results) == set(expected)
    wrong = {name: result for name, result in results.items() if result not in expected[name]}
    assert not wrong


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
    import subprocess  # pylint: disable=import-outside-toplevel
    with sandbox.start("bash", "-c", "echo mine >/tmp/mine; echo mine >/dev/shm/mine; echo up; read x",
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "up\n"
        out = sandbox.shell("ls -A /tmp /dev/shm; cat /proc/self/uid_map; pgrep -c bash || true")
        assert "mine" not in out
        other = pathlib.Path(f"/proc/{first.pid}").exists()
        assert other
        first.communicate("\n", timeout=60)
        assert first.returncode == 0
