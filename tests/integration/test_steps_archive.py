"""codex-agent archive: a hostile workspace as one .tar.zst that unpacks to the same."""
import hashlib
import json
import os
import pathlib
import socket
import stat
import subprocess
import tarfile
import tempfile
import threading

import pytest

from support.codex import BUILD
from support.program import memory_file, start_program
from support.steps import Workspace


@pytest.fixture(name="workspace")
def make_workspace():
    with Workspace() as workspace:
        workspace.path.mkdir()
        yield workspace


def archive(workspace, **options):
    return workspace.step("archive", outputs=(3, 5), **options)


def unpack(done, directory):
    """Unpack with GNU tar, as a person would."""
    directory.mkdir()
    path = directory / "archive.tar.zst"
    path.write_bytes(done.files[5])
    subprocess.run(["tar", "--zstd", "--xattrs", "--xattrs-include=*", "-xpf", str(path), "-C", str(directory)],
                   check=True, stderr=subprocess.DEVNULL)
    return directory / "demo"


def names(done):
    """The names in the archive, without unpacking it."""
    with tempfile.TemporaryFile() as tar:
        subprocess.run(["zstd", "-dc"], input=done.files[5], stdout=tar, check=True)
        tar.seek(0)
        with tarfile.open(fileobj=tar) as opened:
            return [member.name for member in opened]


def facts(path):
    """What must be the same after unpacking, of everything below PATH."""
    found, links = {}, {}
    for top, directories, files in os.walk(os.fsencode(path)):
        for name in [b".", *directories, *files]:
            full = os.path.join(top, name)
            st = os.lstat(full)
            kind = stat.S_IFMT(st.st_mode)
            entry = [kind, st.st_mtime_ns, st.st_uid, st.st_gid]
            if kind != stat.S_IFLNK:
                entry.append(stat.S_IMODE(st.st_mode))
            if kind == stat.S_IFREG:
                with open(full, "rb") as file:
                    entry.append(hashlib.file_digest(file, "sha256").hexdigest())
                entry.append(links.setdefault((st.st_dev, st.st_ino), full[len(os.fsencode(path)):]))
            if kind == stat.S_IFLNK:
                entry.append(os.readlink(full))
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                entry.append({n: os.getxattr(full, n) for n in os.listxattr(full) if n.startswith("user.")})
            found[full[len(os.fsencode(path)):]] = entry
    return found


def test_what_comes_out_is_what_was_there(workspace, tmp_path):
    demo = workspace.path
    (demo / "dir" / "empty").mkdir(parents=True)
    (demo / "file").write_bytes(os.urandom(300000))
    (demo / "empty-file").touch()
    (demo / "exec").write_text("x")
    (demo / "exec").chmod(0o4751)
    (demo / "sticky").mkdir()
    (demo / "sticky").chmod(0o1777)
    os.utime(demo / "exec", ns=(1, 1234567890123456789))
    os.utime(demo / "dir" / "empty", ns=(1, 987654321987654321))
    os.utime(demo / "empty-file", ns=(1, -1000000000))
    (demo / "link").symlink_to("/etc/shadow")
    (demo / "dangling").symlink_to("x" * 4000)
    os.link(demo / "file", demo / "dir" / "hard")
    os.link(demo / "file", demo / "dir" / "hard2")
    os.mkfifo(demo / "fifo")
    for name in ["new\nline", "ü　漢", "a" * 255, "-rf", " ", "back\\slash", "\x1b[2J", '"quote\'', "trail."]:
        (demo / name).write_text(name)
    with open(os.path.join(os.fsencode(demo), b"not-\xff\xfe-utf8"), "wb") as file:
        file.write(b"x")
    os.setxattr(demo / "file", "user.note", b"\0binary\xff")
    os.setxattr(demo / "dir", "user.empty", b"")
    workspace.own(demo)
    (demo / "exec").chmod(0o4751)
    before = facts(demo)
    done = archive(workspace)
    assert facts(demo) == before
    assert facts(unpack(done, tmp_path / "out")) == before
    assert done.json()["files"] == len(names(done))


def test_owners_are_numbers(workspace):
    (workspace.path / "a").touch()
    workspace.own(workspace.path)
    tar = subprocess.run(["zstd", "-dc"], input=archive(workspace).files[5], stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryFile() as file:
        file.write(tar)
        file.seek(0)
        with tarfile.open(fileobj=file) as opened:
            for member in opened:
                assert (member.uname, member.gname) == ("", "")
                assert os.getuid() != 0 or (member.uid, member.gid) == (1000, 1000)


def dig(top, name, depth, leaf_every=0):
    """A chain of DEPTH directories NAME below TOP, deeper than a path can name."""
    fd = os.open(top, os.O_RDONLY)
    for i in range(1, depth + 1):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        if leaf_every and i % leaf_every == 0:
            os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(fd)
        fd = below
    os.close(fd)


def fill(top, name):
    """Take such a chain away again, from the top: each directory moves up before its parent goes."""
    while (top / name).exists():
        (top / name / "leaf").unlink(missing_ok=True)
        if (top / name / name).exists():
            os.rename(top / name / name, top / "next")
        (top / name).rmdir()
        if (top / "next").exists():
            os.rename(top / "next", top / name)


@pytest.mark.slow
def test_ten_thousand_directories_deep(workspace):
    dig(workspace.path, "dd", 10000, leaf_every=1000)
    done = archive(workspace, timeout=300)
    fill(workspace.path, "dd")
    listed = names(done)
    assert len(listed) == done.json()["files"] == 10000 + 10 + 1
    assert "demo" + "/dd" * 10000 + "/leaf" in listed and done.json()["left_out"] == 0


def test_what_is_too_deep_is_left_out(workspace):
    dig(workspace.path, "d" * 250, 1100)
    done = archive(workspace, timeout=300)
    fill(workspace.path, "d" * 250)
    assert done.json()["left_out"] == 1 and "too deep" in done.stderr and done.stderr.count("\n") == 1
    assert 1040 < done.json()["files"] < 1050


def test_many_entries_and_few_descriptors(workspace, tmp_path):
    for i in range(200):
        (workspace.path / f"d{i}" / "e" / "f").mkdir(parents=True)
        (workspace.path / f"d{i}" / "file").write_text(str(i))
    before = facts(workspace.path)
    assert facts(unpack(archive(workspace), tmp_path / "out")) == before


def test_holes_stay_holes(workspace, tmp_path):
    """A terabyte that is not there: bounded in time and size, and unpacked as it was."""
    with open(workspace.path / "tera", "wb") as file:
        file.write(b"start")
        file.seek(1 << 39)
        file.write(b"middle" * 1000)
        file.truncate(1 << 40)
    (workspace.path / "hole").touch()
    os.truncate(workspace.path / "hole", 5 << 30)
    with open(workspace.path / "comb", "wb") as file:
        for i in range(2000):
            file.seek(i * 16384)
            file.write(b"tooth")
    done = archive(workspace, timeout=120)
    assert len(done.files[5]) < 3 << 20
    out = unpack(done, tmp_path / "out")
    for name in ["tera", "hole", "comb"]:
        original, copy = os.stat(workspace.path / name), os.stat(out / name)
        assert original.st_size == copy.st_size and copy.st_blocks <= original.st_blocks + 64
    assert (out / "comb").read_bytes() == (workspace.path / "comb").read_bytes()
    with open(out / "tera", "rb") as file:
        assert file.read(5) == b"start"
        file.seek(1 << 39)
        assert file.read(6000) == b"middle" * 1000


def test_more_holes_than_are_kept_in_mind(workspace):
    with open(workspace.path / "comb", "wb") as file:
        for i in range(18000):
            file.seek(i * 8192)
            file.write(b"x")
    digest = hashlib.sha256((workspace.path / "comb").read_bytes()).hexdigest()
    done = archive(workspace, timeout=120)
    tar = subprocess.Popen(["zstd", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    threading.Thread(target=lambda: (tar.stdin.write(done.files[5]), tar.stdin.close())).start()
    with tarfile.open(fileobj=tar.stdout, mode="r|") as opened:
        for member in opened:
            if member.name == "demo/comb":
                assert hashlib.file_digest(opened.extractfile(member), "sha256").hexdigest() == digest
    assert tar.wait() == 0


def test_what_cannot_be_archived_is_left_out_and_named(workspace, tmp_path):
    (workspace.path / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(workspace.path)
        sock.bind("socket\nname")
        os.chdir("/")
    expected = 1
    if os.getuid() == 0:
        os.mknod(workspace.path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        expected = 2
    done = archive(workspace)
    assert done.json()["left_out"] == expected and done.stderr.count("\n") == expected
    assert "'demo/socket?name' is left out: sockets and devices" in done.stderr
    assert sorted(p.name for p in unpack(done, tmp_path / "out").iterdir()) == ["file"]


def test_complaints_are_bounded(workspace):
    for i in range(150):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(workspace.path / f"s{i}"))
    done = archive(workspace)
    assert done.json()["left_out"] == 150 and done.stderr.count("\n") == 101 and "50 more" in done.stderr


def test_links_are_never_followed(workspace, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (workspace.path / "dir").symlink_to(tmp_path / "outside")
    (workspace.path / "loop").symlink_to(".")
    assert sorted(names(archive(workspace))) == ["demo", "demo/dir", "demo/loop"]


def test_a_workspace_that_is_a_link_or_a_file_or_missing(workspace, tmp_path):
    workspace.path.rmdir()
    for make in [lambda: workspace.path.symlink_to(tmp_path), lambda: workspace.path.write_text("x"), lambda: None]:
        make()
        done = archive(workspace, check=1)
        assert done.stderr.count("\n") == 1 and "cannot open" in done.stderr
        workspace.path.unlink(missing_ok=True)


def test_files_that_change_while_they_are_read(workspace):
    """Growing, shrinking, vanishing, moving about, becoming FIFOs and links: the archive stays readable."""
    for i in range(30):
        (workspace.path / f"d{i}").mkdir()
        for j in range(30):
            (workspace.path / f"d{i}" / f"f{j}").write_bytes(b"x" * 20000)
    stop = threading.Event()

    def change(path, how):
        # The other one may just have put a FIFO there, or a link.
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        how(file)
        os.close(file)

    def churn(seed):
        n = seed
        while not stop.is_set():
            n = (n * 1103515245 + 12345) % (1 << 31)
            path = workspace.path / f"d{n % 30}" / f"f{n // 30 % 30}"
            other = workspace.path / f"d{n // 900 % 30}"
            try:
                action = n // 27000 % 6
                if action == 0:
                    change(path, lambda file: os.ftruncate(file, n % 40000))  # pylint: disable=cell-var-from-loop
                elif action == 1:
                    path.unlink()
                    os.mkfifo(path)
                elif action == 2:
                    change(path, lambda file: os.write(file, b"y" * (n % 50000)))  # pylint: disable=cell-var-from-loop
                elif action == 3:
                    os.rename(other, workspace.path / f"d{n % 30}" / "moved")
                elif action == 4:
                    os.rename(workspace.path / f"d{n % 30}" / "moved", other)
                else:
                    path.unlink()
                    path.symlink_to("/etc/shadow")
            except OSError:
                pass
    threads = [threading.Thread(target=churn, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            done = archive(workspace)
            assert "demo" in names(done)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_reader_that_goes_away(workspace):
    (workspace.path / "big").write_bytes(os.urandom(4 << 20))
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = workspace.step("archive", inputs={5: write_end}, check=1)
    os.close(write_end)
    assert "Broken pipe" in done.stderr and done.stderr.count("\n") == 1


def peak_memory(pid):
    """Of a running process, in KiB; 0 once it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), 0))


def test_memory_is_flat(workspace):
    """A large file that does not compress, and thousands of small ones: below 16 MiB all the time."""
    with open(workspace.path / "random", "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))
    for i in range(3000):
        (workspace.path / f"f{i}").write_text("x" * 100)
    read_end, write_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    task = memory_file(json.dumps(workspace.task).encode())
    pid = start_program("codex-agent", "archive", fds={0: task, 1: null, 2: null, 3: null, 5: write_end})
    os.close(write_end)
    size = peak = 0
    while chunk := os.read(read_end, 1 << 20):
        size += len(chunk)
        if not size >> 20 & 7:
            peak = max(peak, peak_memory(pid))
    for fd in [read_end, null, task]:
        os.close(fd)
    assert os.waitpid(pid, 0)[1] == 0 and size > 64 << 20 and peak > 0
    assert "sanitize" in str(BUILD) or peak < 16 << 10
