"""Git repositories for tests."""
import os
import pathlib
import subprocess

ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@localhost", "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@localhost", "GIT_COMMITTER_DATE": "1700000000 +0000",
}

# A project whose tests pass, and fail once `add` is broken.
CALCULATOR = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "tests/__init__.py": "",
    "tests/test_calc.py": ("import unittest\n\nfrom calc import add\n\n\n"
                           "class CalcTest(unittest.TestCase):\n"
                           "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"),
}


class Repository:
    """A git repository in DIRECTORY, with FILES as its first commit on main."""

    def __init__(self, directory, files=None):
        self.path = pathlib.Path(directory)
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        if files is not None:
            self.commit(files, "first")

    def git(self, *arguments, check=True):
        """What git prints, without the last line's end."""
        done = subprocess.run(["git", "-C", str(self.path), *arguments], env=ENVIRONMENT, check=False,
                              capture_output=True, text=True, errors="surrogateescape")
        assert not check or done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout.rstrip("\n")

    def write(self, files):
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def commit(self, files, message):
        """Returns the new commit."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD")

    def branches(self):
        return set(self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def pack(self, commit, base=None):
        """The pack of what COMMIT has and BASE has not, as bytes."""
        revisions = f"{commit}\n" + (f"^{base}\n" if base else "")
        return subprocess.run(["git", "-C", str(self.path), "pack-objects", "--quiet", "--revs", "--thin",
                               "--stdout"], env=ENVIRONMENT, check=True, input=revisions.encode(),
                              capture_output=True).stdout
