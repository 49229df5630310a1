"""codex-git as the tests call it."""
from support.program import run_program


def git_facts(*arguments, **options):
    """What `codex-git resolve` prints, as a dictionary."""
    done = run_program("codex-git", "resolve", *arguments, check=0, **options)
    return dict(line.split(" ", 1) for line in done.stdout.decode().splitlines())


def base_bundle(repository, commit=None, large_files=0):
    """The base bundle of COMMIT (default: HEAD) of a Repository, with at most LARGE_FILES bytes of Git LFS."""
    return run_program("codex-git", "fetch", "--repo", repository.path, "--commit",
                       commit or repository.head(), "--large-files", str(large_files), check=0).stdout


def work_bundle(repository, commit, base, ref="refs/codex/work", header=None):
    """A bundle of BASE..COMMIT as a sandbox would send it, made without our programs."""
    pack = repository.pack(commit, base)
    header = header if header is not None else f"# v2 git bundle\n-{base}\n{commit} {ref}\n\n".encode()
    return header + pack


def index_of(base, directory, check=0, **options):
    """What `codex-git index`, run in DIRECTORY, writes of the base bundle BASE."""
    return run_program("codex-git", "index", inputs={3: base}, outputs=(4,), cwd=directory, check=check,
                       **options).files[4]


def import_work(base, work, commit, base_commit, directory, check=None, index=None, **options):
    """Run `codex-git import` in DIRECTORY; descriptors 5 and 6 are in the result's files. INDEX: of BASE."""
    inputs = {3: base, 4: work} if index is None else {3: base, 4: work, 7: index}
    return run_program("codex-git", "import", "--commit", commit, "--base-commit", base_commit,
                       *(() if index is None else ("--base-index", "7")), inputs=inputs, outputs=(5, 6),
                       cwd=directory, check=check, **options)


def push(repository, bundle, commit, branch, check=None, **options):
    """Run `codex-git push`."""
    return run_program("codex-git", "push", "--repo", repository.path, "--commit", commit, "--branch",
                       branch, inputs={3: bundle}, check=check, **options)
