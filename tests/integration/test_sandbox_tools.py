"""The real tools work inside: as uid 1000, and installing as the container's root."""
import pytest

from support.sandbox import Sandbox


@pytest.fixture(name="sandbox", scope="module")
def fixture_sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def test_gcc_and_make(sandbox):
    out = sandbox.shell("""
printf '#include <stdio.h>\\nint main(void){puts("built");}\\n' >main.c
printf 'all: main\\n\\t./main\\n' >Makefile
make""")
    assert "built" in out


def test_git(sandbox):
    out = sandbox.shell("""
git init -q . && git config user.name T && git config user.email t@t
mkdir -p a/b && echo 1 >a/b/f && git add . && git commit -qm one
git mv a c && git commit -qm two && git log --oneline --stat | cat && git fsck""")
    assert "{a => c}/b/f" in out or "a/b/f => c/b/f" in out


@pytest.mark.slow
@pytest.mark.tools_of_others
def test_python_venv_and_directory_rename(sandbox):
    out = sandbox.shell("""
python3 -m venv .venv && . .venv/bin/activate && python -c 'import sys, ssl, sqlite3; print(sys.prefix)'
pip --version
mv .venv/lib .venv/lib2 && mv .venv/lib2 .venv/lib && rm -r .venv && echo gone""")
    assert "/workspace/project/.venv" in out and "pip " in out and out.endswith("gone\n")


@pytest.mark.tools_of_others
def test_node_and_npm(sandbox):
    out = sandbox.shell("""
mkdir dep && echo '{"name":"dep","version":"1.0.0","main":"i.js"}' >dep/package.json
echo 'module.exports = require("os").networkInterfaces()' >dep/i.js
echo '{"name":"p","version":"1.0.0","scripts":{"test":"node -e \\"console.log(Object.keys(require(\\\\\\"dep\\\\\\")))\\""}}' >package.json
npm install --no-audit --no-fund ./dep && npm test""")
    assert "[ 'lo' ]" in out


def test_signals_threads_pty_and_locks(sandbox):
    out = sandbox.run("python3", "-c", """
import os, pty, threading, subprocess, fcntl, multiprocessing, signal, tempfile
threads = [threading.Thread(target=lambda: None) for _ in range(50)]
[t.start() for t in threads]; [t.join() for t in threads]
master, slave = pty.openpty(); print(os.ttyname(slave).startswith("/dev/pts/"))
with multiprocessing.Pool(2) as pool: print(sum(pool.map(abs, range(10))))
with tempfile.NamedTemporaryFile() as f: fcntl.lockf(f, fcntl.LOCK_EX)
p = subprocess.Popen(["sleep", "100"]); p.send_signal(signal.SIGTERM); print(p.wait())
""").stdout
    assert out.splitlines() == ["True", "45", "-15"]


def test_dpkg_as_root(sandbox):
    out = sandbox.shell("""
mkdir -p d/DEBIAN d/usr/bin d/etc && printf '#!/bin/sh\\necho hello from a package\\n' >d/usr/bin/hello-codex
chmod 755 d/usr/bin/hello-codex; echo setting >d/etc/hello-codex.conf; echo /etc/hello-codex.conf >d/DEBIAN/conffiles
printf 'Package: hello-codex\\nVersion: 1\\nArchitecture: all\\nMaintainer: T <t@t>\\nDescription: test\\nDepends: bash\\n' >d/DEBIAN/control
printf '#!/bin/sh\\nset -e\\nadduser --system --group --no-create-home hello-codex >/dev/null\\n' >d/DEBIAN/postinst
chmod 755 d/DEBIAN/postinst; dpkg-deb -b d hello.deb >/dev/null
dpkg -i ./hello.deb >/dev/null && hello-codex && dpkg -s hello-codex | grep Status && getent passwd hello-codex
dpkg -r hello-codex >/dev/null; hash -r; ! command -v hello-codex""", options=("--root",))
    assert "hello from a package" in out
    assert "install ok installed" in out
    assert "hello-codex:x:" in out


@pytest.mark.tools_of_others
def test_npm_global_as_root(sandbox):
    out = sandbox.shell("""
mkdir tool && cd tool && echo '{"name":"tool-codex","version":"1.0.0","bin":"i.js"}' >package.json
printf '#!/usr/bin/env node\\nconsole.log("global tool")\\n' >i.js && npm pack --silent >/dev/null
npm i -g --no-audit --no-fund ./tool-codex-1.0.0.tgz >/dev/null && tool-codex""", options=("--root",))
    assert "global tool" in out


def test_what_is_written_is_thrown_away_or_kept(sandbox):
    inside = "/workspace/project"
    (sandbox.workdir / "kept.txt").write_text("before")
    sandbox.shell(f"echo after >kept.txt; echo new >{inside}/new.txt; rm -rf sub")
    assert (sandbox.workdir / "kept.txt").read_text() == "before"
    assert not (sandbox.workdir / "new.txt").exists()
    sandbox.shell("echo after >kept.txt; echo new >new.txt; mkdir sub; stat -c %u . kept.txt new.txt",
                  options=("--write",))
    assert (sandbox.workdir / "kept.txt").read_text() == "after\n"
    owner = sandbox.workdir.stat().st_uid
    assert {(sandbox.workdir / name).stat().st_uid for name in ("new.txt", "kept.txt", "sub")} == {owner}


def test_container_root_makes_no_file_of_the_hosts_root_in_a_kept_workspace(sandbox):
    (sandbox.workdir / "mine").mkdir()
    import os  # pylint: disable=import-outside-toplevel
    os.chown(sandbox.workdir, 4242, 4242)
    try:
        done = sandbox.run("bash", "-c", "cp /usr/bin/id evil && chmod 4755 evil; ls -ln", check=False,
                           options=("--write", "--root"))
        assert not (sandbox.workdir / "evil").exists(), done.stdout
        sandbox.run("touch", "good", options=("--write",))
        assert (sandbox.workdir / "good").stat().st_uid == 4242
    finally:
        os.chown(sandbox.workdir, 0, 0)


def test_apply_patch_is_a_program(sandbox):
    """Models call it in the middle of a script, too."""
    out = sandbox.shell("""
apply_patch "$(printf '*** Begin Patch\n*** Add File: one\n+1\n*** End Patch')" && cat one
printf '*** Begin Patch\n*** Delete File: one\n*** End Patch' | applypatch; test ! -e one
cd /tmp && bash -lc 'apply_patch <<EOF
*** Begin Patch
*** Add File: two
+2
*** End Patch
EOF' && cat two
apply_patch nonsense || echo "status $?" """)
    assert out == ("Success. Updated the following files:\nA one\n1\n"
                   "Success. Updated the following files:\nD one\n"
                   "Success. Updated the following files:\nA two\n2\nstatus 2\n")
