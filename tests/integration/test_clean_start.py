"""Whatever a task wrote, the next one starts from the tree that it started from itself."""
import contextlib
import os
import re
import sys

import pytest

from support.codex import codex_on
from support.model_server import call, message
from support.repository import Repository

# What a first command sees: everything but the machine's own file systems, one word for each directory. Of /usr, which
# is large, what is two deep, and no contents. The rest of it is the image and the layer, which are looked at on disk.
LOOK = r"""
import hashlib, os, stat
def tell(h, path, st, deep):
    is_file = stat.S_ISREG(st.st_mode)
    h.update(repr((path, st.st_mode, st.st_uid, st.st_gid, is_file and (st.st_size, st.st_mtime_ns),
                   stat.S_ISLNK(st.st_mode) and os.readlink(path))).encode())
    if not deep: return
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        h.update(repr((name, os.getxattr(path, name, follow_symlinks=False))).encode())
    try:
        if is_file: h.update(open(path, "rb").read())
    except PermissionError: h.update(b"closed")
def walk(h, path, device, deep, levels):
    st = os.lstat(path)
    tell(h, path, st, deep)
    if not stat.S_ISDIR(st.st_mode) or st.st_dev != device or not levels: return
    try: names = sorted(os.listdir(path))
    except PermissionError: names = []
    for name in names: walk(h, path + "/" + name, device, deep, levels - 1)
for top in sorted(os.listdir("/")) + ["dev/shm", "workspace/demo", "workspace/demo/.git", "home/codex", "usr/bin"]:
    h = hashlib.sha256()
    own = top in ("tmp", "dev/shm", "run")
    walk(h, "/" + top, os.lstat("/" + top if own else "/").st_dev, not top.startswith("usr"), 2 if top == "usr" else 50)
    print("tree", top, h.hexdigest()[:16])
"""
# Everything that a task's own commands can write to, and some that they cannot.
DIRTY = r"""
for where in /tmp /var/tmp /dev/shm "$HOME" /workspace /workspace/demo /workspace/demo/.git /workspace/demo/.git/hooks /run /usr/bin /usr/local/bin /etc /root /var/lib /opt /; do
  printf '#!/bin/sh\necho evil\n' >"$where/python3" && chmod 6777 "$where/python3" && echo "wrote $where"
done 2>/dev/null
mkdir -p "$HOME/.cache/pip" "$HOME/.config/git" "$HOME/.local/bin"
echo evil >>"$HOME/.bashrc"; echo evil >"$HOME/.local/bin/make"; echo '[core] hooksPath=/tmp' >"$HOME/.config/git/config"
echo evil >"$HOME/.cache/pip/x"; echo broken >Makefile; rm -f notes; git config core.fsmonitor /tmp/python3
setfattr -n user.evil -v 1 Makefile 2>/dev/null; sleep 1000 >/dev/null 2>&1 & true
"""
# Of set-up, which is the container's root: another task's layer is all that it gets at.
DIRTY_SETUP = ("echo evil >>/etc/profile; echo evil >/usr/bin/evil; echo evil >/root/evil; rm -rf /opt /usr/share/doc; "
               "chmod 777 /etc /usr /var; echo evil >>/usr/bin/make; mkdir -p /workspace/demo/built; true")


def script(command):
    """Look first, then do COMMAND."""
    look = f"python3 - <<'END'\n{LOOK}\nEND\n"
    return [[call("exec_command", {"cmd": look, "yield_time_ms": 30000, "max_output_tokens": 10000})],
            [call("exec_command", {"cmd": command, "yield_time_ms": 3000})], [message("Done.")]]


def trees(model, mark):
    """{directory: digest} that the task with MARK in its prompt saw, and what its second command said."""
    request = [request for request in model.requests if mark in str(request.input)][-1]
    seen, did = request.outputs.values()
    found = dict(re.findall(r"^tree (\S+) ([0-9a-f]{16})$", seen, re.MULTILINE))
    assert {"usr", "etc", "root", "home/codex", "tmp", "workspace/demo/.git", "dev/shm"} <= found.keys(), seen
    return found, did


def add_data(digest, path):
    """The bytes of the sparse file PATH, and where they are."""
    with open(path, "rb") as file, contextlib.suppress(OSError):  # ENXIO: no more data
        end = 0
        while True:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            digest.update(f"{start} {end}".encode() + os.pread(file.fileno(), end - start, start))


def on_disk(layers):
    """{name of a layer: digest of its files, byte for byte with owners, times and attributes; or of its disk}."""
    names = {}
    exec(LOOK[:LOOK.index("for top")], names)  # pylint: disable=exec-used
    found = {}
    for layer in filter(os.path.isdir, layers.iterdir()):
        digest = found[layer.name] = names["hashlib"].sha256()
        if (layer / "disk").exists():
            add_data(digest, layer / "disk")
        else:
            names["walk"](digest, str(layer / "upper"), os.lstat(layer).st_dev, True, sys.getrecursionlimit() // 2)
    return {name: digest.hexdigest() for name, digest in found.items()}


@pytest.mark.slow
def test_the_next_task_starts_from_the_same_tree(tmp_path):
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n", "notes": "a\n"})
    scripts = {"fresh": script(DIRTY), "dirty set-up": script(DIRTY), "the next": script("true")}
    with codex_on(scripts) as (codex, model):
        layers = []
        for mark, options in (("fresh", ()), ("dirty set-up", ("--setup", DIRTY_SETUP)), ("the next", ())):
            task = codex.wait(codex.task(f"{mark} one", *options, cwd=repository.path))
            assert task["state"] == "completed", task
            layers.append(on_disk(codex.state / "layers"))
        assert len(layers[0]) == 1 and len(layers[1]) == 2
        assert layers[0].items() <= layers[1].items() and layers[2] == layers[1]
        events = codex.events(task["id"])
        fresh, did = trees(model, "fresh one")
        # It could write where it should, and only there.
        assert {"/tmp", "/var/tmp", "/dev/shm", "/workspace/demo", "/workspace/demo/.git/hooks"} <= set(
            re.findall("wrote (/.*)", did)), did
        assert not {"/usr/bin", "/etc", "/root", "/run", "/opt", "/"} & set(re.findall("wrote (/.*)", did)), did
        set_up, _ = trees(model, "dirty set-up one")
        assert {top for top in fresh if set_up.get(top) != fresh[top]} >= {"usr", "usr/bin", "etc", "opt", "workspace/demo"}
        after, _ = trees(model, "the next one")
        assert after == fresh
        assert any("environment: found" in event.get("text", "") for event in events)
