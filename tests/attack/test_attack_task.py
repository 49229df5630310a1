"""Attacks that need a whole task around them: its set-up, its agent, its archive."""
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile

import pytest

from attempts import program
from support.codex import API_KEY, codex_on, wait_for
from support.model_server import call, message
from support.repository import Repository

# As the container's root, in the layer that all sandboxes of the task lie on: what it removes stays away and what it puts
# in the place of a directory hides that, in them all; what would lead elsewhere cannot be written.
SETUP = r"""
import os, shutil
os.unlink("/etc/services")
shutil.rmtree("/usr/share/common-licenses")
os.mkdir("/usr/share/common-licenses")
open("/usr/share/common-licenses/only", "w").close()
os.rename("/usr/share/perl5", "/usr/share/moved")
for name in ("redirect", "opaque", "metacopy", "origin"):
    for path in ("/usr/share/moved", "/usr/share/common-licenses/only"):
        try:
            os.setxattr(path, "trusted.overlay." + name, b"/etc/shadow")
            print("FORGED", name)
        except PermissionError:
            print("no forged", name)
        os.setxattr(path, "user.overlay." + name, b"/etc/shadow")  # means nothing where nobody reads it
try:
    os.mknod("/etc/hosts2", 0o020000, 0)
    print("FORGED whiteout")
except PermissionError:
    print("no forged whiteout")
"""
CHECK = r"""
import os
assert not os.path.exists("/etc/services")
assert os.listdir("/usr/share/common-licenses") == ["only"]
assert os.path.getsize("/usr/share/common-licenses/only") == 0
assert "IPC" in os.listdir("/usr/share/moved") or len(os.listdir("/usr/share/moved")) > 3
assert not os.path.exists("/usr/share/perl5")
print("layer as it was left")
"""
# As the task's user, beside a living agent that has the run's key. Process ids are guessed: /proc shows none of others.
LOOK = r"""
export ATTACK_ONLY='kill_platform ptrace read_memory take_descriptor limit_platform proc_mem proc_environ proc_root proc_exe'
alive=0
for process in $(seq 1 24); do
    [ -e /proc/$process ] && continue
    out=$(ATTACK_PROCESS=$process ./attack-host)
    [[ $out == *'kill_platform: refused EPERM'* ]] && alive=$((alive + 1))
    [[ $out == *': allowed'* ]] && echo "BREACH $out"
    [ "$(wc -l <<<"$out")" = 9 ] || echo "BREACH of the test: $out"
done
echo "others: $alive"
"""
# The gateway's addresses are taken, also for who shares his port; and nothing of who listens is told.
LISTEN = r"""
import socket, struct
for port in (64080, 64081):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        s = socket.socket(family)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            s.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            s.bind((address, port))
            s.listen()
            print("BREACH", address, port)
        except OSError as e:
            print("taken" if e.errno == 98 else e)
    c = socket.create_connection(("127.0.0.1", port))
    print(*struct.unpack("iii", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
"""
# What nobody can deliver, and must still be kept, and removed.
HOSTILE = r"""
import os, socket
top = os.getcwd()  # the chain below is deeper than a path can name
os.mkdir("deep")
os.chdir("deep")
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chdir(top)
os.mkdir("odd")
os.chdir("odd")
for name in (b"n" * 255, b"new\nline", b"\xff\xfe", b"-rf", b"\x1b]0;title\x07", b"..."):
    open(name, "w").close()
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
os.symlink("/etc/shadow", "shadow")
os.symlink("../../../../../../etc", "up")
os.mkdir("closed")
os.link("-rf", "closed/hard")
os.chmod("closed", 0)
file = os.open("tera", os.O_WRONLY | os.O_CREAT)
os.truncate(file, 1 << 40)
"""
FILES = {"setup.py": SETUP, "check.py": CHECK, "look.sh": LOOK, "listen.py": LISTEN, "hostile.py": HOSTILE,
         ".gitignore": "deep/\n", "notes": "a\n"}


@pytest.fixture(name="repository")
def make_repository(tmp_path):
    repository = Repository(tmp_path / "project", FILES)
    shutil.copy2(program("host"), repository.path)
    repository.commit({}, "the attacker's program")
    return repository


def members(path):
    """What is in an archive: name to its entry, without unpacking it."""
    with subprocess.Popen(["zstd", "-dc", "--long=31", path], stdout=subprocess.PIPE) as unpacker:
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
            return {member.name: member for member in archive}


def check_archive(path):
    assert path.stat().st_size < 8 << 20
    found = members(path)
    for name, member in found.items():
        assert name.split("/")[0] == "project" and ".." not in name.split("/")
        assert not member.islnk() or member.linkname in found
        assert member.isdir() or member.isreg() or member.issym() or member.islnk() or member.isfifo()
    assert "project/deep" + "/d" * 3000 in found
    assert found["project/odd/shadow"].issym() and found["project/odd/shadow"].linkname == "/etc/shadow"
    assert found["project/odd/up"].issym() and found["project/odd/fifo"].isfifo()
    assert found["project/odd/tera"].size == 1 << 40 and "project/odd/socket" not in found
    assert f"project/odd/{'n' * 255}" in found and "project/odd/new\nline" in found
    assert {"project/odd/-rf", "project/odd/closed/hard"} <= set(found)


@pytest.mark.slow
def test_from_inside_a_task(repository):
    commands = ["bash look.sh", "python3 listen.py", "python3 hostile.py && echo more >>notes && echo made"]
    script = [[call("exec_command", {"cmd": command, "yield_time_ms": 60000})] for command in commands]
    with codex_on([*script, [message("done")]]) as (codex, model):
        task = codex.wait(codex.task("Attack", "--setup", "python3 setup.py", "--test", "python3 check.py",
                                     cwd=repository.path))
        assert task["state"] == "completed" and task["verdict"] == "passed", task
        events = codex.events(task["id"])
        look, listen, hostile = (list(request.outputs.values())[-1] for request in model.requests[1:4])
        assert "BREACH" not in look + listen
        # Process 1 and the agent are there, and kept from us.
        assert int(look.partition("others: ")[2].split()[0]) >= 2
        assert listen.count("taken") == 6 and listen.count("0 -1 -1") == 2, listen
        assert "made" in hostile
        output = {phase: "".join(event["text"] for event in events if event["type"] == "phase.output" and
                                 event["phase"] == phase) for phase in ("preparing", "baseline", "verifying")}
        assert output["preparing"].count("no forged") == 9 and "FORGED" not in output["preparing"]
        assert "layer as it was left" in output["baseline"] and "layer as it was left" in output["verifying"]
        check_archive(pathlib.Path(task["archive"]["path"]))
        changed = repository.git("diff", "--name-only", "-z", "main", task["branch"]).rstrip("\0").split("\0")
        assert set(changed) == {"notes", "odd/...", "odd/-rf", "odd/new\nline", "odd/shadow", "odd/up", f"odd/{'n' * 255}",
                                "odd/\x1b]0;title\x07", "odd/\udcff\udcfe"}
        assert repository.git("show", f"{task['branch']}:odd/shadow") == "/etc/shadow"
        assert "\x1b" not in codex.run("logs", task["id"]).stdout
        # Nothing of it is left where it was, but the layer.
        wait_for(lambda: os.listdir(codex.state / "sandboxes") == [], what="the workspace is removed")
        assert API_KEY not in str(events)
        assert stat.S_IMODE((codex.state / "layers").stat().st_mode) == 0o700
