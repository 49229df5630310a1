"""What a work is made of survives: from the agent's workspace by commit, bundle, import and push to a clone of the
remote, byte for byte."""
import base64
import os
import pathlib
import subprocess

import pytest

from support import tree
from support.codex import BUILD, codex_on
from support.git_server import GitServer, bare, git
from support.model_server import call, message
from support.repository import ENVIRONMENT, Repository

ATTRIBUTES = """*.bat text eol=crlf
*.sh text eol=lf
*.raw -text
*.wide text working-tree-encoding=UTF-16LE-BOM eol=lf
*.evil diff=evil filter=evil
"""

# What the base has, by its name in the file system.
BASE = {
    b"Makefile": b"test:\n\ttrue\n",
    b".gitattributes": ATTRIBUTES.encode(),
    b"kept/blob.bin": bytes(range(256)) * 64,
    b"changed.bin": b"\0\1\2" * 1000,
    b"deleted.txt": b"gone soon\n",
    b"deleted/below/all.txt": b"gone, and its directories\n",
    b"renamed from.txt": b"line\n" * 200,
    b"tool": b"#!/bin/sh\nexit 0\n",
    b"not a tool any more": b"#!/bin/sh\nexit 1\n",
    b"becomes a link": b"a file first\n",
    b"becomes a directory": b"a file first\n",
    b"directory becomes a file/x": b"x\n",
    b"directory becomes a link/x": b"x\n",
    b"run.bat": b"@echo off\r\necho one\r\n",
    b"plain-crlf.txt": b"no attribute\r\nat all\r\n",
    b"emptied": b"something\n",
    b"filled": b"",
}
BASE_LINKS = {b"becomes a file": b"Makefile", b"link": b"kept/blob.bin", b"dangling": b"no/where"}
BASE_TOOLS = {b"not a tool any more"}

# What the agent does, in the workspace.
WORK = r"""
import os, pathlib, subprocess
os.umask(0o22)
def put(name, data):
    path = os.fsencode(name) if isinstance(name, str) else name
    if os.path.dirname(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
put("changed.bin", b"\0\xff\r\n" * 5000)
put("new.bin", bytes(reversed(range(256))) * 300)
os.unlink("deleted.txt")
subprocess.run(["rm", "-r", "deleted"], check=True)
os.rename("renamed from.txt", "renamed to.txt")
with open("renamed to.txt", "a") as file:
    file.write("and changed\n")
os.makedirs("moved", exist_ok=True)
os.rename("kept/blob.bin", "moved/blob.bin")
os.chmod("tool", 0o755)
os.chmod("not a tool any more", 0o644)
put("new tool", b"#!/bin/sh\n"); os.chmod("new tool", 0o755)
os.unlink("becomes a link"); os.symlink("tool", "becomes a link")
os.unlink("becomes a file"); put("becomes a file", b"a link before\n")
os.unlink("becomes a directory"); put("becomes a directory/x", b"x\n")
os.unlink("directory becomes a file/x"); os.rmdir("directory becomes a file"); put("directory becomes a file", b"f\n")
os.unlink("directory becomes a link/x"); os.rmdir("directory becomes a link")
os.symlink("moved", "directory becomes a link")
os.unlink("dangling"); os.symlink("/no/where/else", "dangling")
os.symlink("../../../../../etc/passwd", "leads outside")
os.symlink(b"bytes \xff\xfe", b"link to bytes")
put("run.bat", b"@echo off\r\necho two\r\n")
put("new.bat", b"@echo new\r\n")
put("new.sh", b"#!/bin/sh\necho lf\n")
put("some.raw", b"\r\n\n\r mixed \r\n\n")
put("plain-crlf.txt", b"still\r\nno attribute\nmixed\r\n")
put("text.wide", "\ufeffW\u00ef\u0111e \U0001f600\n".encode("utf-16-le"))
put("x.evil", b"no driver of that name\n")
put("emptied", b"")
put("new and empty", b"")
put("filled", b"now\n")
put("no newline at the end", b"x")
put(b"bytes \xff\xfe\x80", b"not UTF-8\n")
put(b"latin-\xe9/\xe8", b"not UTF-8 either\n")
put(b"new\nline", b"n\n")
put(b"tab\tquote\"backslash\\", b"q\n")
put(b"-dash", b"d\n")
put(b"--output=x", b"d\n")
put(b" space ", b"s\n")
put(b"$(touch x);`y`", b"$\n")
put("caf\u00e9", b"composed\n")
put("cafe\u0301", b"decomposed\n")
put("a" * 255, b"long\n")
put("/".join(["deep"] * 60) + "/file", b"deep\n")
put("large.bin", b"".join(os.urandom(1 << 20) for _ in range(12)))
"""

def python(text):
    """A command that runs TEXT, which no shell looks into."""
    return f"echo {base64.b64encode(text.encode()).decode()} | base64 -d | python3 -"


def make_base(repository):
    for name, data in BASE.items():
        path = os.path.join(os.fsencode(repository.path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pathlib.Path(os.fsdecode(path)).write_bytes(data)
        os.chmod(path, 0o755 if name in BASE_TOOLS else 0o644)
    for name, target in BASE_LINKS.items():
        os.symlink(target, os.path.join(os.fsencode(repository.path), name))
    repository.commit({}, "first")


@pytest.mark.slow
def test_whatever_a_work_is_made_of_arrives_at_the_remote(tmp_path):
    repository = Repository(tmp_path / "work")
    make_base(repository)
    (tmp_path / "srv").mkdir()
    bare(repository, tmp_path / "srv" / "odd.git")
    show = pathlib.Path(tree.__file__).read_text()
    script = [[call("exec_command", {"cmd": python(WORK)})],
              [call("exec_command", {"cmd": python(show), "max_output_tokens": 100000})],
              [call("submit", {"title": "Everything", "body": "", "branch": "feat/everything"})], [message("done")]]
    with GitServer(tmp_path / "srv") as server:
        section = f"[forge \"{server.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\n"
        with codex_on(script, section, {"FORGE_TOKEN": server.token}) as (codex, model):
            task = codex.wait(codex.task("x", "--repo", server.url("odd.git"), cwd=codex.home))
            assert (task["state"], task["branch"]) == ("completed", "feat/everything"), task
            first, second = list(model.requests[2].outputs.values())
            assert "exited with code 0" in first, first
            patch = tmp_path / "diff.patch"
            patch.write_bytes(subprocess.run([BUILD / "codex", "diff", task["id"]], env=codex.environment, check=True,
                                             capture_output=True).stdout)
    workspace = tree.unpacked(max(second.split(), key=len))
    assert len(workspace) > 40
    clone = tmp_path / "clone"
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "--quiet", "--branch", "feat/everything",
                    str(tmp_path / "srv" / "odd.git"), str(clone)], check=True, env=ENVIRONMENT)
    assert tree.differences(workspace, tree.look(clone)) == {}
    # The renames are told as such, and the diff of the task brings the base to the same.
    renamed = git(clone, "diff", "--summary", "--find-renames", "origin/main", "HEAD")
    assert "rename {kept => moved}/blob.bin (100%)" in renamed and "rename renamed from.txt => renamed to.txt" in renamed
    git(repository.path, "apply", "--index", str(patch))
    assert tree.differences(workspace, tree.look(repository.path)) == {}
