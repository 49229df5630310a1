"""kill -9 at random moments, of everything that has a pid, while many tasks run. In the end every task is in the
state that it would be in without, and nothing is left of any.

Bounds are part of the contract: three runs in a row that die without progress end their task, and so do three
codex-git for the same work of it. So no run of a task is killed whose two forerunners died without progress, no
codex-git a third time, and no gateway a sixth time.
"""
import contextlib
import os
import random
import re
import sqlite3
import tempfile
import threading
import time

from leftovers import Namespaces, after_its_end, while_it_serves
from scripts import changes_nothing, writes
from support.codex import ENDED, IMAGES, wait_for
from support.model_server import ModelServer
from support.processes import Family, Process, kill
from support.repository import Repository
from support.server import Server

SETTLE_SECONDS = 420
WEIGHTS = {"codexd": 2, "spawner": 2, "runner": 4, "gateway": 4, "agent": 6, "codex-git": 6, "crun": 6, "init": 4,
           "everything": 0.3}
ENDS_A_RUN = {"runner", "agent", "crun", "init"}
CRASHES_MAX, GATEWAYS_MAX, GITS_MAX = 3, 5, 2


def work_of(pid):
    """What a codex-git does, and the files of which task it has open; None when that cannot be told any more."""
    with contextlib.suppress(OSError, IndexError):
        tasks = {match[0] for entry in os.scandir(f"/proc/{pid}/fd")
                 if (match := re.search(r"task-[a-z0-9]+", os.readlink(entry.path)))}
        return Process(pid).argv[1], tuple(sorted(tasks))
    return None


class Plan:
    """What becomes of each task: {prompt: (script, kind)}."""

    def __init__(self, count, dice):
        self.scripts, self.kinds = {}, {}
        for number in range(count):
            name = f"file{number:02d}"
            kind = "nothing" if number % 10 == 7 else "cancel" if number % 10 == 9 else "write"
            self.kinds[name] = kind
            seconds = dice.uniform(0.5, 3)
            self.scripts[f"task {name}."] = changes_nothing(seconds) if kind == "nothing" else writes(name, seconds)


class Campaign:
    def __init__(self, seed, tasks, kills, seconds):
        self.dice = random.Random(seed)
        self.plan = Plan(tasks, self.dice)
        self.kills_wanted, self.seconds = kills, seconds
        self.killed = {role: 0 for role in WEIGHTS}
        self.gateways, self.gits = {}, {}
        self.restarts = 0
        self.complaints = []
        self.tasks = {}

    # ---- codexd is started again whenever it is gone, as its supervisor would

    def keep_serving(self):
        if self.server.server.poll() is not None:
            self.restarts += 1
            self.server.start()

    def supervise(self, over):
        while not over.wait(0.05):
            with contextlib.suppress(AssertionError):
                self.keep_serving()

    def patiently(self, action):
        """ACTION speaks with codexd, which may be dead just now."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return action()
            except (OSError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    # ---- whom to kill

    def may_end_a_run(self, task):
        """Whether one more death keeps TASK below the bound of its crashes."""
        with contextlib.closing(sqlite3.connect(f"file:{self.server.state}/server/codex.db?mode=ro", uri=True)) as store:
            row = store.execute("SELECT crashes, run FROM task WHERE id = ?", (task,)).fetchone()
            deaths = self.deaths.get((task, row[1]), 0) if row else 0
            return row is not None and row[0] + 1 < CRASHES_MAX and not deaths

    def note_death(self, task):
        with contextlib.closing(sqlite3.connect(f"file:{self.server.state}/server/codex.db?mode=ro", uri=True)) as store:
            row = store.execute("SELECT run FROM task WHERE id = ?", (task,)).fetchone()
            self.deaths[task, row[0]] = 1

    def choose(self, role, found):
        """A pid of that role that may be killed, or None."""
        for pid, task in self.dice.sample(found[role], len(found[role])):
            if role == "gateway":
                if task is None or self.gateways.get(task, 0) >= GATEWAYS_MAX:
                    continue
                self.gateways[task] = self.gateways.get(task, 0) + 1
            if role == "codex-git":
                work = work_of(pid)
                if work is None or self.gits.get(work, 0) >= GITS_MAX:
                    continue
                self.gits[work] = self.gits.get(work, 0) + 1
            if role in ENDS_A_RUN:
                if task is None or not self.may_end_a_run(task):
                    continue
                self.note_death(task)
            return pid
        return None

    def kill_everything(self):
        found = self.family.roles()
        tasks = {task for role in ENDS_A_RUN for _, task in found[role]}
        if not all(task is not None and self.may_end_a_run(task) for task in tasks):
            return False
        for task in tasks:
            self.note_death(task)
        for role in self.dice.sample(sorted(found), len(found)):
            for pid, _ in found[role]:
                kill(pid)
        return True

    def kill_one(self, role):
        """Returns whether somebody died. Short-lived programs are waited for."""
        if role == "everything":
            return self.kill_everything()
        deadline = time.monotonic() + (0.5 if role in ("crun", "codex-git") else 0)
        while True:
            pid = self.choose(role, self.family.roles())
            if pid:
                return kill(pid)
            if time.monotonic() > deadline:
                return False

    def kill_many(self):
        roles, weights = list(WEIGHTS), list(WEIGHTS.values())
        deadline = time.monotonic() + self.seconds
        cancels = [name for name, kind in self.plan.kinds.items() if kind == "cancel"]
        while sum(self.killed.values()) < self.kills_wanted and time.monotonic() < deadline:
            self.namespaces.note(pid for found in self.family.roles().values() for pid, _ in found)
            role = self.dice.choices(roles, weights)[0]
            with contextlib.suppress(sqlite3.Error):
                self.killed[role] += self.kill_one(role)
            if cancels and self.dice.random() < 0.05:
                name = cancels.pop()
                self.patiently(lambda name=name: self.server.cancel(self.tasks[name]))
            if not self.unfinished():
                break
            time.sleep(self.dice.uniform(0, 0.12))
        for name in cancels:
            self.patiently(lambda name=name: self.server.cancel(self.tasks[name]))

    # ---- what has to be true in the end

    def unfinished(self):
        return [task for task in self.patiently(self.server.tasks) if task["state"] not in ENDED]

    def check(self, condition, what):
        if not condition:
            self.complaints.append(str(what))

    def check_events(self, task):
        events, after = [], 0
        while batch := self.server.events(task["id"], f"?limit=1000&after={after}"):
            events += batch
            after = batch[-1]["seq"]
        self.check([event["seq"] for event in events] == list(range(1, len(events) + 1)),
                   f"{task['id']}: seq has a gap")
        states = [event["state"] for event in events if event["type"] == "task.state"]
        self.check(states[-1] == task["state"] and sum(state in ENDED for state in states) == 1,
                   f"{task['id']}: states {states}")
        requests = sum(event["type"] == "delivery.pull_request" for event in events)
        self.check(requests == (task["branch"] is not None), f"{task['id']}: {requests} pull requests")

    def is_locked(self, branch):
        return (self.repository.path / f".git/refs/heads/{branch}.lock").exists()

    def check_task(self, name):
        task = self.server.status(self.tasks[name])
        kind = self.plan.kinds[name]
        said = {key: task[key] for key in ("id", "state", "verdict", "branch", "fault", "run")}
        if task["state"] == "cancelled":
            self.check(kind == "cancel" and task["branch"] is None, f"{name}: {said}")
        elif kind == "nothing":
            self.check((task["state"], task["branch"]) == ("completed", None), f"{name}: {said}")
        else:
            # A git that was killed in the repository leaves its lock there: then the work goes by another name.
            branch = f"feat/{name}" + ("-2" if self.is_locked(f"feat/{name}") else "")
            self.check((task["state"], task["verdict"], task["branch"]) == ("completed", "passed", branch),
                       f"{name}: {said}")
        self.check(task["workspace"] == {"state": "archived"} or task["state"] == "cancelled" or
                   task["run"] == 0, f"{name}: workspace {task['workspace']}")
        if task["branch"]:
            self.check(self.repository.git("show", f"{task['branch']}:{name}", check=False) == name, f"{name}: content")
            self.check(self.repository.git("rev-list", "--count", f"main..{task['branch']}") == "1", f"{name}: commits")
        self.check_events(task)
        return task["branch"]

    def check_left(self, find, *arguments):
        """Processes need a moment to end; what is there after it is left."""
        deadline = time.monotonic() + 90
        while left := find(self.server.state, IMAGES, *arguments):
            if time.monotonic() > deadline:
                self.complaints += [f"left: {what}" for what in left]
                return
            time.sleep(0.5)

    def server_pids(self):
        found = self.family.roles()
        return [pid for role in ("codexd", "spawner") for pid, _ in found[role]] + [self.server.server.pid]

    def settle(self):
        deadline = time.monotonic() + SETTLE_SECONDS
        while unfinished := self.unfinished():
            if time.monotonic() > deadline:
                self.complaints += [f"does not end: {task['id']} {task['state']} run {task['run']}"
                                    for task in unfinished]
                return
            time.sleep(0.2)

    def print_log(self):
        """What codexd and the others said about the tasks that there are complaints about."""
        lines = self.server.log.read_text().splitlines() if self.complaints else []
        text = "\n".join(map(str, self.complaints))
        told = [task for task in self.tasks.values() if task in text]
        print(*[line for line in lines if "task=- " in line or any(task in line for task in told)], sep="\n")

    def check_all(self):
        branches = [self.check_task(name) for name in self.tasks]
        expected = {"main"} | {branch for branch in branches if branch}
        self.check(self.repository.branches() == expected, f"branches: {self.repository.branches() ^ expected}")
        self.check_left(while_it_serves, self.server_pids())

    # ---- the campaign

    def serve(self, model, directory):
        self.repository = Repository(f"{directory}/demo", {"Makefile": "test:\n\tsleep 0.2; test ! -e broken\n"})
        self.server = Server(f"[server]\nmax_running = {len(self.plan.kinds)}\n[model]\nname = o3\nprovider = p\n"
                             f"[provider \"p\"]\nbase_url = {model.base_url}\nenv_key = KEY\n", {"KEY": "k"})
        self.family = Family(self.server.state)
        self.namespaces = Namespaces()
        self.deaths = {}

    def run(self):
        """Returns the complaints, and a line that says what was done."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="codex-test-") as directory, \
                ModelServer(self.plan.scripts, strict=False) as model:
            self.serve(model, directory)
            over = threading.Event()
            supervisor = threading.Thread(target=self.supervise, args=(over,))
            with self.server:
                supervisor.start()
                try:
                    for name in self.plan.kinds:
                        task = self.patiently(lambda name=name: self.server.submit(f"task {name}.", self.repository.path))
                        self.tasks[name] = task["id"]
                    self.kill_many()
                    self.settle()
                finally:
                    over.set()
                    supervisor.join()
                    self.keep_serving()
                self.check_all()
                self.server.stop()
                wait_for(lambda: not self.server.processes(), 60, "the spawner has ended")
                self.check_left(after_its_end)
                self.complaints += self.namespaces.left()
                self.print_log()
                self.server.start()  # for close()
        counts = ", ".join(f"{role} {count}" for role, count in self.killed.items() if count)
        return self.complaints, (f"{sum(self.killed.values())} kills of {len(self.tasks)} tasks in "
                                 f"{time.monotonic() - began:.0f} s ({counts}; codexd started {self.restarts} times again)")
