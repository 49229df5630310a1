"""codex-git as the tests call it."""
from support.program import run_program


def git_facts(*arguments, **options):
    """What `codex-git resolve` prints, as a dictionary."""
    done = run_program("codex-git", "resolve", *arguments, check=0, **options)
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())


def base_bundle(repository, commit=None):
    """The base bundle of COMMIT (default: HEAD) of a Repository."""
    return run_program("codex-git", "fetch", "--repo", repository.path, "--commit",
                       commit or repository.head(), check=0).stdout


def work_bundle(repository, commit, base, ref="refs/codex/work", header=None):
    """A bundle of BASE..COMMIT as a sandbox would send it, made without our programs."""
    pack = repository.pack(commit, base)
    header = header if header is not None else f"# v2 git bundle\n-{base}\n{commit} {ref}\n\n".encode()
    return header + pack


def import_work(base, work, commit, base_commit, directory, check=None, **options):
    """Run `codex-git import` in DIRECTORY; descriptors 5 and 6 are in the result's files."""
    return run_program("codex-git", "import", "--commit", commit, "--base-commit", base_commit,
                       inputs={3: base, 4: work}, outputs=(5, 6), cwd=directory, check=check, **options)


def push(repository, bundle, commit, branch, check=None, **options):
    """Run `codex-git push`."""
    return run_program("codex-git", "push", "--repo", repository.path, "--commit", commit, "--branch",
                       branch, inputs={3: bundle}, check=check, **options)
