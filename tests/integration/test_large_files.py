"""Files in Git LFS: how their contents come into the workspace, and what of them is delivered."""
import base64
import hashlib
import json
import os
import shutil
import subprocess

import pytest

from support.bundles import base_bundle, import_work, push, work_bundle
from support.codex import BUILD, codex_on
from support.git_server import TOKEN, GitServer, access, bare, certificate, git, nothing_stays_in_run
from support.large_files import LargeFiles, pointer
from support.model_server import call, message
from support.program import run_program
from support.repository import CALCULATOR, Repository
from support.ssh_server import SshServer, available
from support.steps import Workspace
from test_main_job import SUBMIT

ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
OLD, SAME, NEW, SMALL = os.urandom(300000) + b"end", b"same\r\n\0" * 1000, os.urandom(2000000), b"x"
ROOM = 1 << 30


def store(path, *contents):
    """Put CONTENTS where the repository PATH keeps those of Git LFS."""
    for content in contents:
        name = hashlib.sha256(content).hexdigest()
        (path / "lfs/objects" / name[:2] / name[2:4]).mkdir(parents=True, exist_ok=True)
        (path / "lfs/objects" / name[:2] / name[2:4] / name).write_bytes(content)


def stored(path, content):
    name = hashlib.sha256(content).hexdigest()
    file = path / "lfs/objects" / name[:2] / name[2:4] / name
    return file.exists() and file.read_bytes() == content


def large(content):
    """CONTENT as it travels behind a bundle."""
    return f"{hashlib.sha256(content).hexdigest()} {len(content)}\n".encode() + content


def with_part(bundle, part):
    return bundle + part + f"\ncodex-part L {len(bundle):016x}\n".encode()


def application(directory, more=None):
    return Repository(directory, {"a.bin": pointer(OLD), "dir/same.bin": pointer(SAME), "empty.bin": "", "text": "x\n",
                                  ".gitattributes": ATTRIBUTES, **(more or {})})


def test_contents_go_in_and_new_ones_come_out(tmp_path):
    app = application(tmp_path / "app")
    store(app.path / ".git", OLD, SAME)
    base, first = base_bundle(app, large_files=ROOM), app.head()
    assert OLD in base and OLD not in base_bundle(app, large_files=1000) and OLD not in base_bundle(app)
    linked = tmp_path / "linked"
    app.git("worktree", "add", "--quiet", str(linked))
    assert OLD in base_bundle(Repository(linked), large_files=ROOM)
    with Workspace() as workspace:
        done = workspace.checkout(base, commit=first)
        assert done.stderr == ""
        repository = workspace.repository()
        assert (workspace.path / "a.bin").read_bytes() == OLD and (workspace.path / "dir/same.bin").read_bytes() == SAME
        assert repository.git("status", "--porcelain") == "" and repository.git("diff", "--stat") == ""
        # One in a commit of the agent's own that is another afterwards: its content goes along, too.
        workspace.write({"a.bin": SMALL, "text": "y\n"})
        repository.git("add", "--all")
        repository.git("commit", "--quiet", "--message", "mine")
        workspace.write({"a.bin": NEW, "copy.bin": SAME, "new.bin": OLD + NEW, "none.bin": "", "dir/empty.bin": b""})
        done = workspace.commit()
        assert done.stderr == "", done.stderr
        commit, work = done.json()["commit"], done.files[5]
        assert repository.git("show", f"{commit}:a.bin") + "\n" == pointer(NEW)
        assert repository.git("rev-parse", f"{commit}^") == repository.head()
        assert NEW in work and OLD + NEW in work and SAME not in work and len(work) < 2 * len(NEW) + len(OLD) + 9000
    imported = import_work(base, work, commit, first, tmp_path, check=0)
    clean = imported.files[5]
    assert OLD + NEW in clean and len(clean) <= len(work)
    # Verification, with and without a workspace that is there; and a person's own repository.
    with Workspace() as workspace:
        workspace.checkout(base, clean, commit=first)
        assert (workspace.path / "a.bin").read_bytes() == NEW and (workspace.path / "new.bin").read_bytes() == OLD + NEW
    with Workspace() as workspace:
        workspace.checkout(base, commit=first)
        workspace.checkout(base, clean)
        assert (workspace.path / "a.bin").read_bytes() == NEW and (workspace.path / "dir/same.bin").read_bytes() == SAME
        assert workspace.repository().git("status", "--porcelain") == ""
    push(app, clean, commit, "feat/large", check=0)
    assert all(stored(app.path / ".git", content) for content in (NEW, OLD + NEW, SMALL))
    assert app.git("show", "feat/large:new.bin") + "\n" == pointer(OLD + NEW)


def test_no_large_file_takes_the_place_of_a_pointer(tmp_path):
    names = {"a.bin": pointer(b"a"), "dir/b.bin": pointer(b"b"), "mistake.bin": "no pointer\n", "text": "x\n",
             ".gitattributes": ATTRIBUTES + "q*.txt filter=lfs\n"}
    app = Repository(tmp_path / "app", names)
    with Workspace() as workspace:
        workspace.checkout(base_bundle(app), commit=app.head())
        repository = workspace.repository()
        # A pointer that was renamed, and other files: delivered.
        repository.git("mv", "dir/b.bin", "c.bin")
        workspace.write({"text": "y\n"})
        done = workspace.commit()
        assert "LFS" not in done.stderr
        commit = done.json()["commit"]
        assert repository.git("diff-tree", "--name-status", "-r", "-M", app.head(), commit) == (
            "R100\tdir/b.bin\tc.bin\nM\ttext")
        # Contents in place of pointers and new files without the filter, and pointers to what nobody has: left out, also
        # when the agent has committed them. A content that never was a pointer stays one.
        evil = "q\t$(x)\n\x1b[2J.txt"
        repository.git("config", "--unset-all", "filter.lfs.process")
        workspace.write({"a.bin": b"\0" * 100000, "new.bin": "large\n", "other.bin": pointer(b"d"), evil: "z\n",
                         "mistake.bin": "still none\n"})
        repository.git("add", "--all")
        repository.git("-c", "user.name=A", "-c", "user.email=a@a", "commit", "--quiet", "--message", "mine")
        workspace.write({"text": "z\n"})
        done = workspace.commit()
        assert "'a.bin' belongs in Git LFS" in done.stderr and "its change was left out" in done.stderr
        assert "'new.bin' belongs" in done.stderr and "'other.bin' belongs" in done.stderr and "\x1b" not in done.stderr
        commit = done.json()["commit"]
        assert repository.git("rev-parse", f"{commit}^") == app.head()
        assert repository.git("show", f"{commit}:a.bin") + "\n" == pointer(b"a")
        assert repository.git("show", f"{commit}:text") == "z" and repository.git("show", f"{commit}:mistake.bin") == "still none"
        assert repository.git("ls-tree", "-r", "--name-only", commit).split() == [
            ".gitattributes", "a.bin", "c.bin", "mistake.bin", "text"]
        assert repository.git("cat-file", "-s", "HEAD:a.bin") == "100000"  # the agent's own is as it was
        assert len(done.files[5]) < 3000

    # Nothing of it where no attribute names Git LFS.
    plain = Repository(tmp_path / "plain", {"a.bin": pointer(b"a")})
    with Workspace() as workspace:
        workspace.checkout(base_bundle(plain), commit=plain.head())
        workspace.write({"a.bin": "content\n"})
        done = workspace.commit()
        assert done.stderr == "" and done.json()["files"] == 1


def test_a_repository_that_the_agent_took_apart_keeps_its_large_files(tmp_path):
    app = application(tmp_path / "app")
    store(app.path / ".git", OLD, SAME)
    base = base_bundle(app, large_files=ROOM)
    with Workspace() as workspace:
        workspace.checkout(base, commit=app.head())
        shutil.rmtree(workspace.path / ".git")
        workspace.write({"a.bin": NEW})
        done = workspace.commit(inputs={4: base})
        assert "LFS" not in done.stderr and done.json()["files"] == 1
        assert NEW in done.files[5] and SAME not in done.files[5]


def test_what_a_sandbox_says_are_large_files_is_looked_at(tmp_path):
    app = application(tmp_path / "app")
    base, first = base_bundle(app), app.head()
    commit = app.commit({"a.bin": pointer(NEW)}, "more")
    work = work_bundle(app, commit, first)
    zeros = "0" * 64
    assert NEW in import_work(base, with_part(work, large(NEW)), commit, first, tmp_path, check=0).files[5]
    # Nor what no commit of its own names, nor anything twice: neither is in the diff.
    for part in (large(SAME), large(NEW) + large(NEW), large(NEW) + large(OLD)):
        done = import_work(base, with_part(work, part), commit, first, tmp_path)
        assert done.returncode == 1 and "a file of Git LFS is there that no new commit names" in done.stderr, done
    for part in (f"{zeros} {len(SAME)}\n".encode() + SAME, large(SAME)[:-1], large(SAME) + b"x", b"\n", zeros.encode(),
                 f"{zeros} 0\n".encode(), f"{zeros} 99999999999999999999\n".encode(), f"{zeros} -1\n".encode(),
                 f"../../../../../tmp/{zeros[19:]} 1\nx".encode()):
        done = import_work(base, with_part(work, part), commit, first, tmp_path)
        assert done.returncode not in (0, -6, -11) and done.stderr.count("\n") == 1 and "Git LFS" in done.stderr, part
    # At a base, which no sandbox made, a damaged one stays a pointer.
    bad = with_part(base, large(SAME) + f"{hashlib.sha256(OLD).hexdigest()} {len(OLD)}\n".encode() + OLD[:-1] + b"?")
    with Workspace() as workspace:
        done = workspace.checkout(bad, commit=first)
        assert "files in Git LFS were left out" in done.stderr and "1 file in Git LFS not fetched" in done.stderr
        assert (workspace.path / "a.bin").read_text() == pointer(OLD)
        assert (workspace.path / "dir/same.bin").read_bytes() == SAME


def test_the_filter_speaks_gits_protocol(tmp_path):
    repository = Repository(tmp_path / "app", {".gitattributes": ATTRIBUTES})

    def speak(*packets):
        text = b"".join(b"0000" if packet is None else f"{len(packet) + 4:04x}".encode() + packet for packet in packets)
        done = subprocess.run([shutil.which("env"), "-C", str(repository.path), "GIT_CONFIG_NOSYSTEM=1",
                               BUILD / "codex-agent", "large-files"], input=text, capture_output=True,
                              check=False, timeout=60)
        return done
    greeting = (b"git-filter-client\n", b"version=2\n", None, b"capability=clean\n", b"capability=smudge\n",
                b"capability=delay\n", None)
    clean = (b"command=clean\n", b"pathname=\xff\n.bin\n", None)
    done = speak(*greeting, *clean, b"ab", b"c" * 65516, None, *clean, None, b"command=smudge\n", b"pathname=x\n", None,
                 pointer(b"ab" + b"c" * 65516).encode(), None)
    assert done.returncode == 0 and done.stderr == b""
    assert pointer(b"ab" + b"c" * 65516).encode() in done.stdout and done.stdout.count(b"status=success") == 3
    assert b"ab" + b"c" * 65514 in done.stdout and b"delay" not in done.stdout
    # Anything else ends it, without a trace.
    for packets in ((b"git-filter-client\n", b"version=3\n", None), (*greeting, b"x" * 100, None, b"y"), (*greeting, *clean, b"x"),
                    (*greeting, None)):
        assert speak(*packets).returncode in (0, 1)
    for text in (b"zzzz", b"0001", b"ffff", b"00"):
        assert subprocess.run([BUILD / "codex-agent", "large-files"], input=text, check=False, timeout=60,
                              cwd=repository.path, capture_output=True).returncode == 1
    assert not list((repository.path / ".git/lfs/tmp").iterdir())


def fetch(url, commit, mirror, room=ROOM, login=None):
    mirror.mkdir(exist_ok=True)
    return run_program("codex-git", "fetch", "--repo", url, "--mirror", mirror, "--timeout", "60000", "--stall", "30000",
                       "--commit", commit, "--part", "base", "--large-files", str(room), inputs={3: login or access(token=TOKEN)},
                       outputs=(4,))


def test_a_forge_with_and_without_large_files(tmp_path):
    (tmp_path / "srv").mkdir()
    forge = GitServer(tmp_path / "srv")
    with forge, LargeFiles(forge, tmp_path / "storage") as server, nothing_stays_in_run():
        for content in (OLD, SAME):
            server.add(content)
        # A repository does not say where its files are, nor what runs.
        trap = tmp_path / "trap"
        app = application(tmp_path / "app", {".lfsconfig": f"[lfs]\n\turl = {server.storage.url('elsewhere')}\n"
                                             "\tfetchexclude = *\n[lfs \"customtransfer.x\"]\n"
                                             f"\tpath = touch {trap}\n\tconcurrent = false\n"})
        bare(app, forge.root / "app.git")
        url, commit = forge.url("app.git"), app.head()
        done = fetch(url, commit, tmp_path / "mirror")
        assert done.returncode == 0 and OLD in done.stdout and SAME in done.stdout and done.files[4] == b"", done
        # The login went to the forge alone; what is there is not asked for again.
        assert forge.served("objects/batch") and server.storage.requests and not trap.exists()
        assert not any(header for _, _, header in server.storage.requests) and not server.storage.served("elsewhere")
        count = len(server.storage.requests)
        assert OLD in fetch(url, commit, tmp_path / "mirror").stdout and len(server.storage.requests) == count

        def notes(**options):
            done = fetch(url, commit, tmp_path / f"mirror-{len(forge.requests)}", **options)
            assert done.returncode == 0 and OLD not in done.stdout, done
            lines = done.files[4].decode().splitlines()
            assert len(lines) <= 1 and TOKEN not in done.stderr
            return lines[0] if lines else ""
        assert "note files in Git LFS were left out: they have" in notes(room=1000)
        assert notes(room=0) == ""
        server.fault = (501, "we have none here")
        assert notes() == f"note files in Git LFS were left out: Git LFS of {forge.site}: we have none here"
        server.fault = (500, "in\x1btrouble")
        assert notes() == f"passing files in Git LFS were left out: Git LFS of {forge.site}: Fatal error: in?trouble"
        server.fault = None
        del server.objects[hashlib.sha256(OLD).hexdigest()]
        assert "no such object" in notes()
        # Contents that are not what they are said to be are not taken.
        server.objects[hashlib.sha256(OLD).hexdigest()] = OLD[:-1] + b"?"
        assert "expected OID" in notes()


@pytest.mark.skipif(not available(), reason="dropbear is not there")
def test_large_files_by_ssh(tmp_path):
    """The forge says by ssh where they are, and with what login."""
    (tmp_path / "srv").mkdir()
    (tmp_path / "programs").mkdir()
    forge = GitServer(tmp_path / "srv")
    with forge, LargeFiles(forge, tmp_path / "storage") as server, SshServer(tmp_path / "ssh", tmp_path / "programs") as ssh:
        server.add(OLD)
        app = Repository(tmp_path / "app", {"a.bin": pointer(OLD), ".gitattributes": ATTRIBUTES})
        path = bare(app, tmp_path / "srv" / "app.git")
        login = base64.b64encode(f"{forge.user}:{forge.token}".encode()).decode()
        answer = {"href": forge.url("app.git/info/lfs"), "header": {"Authorization": f"Basic {login}"}, "expires_in": 600}
        program = tmp_path / "programs" / "git-lfs-authenticate"
        program.write_text(f"#!/bin/sh\ntest \"$1 $2\" = \"{path} download\" && echo '{json.dumps(answer)}'\n")
        program.chmod(0o755)
        key = access(ssh_key=ssh.key.read_text(), known_hosts=ssh.known_hosts)
        done = fetch(ssh.url(path), app.head(), tmp_path / "mirror", login=key)
        assert done.returncode == 0 and OLD in done.stdout and done.files[4] == b"", done


@pytest.mark.slow
def test_a_task_on_large_files(tmp_path):
    tests = CALCULATOR["tests/test_calc.py"] + (
        "\n    def test_data(self):\n        with open('a.bin', 'rb') as file:\n"
        "            self.assertGreater(len(file.read()), 200)\n")
    (tmp_path / "srv").mkdir()
    forge = GitServer(tmp_path / "srv", tls=certificate(tmp_path))
    app = application(tmp_path / "app", {**CALCULATOR, "tests/test_calc.py": tests})
    served = bare(app, tmp_path / "srv" / "app.git")
    new = bytes(range(256)) * 2000
    script = [[call("exec_command", {"cmd": "head -c 9 a.bin | od -An -tx1; python3 -c \"open('new.bin','wb').write(bytes(range(256))*2000)\"; "
                                            "git add new.bin; git status --porcelain"})],
              [SUBMIT], [message("Done.")]]
    with forge, LargeFiles(forge, tmp_path / "storage") as server:
        for content in (OLD, SAME):
            server.add(content)
        configuration = (f"[forge \"{forge.site}\"]\nkind = plain\ntoken_env = FORGE_TOKEN\nca_file = {forge.tls[0]}\n")
        with codex_on(script, configuration, {"FORGE_TOKEN": TOKEN}) as (codex, model):
            task = codex.task("Add new.bin", "--repo", forge.url("app.git"), cwd=codex.home)
            ended = codex.wait(task, "completed")
            assert ended["verdict"] == "passed", ended
        output = list(model.requests[1].outputs.values())[0]
        assert OLD[:9].hex(" ") in output and "A  new.bin" in output, output
        assert git(served, "show", f"{ended['branch']}:new.bin") + "\n" == pointer(new)
        assert server.objects[hashlib.sha256(new).hexdigest()] == new
        assert not any(header for _, _, header in server.storage.requests)
        assert json.dumps(model.requests[1].outputs).find(TOKEN) < 0
