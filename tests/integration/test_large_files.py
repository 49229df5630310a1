"""Files in Git LFS, of which the workspace has the pointers: what is delivered of work on them."""
from support.bundles import base_bundle
from support.repository import Repository
from support.steps import Workspace


def pointer(digit):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digit * 64}\nsize 12345\n"


def test_no_large_file_takes_the_place_of_a_pointer(tmp_path):
    names = {"a.bin": pointer("a"), "dir/b.bin": pointer("b"), "mistake.bin": "no pointer\n", "text": "x\n",
             ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\nq*.txt filter=lfs\n"}
    app = Repository(tmp_path / "app", names)
    with Workspace() as workspace:
        workspace.checkout(base_bundle(app), commit=app.head())
        repository = workspace.repository()
        # A pointer that was renamed, a content that never was one, and other files: delivered.
        repository.git("mv", "dir/b.bin", "c.bin")
        workspace.write({"mistake.bin": "still none\n", "text": "y\n"})
        done = workspace.commit()
        assert "LFS" not in done.stderr
        commit = done.json()["commit"]
        assert repository.git("diff-tree", "--name-status", "-r", "-M", app.head(), commit) == (
            "R100\tdir/b.bin\tc.bin\nM\tmistake.bin\nM\ttext")
        # Contents in place of pointers, new files and pointers to what nobody has: left out, also when the agent
        # has committed them.
        evil = "q\t$(x)\n\x1b[2J.txt"
        workspace.write({"a.bin": b"\0" * 100000, "new.bin": "large\n", "other.bin": pointer("d"), evil: "z\n"})
        repository.git("add", "--all")
        repository.git("-c", "user.name=A", "-c", "user.email=a@a", "commit", "--quiet", "--message", "mine")
        workspace.write({"text": "z\n"})
        done = workspace.commit()
        assert "'a.bin' belongs in Git LFS" in done.stderr and "its change was left out" in done.stderr
        assert "'new.bin' belongs" in done.stderr and "'other.bin' belongs" in done.stderr and "\x1b" not in done.stderr
        commit = done.json()["commit"]
        assert repository.git("rev-parse", f"{commit}^") == app.head()
        assert repository.git("show", f"{commit}:a.bin") + "\n" == pointer("a")
        assert repository.git("show", f"{commit}:text") == "z"
        assert repository.git("ls-tree", "-r", "--name-only", commit).split() == [
            ".gitattributes", "a.bin", "c.bin", "mistake.bin", "text"]
        assert repository.git("cat-file", "-s", "HEAD:a.bin") == "100000"  # the agent's own is as it was
        assert len(done.files[5]) < 3000

    # Nothing of it where no attribute names Git LFS.
    plain = Repository(tmp_path / "plain", {"a.bin": pointer("a")})
    with Workspace() as workspace:
        workspace.checkout(base_bundle(plain), commit=plain.head())
        workspace.write({"a.bin": "content\n"})
        done = workspace.commit()
        assert done.stderr == "" and done.json()["files"] == 1
