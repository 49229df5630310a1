"""A delivery that is interrupted at each of its steps: there is one branch and one pull request, whoever dies and
whatever breaks off. The steps are reached for certain: the test's own git server, forge and file system hold
whoever comes there, until the test has done its worst."""
import contextlib
import shutil
import socket
import subprocess
import threading

import pytest

from support.codex import API_KEY, wait_for
from support.git_server import TOKEN, GitServer, bare, git
from support.github import GitHub
from support.model_server import ModelServer, call, message
from support.processes import Family, kill
from support.repository import Repository
from support.server import Server
from support.stops import Files, Stops

WORK = [[call("exec_command", {"cmd": "echo it >it; head -c 300000 /dev/urandom >data"}),
         call("submit", {"title": "Add it", "body": "As asked.", "branch": "feat/it"})]]

# In their order. The first three and the last have codexd alone at work, or an isolated codex-git.
CLAIMED, IMPORT, PUSH_CLAIMED = "claimed", "import", "push claimed"
ASKED, HALF, PUSHED = "push asked", "half of the pack", "pushed"
LOOK, CREATE, CREATED, RECORDED = "look for it", "create", "created", "recorded"
GIT_STEPS = [IMPORT, ASKED, HALF, PUSHED]
STEPS = [CLAIMED, IMPORT, PUSH_CLAIMED, ASKED, HALF, PUSHED, LOOK, CREATE, CREATED]


def cut(handler):
    handler.close_connection = True
    with contextlib.suppress(OSError):
        handler.connection.shutdown(socket.SHUT_RDWR)
    return True


class World:
    """A remote repository, a forge, and a codexd with one task whose delivery has just been claimed: as often as one
    likes, since its state directory is put back."""

    def __init__(self, directory):
        self.stops = Stops([])
        repository = Repository(directory / "work", {"Makefile": "test:\n\ttrue\n"})
        (directory / "srv" / "team").mkdir(parents=True)
        self.bare = bare(repository, directory / "srv" / "team" / "it.git")
        self.base = repository.head()
        self.saved = directory / "saved"
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
        return query == "service=git-receive-pack" and self.stops.arrive(ASKED) and cut(handler)

    def after(self, handler, path, query):
        return path.endswith("git-receive-pack") and self.has_branch() and self.stops.arrive(PUSHED) and cut(handler)

    def at_forge(self, handler, hub, path, body):
        if handler.command == "GET":
            return path == "/pulls" and self.stops.arrive(LOOK) and cut(handler)
        if self.stops.arrive(CREATE):
            return cut(handler)
        if CREATED not in self.stops.left or hub.refusal(body):
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

    def put_back(self):
        shutil.rmtree(self.server.state)
        subprocess.run(["cp", "-a", self.saved, self.server.state], check=True)
        for branch in self.branches() - {"main"}:
            git(self.bare, "update-ref", "-d", f"refs/heads/{branch}")
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
        if whom != "codex-git":
            self.server.server.wait(60)
            self.server.launch()

    def branches(self):
        return set(git(self.bare, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def has_branch(self):
        return "feat/it" in self.branches()

    @contextlib.contextmanager
    def delivery(self, steps):
        """codexd goes on from the saved state, and stops at STEPS."""
        self.put_back()
        self.stops = Stops(steps)
        with Files(self.stops) as files:
            files.at_open(self.files / "diff.patch.tmp", CLAIMED)
            files.at_open(self.files / "push.bundle", PUSH_CLAIMED)
            files.at_read(self.files / "work-1.bundle", IMPORT)
            self.server.launch()  # which may be stopped before it answers
            try:
                yield
            finally:
                self.stops.release_all()
                if self.server.server.poll() is not None:
                    self.server.launch()
                self.server.stop()
                wait_for(lambda: not self.server.processes(), 60, "all have ended")

    def check_delivered(self):
        wait_for(self.server._answers, 60, "codexd answers")
        task = self.server.wait(self.task)
        assert (task["state"], task["verdict"], task["branch"]) == ("completed", "passed", "feat/it"), task
        assert self.branches() == {"main", "feat/it"}
        assert git(self.bare, "rev-parse", "feat/it") == task["commit"]
        assert git(self.bare, "rev-parse", "feat/it^") == self.base == git(self.bare, "rev-parse", "main")
        pull, = self.hub.pulls
        assert (pull["head"], pull["base"]["ref"]) == ({"ref": "feat/it", "sha": task["commit"]}, "main")
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
    with world.delivery(steps):
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
        if whom != "connection":
            world.kill("everything")
            world.server.server.wait(60)
            world.server.launch()
            world.check_delivered()


@pytest.mark.slow
@pytest.mark.parametrize("whom, steps", [
    ("codexd", STEPS), ("spawner", STEPS), ("everything", STEPS),
    ("codex-git", [IMPORT, ASKED, HALF]), ("codex-git", [PUSHED]),
    ("connection", [ASKED, HALF, PUSHED, LOOK, CREATE, CREATED])])
def test_one_branch_and_one_pull_request(world, whom, steps):
    interrupt(world, whom, steps)
