"""A delivery that is interrupted at each of its steps: there is one branch and one pull request, whoever dies and
whatever breaks off. The steps are reached for certain: the test's own git server, forge and file system hold
whoever comes there, until the test has done its worst."""
import contextlib
import queue
import shutil
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from support.codex import API_KEY, codex_on, wait_for
from support.git_server import TOKEN, GitServer, bare, git
from support.github import GitHub
from support.model_server import ModelServer, call, message
from support.processes import Family, kill
from support.repository import Repository
from support.server import Server
from support.stops import Files, Stops

WORK = [[call("exec_command", {"cmd": "echo it >it; head -c 300000 /dev/urandom >data"}),
         call("submit", {"title": "Add it", "body": "As asked.", "branch": "feat/it"})]]

# In their order.
CLAIMED, IMPORT, PUSH_CLAIMED = "claimed", "import", "push claimed"
ASKED, HALF, PUSHED = "push asked", "half of the pack", "pushed"
BASE_CLAIMED, BASE_ASKED, MERGE = "push recorded", "base asked", "merge"
LOOK, CREATE, CREATED = "look for it", "create", "created"
STEPS = [CLAIMED, IMPORT, PUSH_CLAIMED, ASKED, HALF, PUSHED, BASE_CLAIMED, BASE_ASKED, MERGE, LOOK, CREATE, CREATED]


def cut(handler):
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    return True


class World:
    """A remote repository, a forge, and a codexd with one task whose delivery has just been claimed: as often as one
    likes, since its state directory is put back."""

    def __init__(self, directory):
        self.stops, self.away = Stops([]), False
        repository = Repository(directory / "work", {"Makefile": "test:\n\ttrue\n"})
        (directory / "srv" / "team").mkdir(parents=True)
        self.bare = bare(repository, directory / "srv" / "team" / "it.git")
        self.base = repository.head()
        self.moves = {}  # what the base branch may get meanwhile
        for name, files in (("clean", {"other": "theirs\n"}), ("conflict", {"it": "theirs\n"})):
            repository.git("checkout", "--quiet", "-B", name, self.base)
            self.moves[name] = repository.commit(files, name)
            repository.git("push", "--quiet", str(self.bare), f"HEAD:refs/moves/{name}")
        self.saved = directory / "saved"
        self.files = directory / "none yet"  # the task's
        self.git = GitServer(directory / "srv", user="x-access-token", hook=self.before, token=TOKEN)
        self.git.reader, self.git.afterwards = self.read, self.after
        self.hub = GitHub(name="team/it", head=lambda branch: git(self.bare, "rev-parse", branch))
        self.hub.faulty = ("GET", "POST")
        self.hub.faults = _Always(self.at_forge)
        self.watched = threading.Event()
        self.model = ModelServer([*WORK, lambda request: [message("done")] if self.watched.wait(60) else []],
                                 api_key=API_KEY)
        self.server = None

    @contextlib.contextmanager
    def serving(self):
        with self.git, self.hub, self.model:
            self.server = Server(
                f"[git]\nstall_timeout = 60s\n[forge \"{self.git.site}\"]\nkind = github\ntoken_env = FORGE_TOKEN\n"
                f"base_url = {self.hub.api}\n[model]\nname = o3\nprovider = p\n[provider \"p\"]\n"
                f"base_url = {self.model.base_url}\nenv_key = KEY\n", {"KEY": API_KEY, "FORGE_TOKEN": TOKEN})
            try:
                self.make_state()
                yield self
            finally:
                for pid in Family(self.server.home).all():
                    kill(pid)
                shutil.rmtree(self.server.home)

    # ---- where they wait

    def read(self, handler, path, body):
        if not path.endswith("git-receive-pack") or HALF not in self.stops.left:
            return body()
        whole = int(handler.headers["Content-Length"])
        first = handler.rfile.read(whole // 2)
        if self.stops.arrive(HALF):
            cut(handler)
            return first
        with contextlib.suppress(OSError):
            return first + handler.rfile.read(whole - len(first))
        return first

    def before(self, handler, path, query, body):
        # A push asks for that, too; and the file may be of an attempt that came to nothing.
        is_look = BASE_CLAIMED not in self.stops.left and (self.files / "moved.tmp").exists()
        if query == "service=git-upload-pack" and is_look:
            return self.stops.arrive(BASE_ASKED) and cut(handler)
        if self.away:
            return cut(handler)
        return query == "service=git-receive-pack" and self.stops.arrive(ASKED) and cut(handler)

    def after(self, handler, path, query):
        self.let_it_arrive(path)
        return path.endswith("git-receive-pack") and self.pushed() and self.stops.arrive(PUSHED) and cut(handler)

    def let_it_arrive(self, path):
        """A push may just have come to its end: who is to be told of that comes behind it."""
        deadline = time.monotonic() + 20
        while not path.endswith("git-receive-pack") and PUSHED in self.stops.left and self.pushed() and time.monotonic() < deadline:
            time.sleep(0.02)

    def at_forge(self, handler, hub, path, body):
        if self.away:
            return cut(handler)
        if handler.command == "GET":
            return path == "/pulls" and self.stops.arrive(LOOK) and cut(handler)
        if self.stops.arrive(CREATE):
            return cut(handler)
        if CREATED not in self.stops.left:
            return False
        with hub.lock:
            if hub.refusal(body):
                return False
            hub.add(body)
        return cut(handler) if self.stops.arrive(CREATED) else handler.answer(201, hub.pulls[-1]) or True

    # ---- the state that everything begins with

    def make_state(self):
        """Run the task up to its delivery, and end everybody there."""
        self.stops = Stops([CLAIMED])
        self.server.start()
        self.task = self.server.submit("Add it", self.git.url("team/it.git"))["id"]
        self.files = self.server.state / "server" / "tasks" / self.task
        wait_for(self.files.is_dir, 60, "the task has its directory")
        with Files(self.stops) as files:
            files.at_open(self.files / "diff.patch.tmp", CLAIMED)
            self.watched.set()
            assert self.stops.next().pid == self.server.server.pid
            self.kill("everything")
        wait_for(lambda: not self.server.processes(), 60, "all have ended")
        subprocess.run(["cp", "-a", self.server.state, self.saved], check=True)

    def put_back(self, main):
        shutil.rmtree(self.server.state)
        subprocess.run(["cp", "-a", self.saved, self.server.state], check=True)
        for branch in self.branches() - {"main"}:
            git(self.bare, "update-ref", "-d", f"refs/heads/{branch}")
        git(self.bare, "update-ref", "refs/heads/main", main)
        self.main = main
        self.hub.pulls.clear()

    # ---- what is done to them

    def kill(self, whom):
        """kill -9."""
        def find():
            roles = {**Family(self.server.state).roles(), "codexd": [(self.server.server.pid, None)]}
            return [pid for role in roles if whom in (role, "everything") for pid, _ in roles[role]]
        for pid in wait_for(find, 20, f"there is a {whom}"):  # it may just have been started
            kill(pid)

    def go_on(self, stop, whom):
        """WHOM was killed at STOP: who is left goes on, and codexd is started again where it is gone."""
        stop.release()
        if whom == "codex-git":
            return
        kept = []
        for _ in range(600):    # codexd, which is to end, may first come to its next file
            if self.server.server.poll() is not None:
                break
            with contextlib.suppress(queue.Empty):
                later = self.stops.next(0.1)
                if later.pid == self.server.server.pid:
                    self.stops.put_off(later)
                else:
                    kept.append(later)
        self.server.server.wait(60)
        for later in kept:
            self.stops.keep(later)
        self.server.launch()

    def branches(self):
        return set(git(self.bare, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def pushed(self):
        """Whether the work is there, under whatever name."""
        return "Add it" in git(self.bare, "log", "--branches", "--format=%s").splitlines()

    def fail_at(self, step):
        """Break off at STEP, for the last time: the delivery has failed. There is a stop before that step."""
        self.stops.next()
        self.kill("everything")
        self.server.server.wait(60)
        self.be_at_the_last_try()
        self.server.launch()
        stop = self.stops.next()
        assert stop.name == step
        self.away = True  # git's own repetition does not get through, either
        stop.release(cut=True)
        wait_for(self.server._answers, 60, "codexd answers")
        return self.server.wait(self.task, "failed")

    def deliver(self):
        self.away = False
        wait_for(lambda: self.server.call("POST", f"/v1/tasks/{self.task}/deliver").status == 200, 20,
                 "it can be tried again")

    @contextlib.contextmanager
    def delivery(self, steps, move=None):
        """codexd goes on from the saved state, and stops at STEPS. MOVE: what the base branch has got."""
        self.put_back(self.moves[move] if move else self.base)
        self.away = False
        self.stops = Stops(steps)
        with Files(self.stops) as files:
            files.at_open(self.files / "diff.patch.tmp", CLAIMED)
            files.at_open(self.files / "push.bundle", PUSH_CLAIMED)
            files.at_read(self.files / "work-1.bundle", IMPORT)
            files.at_open(self.files / "moved.tmp", BASE_CLAIMED)
            files.at_read(self.files / "moved.tmp", MERGE)
            self.server.launch()  # which may be stopped before it answers
            try:
                yield
            finally:
                self.stops.release_all()
                if self.server.server.poll() is not None:
                    self.server.launch()
                self.server.stop()
                wait_for(lambda: not self.server.processes(), 60, "all have ended")

    def be_at_the_last_try(self):
        """Between two lives of codexd: what fails next, fails for good."""
        with contextlib.closing(sqlite3.connect(self.server.state / "server" / "codex.db")) as store, store:
            assert store.execute("UPDATE outbox SET tries = 100").rowcount == 1

    def commit(self, parent):
        """A commit of somebody else's on top of PARENT, in the remote repository."""
        return git(self.bare, "commit-tree", "-m", "theirs", "-p", parent, f"{parent}^{{tree}}")

    def check_delivered(self, branch="feat/it", on_top=None):
        """ON_TOP: what somebody has put on top of the branch."""
        wait_for(self.server._answers, 60, "codexd answers")
        task = self.server.wait(self.task)
        assert (task["state"], task["verdict"], task["branch"]) == ("completed", "passed", branch), task
        assert self.branches() == {"main", branch}
        head = on_top or task["commit"]
        assert git(self.bare, "rev-parse", branch) == head
        assert git(self.bare, "rev-parse", task["commit"] + "^") == self.base
        assert git(self.bare, "rev-parse", "main") == self.main
        pull, = self.hub.pulls
        assert (pull["head"]["ref"], pull["head"]["sha"], pull["base"]["ref"]) == (branch, head, "main")
        assert task["pull_request"] == {**task["pull_request"], "number": pull["number"], "url": pull["html_url"]}
        events = self.server.events(self.task, "?limit=10000")
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events if event["type"] in ("delivery.branch", "delivery.pull_request")] \
            == ["delivery.branch", "delivery.pull_request"]
        assert [event["state"] for event in events if event["type"] == "task.state"][-2:] == ["delivering", "completed"]
        wait_for(lambda: {path.name for path in self.files.iterdir()} == {"diff.patch", "archive.tar.zst"}, 20,
                 "nothing is left that was for the delivery")


class _Always(list):
    """The faults of a forge: one function for every request."""

    def __init__(self, function):
        super().__init__([function])

    def pop(self, _):
        return self[0]


@pytest.fixture(name="world", scope="module")
def make_world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("world")).serving() as world:
        yield world


def interrupt(world, whom, steps):
    """One delivery, in which WHOM dies at each of STEPS."""
    with world.delivery(steps, "clean"):
        for step in steps:
            stop = world.stops.next()
            assert stop.name == step
            assert len(world.branches()) <= 2 and len(world.hub.pulls) <= 1
            if whom == "connection":
                stop.release(cut=True)
                continue
            world.kill(whom)
            world.go_on(stop, whom)
        world.check_delivered()
        assert world.server.status(world.task)["base_moved"] == \
            {"commit": world.moves["clean"], "behind": 1, "conflicts": False}
        if whom != "connection":
            world.kill("everything")
            world.server.server.wait(60)
            world.server.launch()
            world.check_delivered()


@pytest.mark.slow
@pytest.mark.parametrize("whom, steps", [
    ("codexd", STEPS), ("spawner", STEPS), ("everything", STEPS),
    ("codex-git", [IMPORT, ASKED, HALF]), ("codex-git", [PUSHED]),
    ("connection", [ASKED, HALF, PUSHED, BASE_ASKED, LOOK, CREATE, CREATED])])
def test_one_branch_and_one_pull_request(world, whom, steps):
    interrupt(world, whom, steps)


@pytest.mark.parametrize("step", [ASKED, PUSHED, CREATED])
def test_a_remote_that_stays_away_gets_the_work_later(world, step):
    with world.delivery([LOOK if step == CREATED else PUSH_CLAIMED, step], "clean"):
        failed = world.fail_at(step)
        assert (failed["fault"]["kind"], failed["fault"]["step"]) == ("environment", "delivering"), failed["fault"]
        assert f"codex deliver {world.task}" in failed["fault"]["message"] and failed["pull_request"] is None
        assert (world.files / "push.bundle").is_file()
        world.deliver()
        world.check_delivered()
        assert world.server.status(world.task)["base_moved"]["conflicts"] is False  # found out anew


def test_the_name_of_a_branch_stays(world):
    """It had to get a number; the push was not known to have succeeded; the first name has become free meanwhile."""
    with world.delivery([PUSH_CLAIMED, PUSHED]):
        git(world.bare, "branch", "feat/it", world.commit("main"))
        failed = world.fail_at(PUSHED)
        assert failed["fault"]["step"] == "delivering" and world.branches() == {"main", "feat/it", "feat/it-2"}
        git(world.bare, "update-ref", "-d", "refs/heads/feat/it")
        world.deliver()
        world.check_delivered("feat/it-2")


@pytest.mark.parametrize("steps", [[PUSHED], [CREATE]])
def test_a_branch_that_somebody_has_built_on_is_ours(world, steps):
    with world.delivery(steps):
        stop = world.stops.next()
        theirs = world.commit("feat/it")
        git(world.bare, "update-ref", "refs/heads/feat/it", theirs)
        world.kill("everything")
        world.go_on(stop, "everything")
        world.check_delivered(on_top=theirs)


@pytest.mark.parametrize("move, conflicts, words", [
    ("clean", False, "hey do not conflict with "), ("conflict", True, "hey conflict with ")])
def test_a_base_that_moved_is_told(world, move, conflicts, words):
    with world.delivery([], move):
        world.check_delivered()
        moved = {"commit": world.moves[move], "behind": 1, "conflicts": conflicts}
        assert world.server.status(world.task)["base_moved"] == moved
        told, = [event for event in world.server.events(world.task, "?limit=10000")
                 if event["type"] == "delivery.base_moved"]
        assert told["base_moved"] == moved
        body = world.hub.pulls[0]["body"]
        assert "`main` has got 1 commit meanwhile" in body and words in body
        shown = world.server.run("status", world.task).stdout
        assert "main has got 1 commit meanwhile; t" + words + "the work" in shown
        assert "main has got 1 commit meanwhile" in world.server.run("logs", world.task).stdout


@pytest.mark.parametrize("whom, step", [("connection", BASE_ASKED), ("codex-git", BASE_ASKED), ("codex-git", MERGE)])
def test_whether_the_base_moved_holds_nothing_up(world, whom, step):
    unknown = "cannot see whether the base has moved"
    with world.delivery([step], "clean"):
        stop = world.stops.next()
        told = world.server.log.read_text().count(unknown)
        world.away = whom == "connection"
        if whom == "codex-git":
            world.kill(whom)
        stop.release(cut=world.away)
        if whom == "connection":
            wait_for(lambda: told < world.server.log.read_text().count(unknown), 60, "it is told")
            world.away = False
        world.check_delivered()
        moved = world.server.status(world.task)["base_moved"]
        known = {"commit": world.moves["clean"], "behind": 1, "conflicts": None}
        assert moved == (known if step == MERGE else None)
        assert ("is not known" in world.hub.pulls[0]["body"]) == (step == MERGE)


def test_a_local_base_that_moved_is_told(tmp_path):
    repository = Repository(tmp_path / "demo", {"Makefile": "test:\n\ttrue\n"})

    def meanwhile(request):
        repository.commit({"it": "theirs\n"}, "theirs")
        return [message("done")]
    with codex_on([*WORK, meanwhile]) as (codex, _):
        codex.run("task", "Add it", "--follow", cwd=repository.path)
        task = codex.tasks()[0]
        assert task["state"] == "completed" and task["base_commit"] == repository.git("rev-parse", "HEAD^")
        assert task["base_moved"] == {"commit": repository.head(), "behind": 1, "conflicts": True}
        assert "**They conflict with it.**" in task["pull_request"]["body"]
        assert repository.branches() == {"main", "feat/it"}
