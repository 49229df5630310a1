"""codex-git: what a sandbox sends is checked, and written anew."""
import hashlib
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import zlib

import pytest

from support.bundles import base_bundle, import_work, index_of, work_bundle
from support.program import NOBODY, run_program
from support.repository import ENVIRONMENT, Repository


@pytest.fixture(name="scratch")
def make_scratch():
    """A directory that nobody can enter and write to."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="codex-test-"))
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


@pytest.fixture(name="work")
def make_work(tmp_path):
    """A repository with work on its main branch's first commit: (repository, commit, base)."""
    repository = Repository(tmp_path / "repo", {"a.txt": "one\n", "b.txt": "two\n" * 50, "c.txt": "three\n"})
    base = repository.head()
    repository.git("mv", "b.txt", "renamed.txt")
    (repository.path / "c.txt").unlink()
    (repository.path / "bin").write_bytes(bytes(range(256)) * 20)
    (repository.path / "run.sh").write_text("#!/bin/sh\n")
    (repository.path / "run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("/etc/shadow")
    commit = repository.commit({"a.txt": "changed\n", "ü\tx.txt": "odd name\n"}, "work")
    return repository, commit, base


def test_work_comes_out_clean_and_as_a_diff_that_applies(work, scratch, tmp_path):
    repository, commit, base = work
    done = import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                       user=NOBODY, check=0)
    assert done.files[5].startswith(f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\nPACK".encode())
    diff = done.files[6]
    assert b"rename from b.txt" in diff and b"GIT binary patch" in diff and b"deleted file mode" in diff
    (tmp_path / "patch").write_bytes(diff)
    repository.git("checkout", "--quiet", "-B", "check", base)
    repository.git("apply", "--index", str(tmp_path / "patch"))
    assert repository.git("write-tree") == repository.git("rev-parse", f"{commit}^{{tree}}")
    assert not list(scratch.iterdir())


def test_an_index_of_the_base_changes_nothing_but_the_time(work, scratch, tmp_path):
    repository, commit, base = work
    bundle, made = base_bundle(repository, base), work_bundle(repository, commit, base)
    plain = import_work(bundle, made, commit, base, scratch, check=0, user=NOBODY)
    index = index_of(bundle, scratch, user=NOBODY)
    assert index.startswith(b"\xfftOc")     # gitformat-pack(5)
    done = import_work(bundle, made, commit, base, scratch, check=0, user=NOBODY, index=index)
    assert done.files == plain.files
    # One of another bundle, with the same commits or not, or of nothing: as if there were none.
    other = Repository(tmp_path / "other", {"a": "1\n"})
    for foreign in (index_of(base_bundle(other), scratch, user=NOBODY), b"", b"x" * 4096, index[:-1]):
        done = import_work(bundle, made, commit, base, scratch, check=0, user=NOBODY, index=foreign)
        assert done.files == plain.files
    # One that says it fits, and lies: refused, whatever it says.
    for lie in (b"x" * 4096 + index[-40:], index[20:],
                b"\xfftOc" + b"\xff" * 2000 + index[-40:]):
        done = import_work(bundle, made, commit, base, scratch, index=lie, user=NOBODY)
        assert done.returncode == 1 and done.stderr.startswith("codex-git: "), done


def test_several_commits_and_a_merge(work, scratch):
    repository, _, base = work
    repository.git("checkout", "--quiet", "-b", "side", base)
    repository.commit({"side.txt": "s\n"}, "side")
    repository.git("merge", "--quiet", "--no-edit", "main")
    commit = repository.head()
    done = import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                       user=NOBODY, check=0)
    assert b"side.txt" in done.files[6]


def refused(work, scratch, base=None, bundle=None, commit=None, base_commit=None):
    repository, good_commit, good_base = work
    done = import_work(base if base is not None else base_bundle(repository, good_base),
                       bundle if bundle is not None else work_bundle(repository, good_commit, good_base),
                       commit or good_commit, base_commit or good_base, scratch, user=NOBODY, check=1)
    assert done.stderr.count("\n") == 1 and done.files[5] == b"" and done.files[6] == b""
    assert not list(scratch.iterdir())
    return done.stderr


def test_a_bundle_of_another_commit(work, scratch):
    repository, commit, base = work
    other = repository.commit({"d.txt": "d\n"}, "other")
    assert "not of commit" in refused(work, scratch, commit=other)
    assert "not of commit" in refused(work, scratch, bundle=work_bundle(repository, other, base))
    assert "not of commit" in refused(work, scratch, base_commit=commit)


def test_a_bundle_that_claims_a_commit_it_lacks(work, scratch):
    repository, commit, base = work
    header = f"# v2 git bundle\n-{base}\n{'a' * 40} refs/codex/work\n\n".encode()
    assert "lack" in refused(work, scratch, bundle=work_bundle(repository, commit, base, header=header),
                             commit="a" * 40)
    tree = repository.git("rev-parse", "HEAD^{tree}")
    header = f"# v2 git bundle\n-{base}\n{tree} refs/codex/work\n\n".encode()
    refused(work, scratch, bundle=work_bundle(repository, commit, base, header=header), commit=tree)


def test_a_commit_that_does_not_build_on_the_base(work, scratch):
    repository, _, base = work
    tree = repository.git("rev-parse", "HEAD^{tree}")
    stray = repository.git("commit-tree", "-m", "stray", tree)
    assert "does not build on" in refused(work, scratch, commit=stray,
                                          bundle=work_bundle(repository, stray, base))
    assert "the base commit itself" in refused(work, scratch, commit=base, bundle=work_bundle(repository, base, base))


def test_malformed_headers(work, scratch):
    repository, commit, base = work
    pack = repository.pack(commit, base)
    good = f"# v2 git bundle\n-{base}\n{commit} refs/codex/work\n\n".encode()
    headers = [
        b"", b"\n", b"# v3 git bundle\n@object-format=sha256\n\n", good[:-1], good.replace(b"refs/codex/work", b"HEAD"),
        good.replace(b"-", b"- "), good.replace(b"\n\n", b"\n" + commit.encode() + b" refs/heads/main\n\n"),
        good.replace(b"\n\n", b"\n" + commit.encode() + b" refs/codex/work\n\n"),
        good.replace(b"\n-", b"\n-" + commit.encode() + b"\n-"), good.replace(commit.encode(), commit.upper().encode()),
        good.replace(b" refs/codex/work", b""), b"# v2 git bundle\n\n", b"# v2 git bundle\n" + b"x" * 400000,
        good.replace(b"\n\n", b"".join(b"\n%s refs/codex/shallow/%d" % (base.encode(), i) for i in range(1, 3)) + b"\n\n"),
        b"# v2 git bundle\n" + b"".join(b"%s refs/codex/shallow/%d\n" % (base.encode(), i) for i in range(2000)) + b"\n",
        good.replace(b"refs/codex/work", b"refs/codex/work\0/x"), good + good,
    ]
    for header in headers:
        refused(work, scratch, bundle=header + pack)


def test_malformed_packs(work, scratch):
    repository, commit, base = work
    good = work_bundle(repository, commit, base)
    start = good.index(b"PACK")
    for bad in [good[:start], good[:start + 11], good[:-1], good[:-20], good[:start] + b"JUNK" + good[start + 4:],
                good[:start + 4] + struct.pack(">I", 9) + good[start + 8:],
                good[:start + 8] + struct.pack(">I", 2 ** 32 - 1) + good[start + 12:],
                good[:start + 40] + bytes([good[start + 40] ^ 1]) + good[start + 41:]]:
        refused(work, scratch, bundle=bad)


def test_what_follows_the_pack_goes_nowhere(work, scratch):
    repository, commit, base = work
    done = import_work(base_bundle(repository, base), work_bundle(repository, commit, base) + b"garbage" * 1000,
                       commit, base, scratch, user=NOBODY)
    assert done.returncode == 1 or b"garbage" not in done.files[5]


def object_pack(*objects):
    """A pack of (type, content) made by hand, as git would never write it."""
    out = b"PACK" + struct.pack(">II", 2, len(objects))
    for kind, content in objects:
        size = len(content)
        byte = (kind << 4) | (size & 15)
        size >>= 4
        while size:
            out += bytes([byte | 0x80])
            byte = size & 0x7f
            size >>= 7
        out += bytes([byte]) + zlib.compress(content)
    return out + hashlib.sha1(out).digest()


COMMIT, TREE, BLOB = 1, 2, 3


def name_of(kind, content):
    word = {COMMIT: "commit", TREE: "tree", BLOB: "blob"}[kind]
    return hashlib.sha1(f"{word} {len(content)}\0".encode() + content).hexdigest()


def crafted(base, tree, *others, message="work"):
    """(bundle, commit) of a commit on BASE with TREE's bytes as its tree."""
    commit = (f"tree {name_of(TREE, tree)}\nparent {base}\nauthor A <a@b> 1700000000 +0000\n"
              f"committer A <a@b> 1700000000 +0000\n\n{message}\n").encode()
    sha = name_of(COMMIT, commit)
    header = f"# v2 git bundle\n-{base}\n{sha} refs/codex/work\n\n".encode()
    return header + object_pack((COMMIT, commit), (TREE, tree), *others), sha


def entry(mode, name, kind, content):
    return f"{mode} ".encode() + name + b"\0" + bytes.fromhex(name_of(kind, content))


@pytest.mark.parametrize("name", [b".git", b".GIT", b"..", b".", b"a/b", b"git~1", b".g\xe2\x80\x8cit"])
def test_trees_that_would_write_where_they_should_not(work, scratch, name):
    tree = entry("100644", name, BLOB, b"x")
    bundle, sha = crafted(work[2], tree, (BLOB, b"x"))
    refused(work, scratch, bundle=bundle, commit=sha)


def test_trees_that_are_malformed(work, scratch):
    twice = entry("100644", b"a", BLOB, b"x") * 2
    unsorted = entry("100644", b"b", BLOB, b"x") + entry("100644", b"a", BLOB, b"x")
    for tree in [twice, unsorted, b"100644 a\0short", b"100644 "]:
        bundle, sha = crafted(work[2], tree, (BLOB, b"x"))
        refused(work, scratch, bundle=bundle, commit=sha)


def test_objects_that_are_missing(work, scratch):
    tree = entry("100644", b"a", BLOB, b"nowhere")
    bundle, sha = crafted(work[2], tree)
    refused(work, scratch, bundle=bundle, commit=sha)


def gitmodules(base, text, blobs=()):
    """A commit whose only file is .gitmodules."""
    tree = entry("100644", b".gitmodules", BLOB, text)
    return crafted(base, tree, (BLOB, text), *blobs)


@pytest.mark.parametrize("setting", [
    b"url = ext::sh -c touch% /tmp/x", b"url = file:///etc", b"url = FILE:///etc", b"url = /etc", b"url = -u./x",
    b"url = https://x/y\n\tupdate = !sh -c x", b"url = --upload-pack=x", b"path = -x\n\turl = https://x/y"])
def test_submodules_that_name_a_command_or_a_place(work, scratch, setting):
    bundle, sha = gitmodules(work[2], b'[submodule "x"]\n\tpath = x\n\t' + setting + b"\n")
    refused(work, scratch, bundle=bundle, commit=sha)


def test_an_ordinary_submodule_passes(work, scratch):
    repository, _, base = work
    bundle, sha = gitmodules(base, b'[submodule "x"]\n\tpath = x\n\turl = https://example.com/x.git\n')
    done = import_work(base_bundle(repository, base), bundle, sha, base, scratch, user=NOBODY, check=0)
    assert b"example.com" in done.files[6]


def test_the_submodules_that_the_base_has_may_stay(tmp_path, scratch):
    repository = Repository(tmp_path / "old", {".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = /srv/x\n'})
    base = repository.head()
    commit = repository.commit({"a": "a\n"}, "work")
    import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                user=NOBODY, check=0)
    commit = repository.commit({".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = /etc\n'}, "worse")
    done = import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                       user=NOBODY, check=1)
    assert "'submodule.x.url' may not be '/etc'" in done.stderr


def test_the_old_mistakes_of_a_repository_do_not_count(tmp_path, scratch):
    """Its history has an object that git-fsck would refuse today."""
    repository = Repository(tmp_path / "old", {"a": "a\n"})
    tree = repository.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nauthor A <a@b> 01700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nold\n"
    base = subprocess.run(["git", "-C", str(repository.path), "hash-object", "-t", "commit", "-w", "--stdin", "--literally"],
                          input=raw.encode(), capture_output=True, check=True, env=ENVIRONMENT).stdout.decode().strip()
    repository.git("update-ref", "refs/heads/main", base)
    commit = repository.commit({"b": "b\n"}, "work")
    import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                user=NOBODY, check=0)


def test_too_many_objects(work, scratch):
    bundle, sha = crafted(work[2], entry("100644", b"a", BLOB, b"x"), (BLOB, b"x"))
    start = bundle.index(b"PACK")
    bundle = bundle[:start + 8] + struct.pack(">I", 1000001) + bundle[start + 12:]
    assert "more than 1000000 objects" in refused(work, scratch, bundle=bundle, commit=sha)


def test_a_huge_diff_becomes_a_summary(work, scratch):
    repository, _, base = work
    (repository.path / "big.txt").write_text("".join(f"{i:0100d}\n" for i in range(350000)))
    commit = repository.commit({}, "big")
    done = import_work(base_bundle(repository, base), work_bundle(repository, commit, base), commit, base, scratch,
                       user=NOBODY, check=0)
    assert done.files[6].startswith(b"# The diff is larger than 32 MiB")
    assert b"big.txt" in done.files[6] and len(done.files[6]) < 2000
    assert f"{commit} refs/codex/work".encode() in done.files[5][:200]


def test_a_bomb_is_no_danger(work, scratch):
    """64 MiB of zeros in a few kilobytes: imported, and summarised."""
    zeros = bytes(64 << 20)
    bundle, sha = crafted(work[2], entry("100644", b"zeros", BLOB, zeros), (BLOB, zeros))
    done = import_work(base_bundle(work[0], work[2]), bundle, sha, work[2], scratch, user=NOBODY, timeout=300)
    assert done.returncode in (0, 1) and not list(scratch.iterdir())


def test_deep_trees(work, scratch):
    """10,000 levels: git follows them, or we refuse; nothing hangs or is left behind."""
    objects, content = [(BLOB, b"x")], entry("100644", b"a", BLOB, b"x")
    for _ in range(10000):
        objects.append((TREE, content))
        content = entry("40000", b"d", TREE, content)
    bundle, sha = crafted(work[2], content, *objects)
    done = import_work(base_bundle(work[0], work[2]), bundle, sha, work[2], scratch, user=NOBODY)
    assert done.returncode in (0, 1) and done.stderr.count("\n") <= 1 and not list(scratch.iterdir())


def test_a_base_bundle_of_something_else(work, scratch):
    repository, commit, base = work
    other = base_bundle(repository, commit)
    assert "base bundle" in refused(work, scratch, base=other)
    assert "base bundle" in refused(work, scratch, base=work_bundle(repository, commit, base))
    assert "base bundle" in refused(work, scratch, base=b"")


def test_descriptors_that_are_missing(scratch):
    done = run_program("codex-git", "import", "--commit", "a" * 40, "--base-commit", "b" * 40, cwd=scratch, check=2)
    assert done.stderr == "codex-git: descriptor 3 is not open\n" and not list(scratch.iterdir())
