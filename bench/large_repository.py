"""A remote repository with 50,000 files: what a task waits for when its mirror and environment are there already,
and what landing a change of 100 files takes, each beside git alone at the same work."""
import contextlib
import datetime
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from whole_task import quantile     # which finds support/, too

from support.codex import Codex
from support.git_server import TOKEN, GitServer, bare
from support.repository import ENVIRONMENT, Repository

from model_stub import ModelStub, call, message

DIRECTORIES, FILES = 500, 100   # each
CHANGED = 100                   # files of the task's work
ROUNDS = 5


def make_repository(directory):
    """50,000 files of half a kilobyte, in 500 directories."""
    repository = Repository(directory)
    for number in range(DIRECTORIES):
        place = repository.path / f"dir{number:03}"
        place.mkdir()
        for file in range(FILES):
            (place / f"file{file:02}.txt").write_text(f"{number} {file}\n" * 64)
    repository.commit({"README": "large\n"}, "first")
    return repository


@contextlib.contextmanager
def system(answers):
    """A codexd on a ModelStub, the served repository and its address."""
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        repository = make_repository(directory / "work")
        (directory / "srv").mkdir()
        repository.bare = bare(repository, directory / "srv" / "large.git")
        model = ModelStub(answers)
        with GitServer(directory / "srv") as server, Codex(
                f"[model]\nname = o3\nprovider = stub\n[provider \"stub\"]\nbase_url = {model.base_url}\n"
                f"wire_api = responses\nenv_key = STUB_KEY\n[forge \"{server.site}\"]\nkind = plain\n"
                f"token_env = FORGE_TOKEN\n", {"STUB_KEY": "key", "FORGE_TOKEN": TOKEN}) as codex:
            yield codex, repository, server.url("large.git")
        model.close()


def events_of(codex, task):
    """[(seconds, type, event)], in their order."""
    events = [json.loads(line) for line in codex.run("logs", task, "--json").stdout.splitlines()]
    return [(datetime.datetime.fromisoformat(event["ts"]).timestamp(), event["type"], event) for event in events]


def when(events, type_, **members):
    """The moment of the first event of that type with these members."""
    return next(at for at, kind, event in events
                if kind == type_ and all(event.get(name) == value for name, value in members.items()))


def timed(directory, *commands):
    """Milliseconds that git takes for COMMANDS, one after the other."""
    began = time.monotonic()
    for command in commands:
        subprocess.run(["git", "-C", str(directory), *command], check=True, env=ENVIRONMENT, capture_output=True)
    return (time.monotonic() - began) * 1000


def git_alone(repository, directory):
    """What git takes by itself, milliseconds: a clone; add, commit and bundle; the bundle of these; fetch of the
    bundle and push."""
    directory.mkdir()
    clone, bundle, scratch, remote = (directory / name for name in ("clone", "bundle", "scratch.git", "remote.git"))
    remote_url = f"file://{remote}"     # not by links
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.bare), str(remote)], check=True, env=ENVIRONMENT)
    subprocess.run(["git", "clone", "--quiet", "--bare", str(repository.bare), str(scratch)], check=True, env=ENVIRONMENT)
    cloning = timed(directory, ("clone", "--quiet", remote_url, str(clone)))
    for number in range(CHANGED):
        with open(clone / f"dir{number:03}" / "file00.txt", "a", encoding="ascii") as file:
            file.write("changed\n")
    committing = timed(clone, ("add", "--all"), ("commit", "--quiet", "--message", "work"))
    bundling = timed(clone, ("bundle", "create", "--quiet", str(bundle), "HEAD", "^HEAD~1"))
    landing = timed(scratch, ("fetch", "--quiet", str(bundle), "HEAD:refs/heads/work"),
                    ("push", "--quiet", remote_url, "work:refs/heads/work"))
    shutil.rmtree(directory)
    return cloning, committing + bundling, bundling, landing


def of_tasks(codex, url):
    """The same of a task, ROUNDS times: run handed over → workspace ready, submitted → ready; commit and bundle;
    import and push; these, the look at the base and the record of the pull request."""
    rows = []
    for number in range(ROUNDS + 1):
        task = codex.task(f"change {number}", "--repo", url, "--test", "true", cwd=codex.home)
        while codex.status(task)["state"] != "completed":
            time.sleep(0.3)     # asking costs time of the processors, too
        events = events_of(codex, task)
        ready = when(events, "phase.completed", phase="preparing", status=0)
        rows.append([(later - earlier) * 1000 for earlier, later in (
            (when(events, "task.state", state="preparing"), ready),
            (when(events, "task.state", state="queued"), ready),
            (when(events, "turn.completed"), when(events, "phase.completed", phase="working")),
            (when(events, "task.state", state="delivering"), when(events, "delivery.branch")),
            (when(events, "task.state", state="delivering"), when(events, "task.state", state="completed")))])
    return zip(*rows[1:])   # the first made mirror and environment


def row(what, values, beside, reference):
    print(f"large repository: {what:44} p50 {quantile(values, .5):6.0f} ms   p95 {quantile(values, .95):6.0f} ms   "
          f"{beside} {reference:6.0f} ms")


def main():
    change = f"for i in $(seq -f %03g 0 {CHANGED - 1}); do echo changed >>dir$i/file00.txt; done"
    with system([call(1, change), message("Changed.")]) as (codex, repository, url):
        handed_over, submitted, commit, landing, delivering = of_tasks(codex, url)
        alone = [statistics.median(values) for values in zip(*(
            git_alone(repository, codex.home / "alone") for _ in range(3)))]
    row("50,000 files, warm: workspace ready", handed_over, "git clone", alone[0])
    row("the same, from submission", submitted, "git clone", alone[0])
    row("100 files: commit, bundle", commit, "git add, commit, bundle", alone[1])
    row("100 files: import, push", landing, f"the bundle alone {alone[2]:.0f} ms, git fetch, push", alone[3])
    row("the same, look at base, pull request kept", delivering, "git fetch, push", alone[3])



if __name__ == "__main__":
    main()
