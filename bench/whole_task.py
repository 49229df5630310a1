"""Whole tasks on the real programs: how soon the model is asked, what lies between two turns, what waiting costs."""
import contextlib
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from support.codex import Codex, wait_for  # noqa: E402
from support.repository import CALCULATOR, Repository  # noqa: E402
from support.server import UnixConnection  # noqa: E402

from model_stub import ModelStub, call, message  # noqa: E402

TRIVIAL = "true"


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


@contextlib.contextmanager
def system(answers, hold=False):
    """A codexd on a ModelStub, and a repository whose baseline is known."""
    model = ModelStub(answers)
    with tempfile.TemporaryDirectory() as directory, \
            Codex(f"[server]\nmax_running = 32\n[model]\nname = o3\nprovider = stub\n[provider \"stub\"]\n"
                  f"base_url = {model.base_url}\nwire_api = responses\nenv_key = STUB_KEY\n",
                  {"STUB_KEY": "key"}) as codex:
        repository = Repository(pathlib.Path(directory) / "project", CALCULATOR)
        codex.wait(codex.task("warm up", cwd=repository.path))
        model.exchanges.clear()
        model.hold = hold
        yield codex, model, repository
        model.hold = False
        model.close()


def submit(codex, repository):
    """POST a task; returns its id and the moment before."""
    connection = UnixConnection(codex.state / "codexd.sock")
    began = time.monotonic()
    connection.request("POST", "/v1/tasks", json.dumps({"prompt": "work", "repo": str(repository.path)}),
                       {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert answer.status == 201, body
    return body["id"], began


def bench_start(rounds=30):
    """Submitted → first request at the model, with a known baseline, one task at a time."""
    with system([message("done")]) as (codex, model, repository):
        times = []
        for _ in range(rounds):
            task, began = submit(codex, repository)
            model.wait(lambda exchanges, task=task: exchanges.get(task))
            times.append((model.exchanges[task][0].arrived - began) * 1000)
            codex.wait(task)
    print(f"task: submitted -> first model request, warm   p50 {quantile(times, .5):7.1f} ms   "
          f"p95 {quantile(times, .95):7.1f} ms   min {min(times):7.1f} ms   ({rounds} tasks)")


def trivial_turns(count):
    """One command a turn, and no two the same: an agent that goes round in circles is stopped."""
    return [call(turn, f"{TRIVIAL} {turn}") for turn in range(1, count + 1)] + [message("done")]


def bare_bash(rounds=200):
    """The same command by `bash -c` alone, milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.monotonic()
        subprocess.run(["bash", "-c", TRIVIAL], check=True)
        times.append((time.monotonic() - began) * 1000)
    return quantile(times, .5)


def bench_turns(turns):
    """An answer's end → the next whole request, through sandbox and gateway."""
    bare = bare_bash()
    answers = trivial_turns(turns)
    with system([message("warm")]) as (codex, model, repository):
        model.answers = answers
        task, _ = submit(codex, repository)
        model.wait(lambda exchanges: len(exchanges.get(task, [])) > turns)  # without asking codexd meanwhile
        exchanges = model.exchanges[task]
        codex.wait(task)
    gaps = [(later.arrived - earlier.answered) * 1000 for earlier, later in zip(exchanges, exchanges[1:])]
    early, late = statistics.median(gaps[2:9]), statistics.median(gaps[-9:])
    print(f"task: answer's end -> next request, {turns:3} turns     p50 {quantile(gaps, .5):7.2f} ms   "
          f"p95 {quantile(gaps, .95):7.2f} ms   bare bash -c {bare:5.2f} ms   beyond it "
          f"{quantile(gaps, .5) - bare:5.2f} ms   about turn 5 {early:5.2f}, about the last {late:5.2f} ms")


def memory_of(pid):
    """(PSS, private) of a process in kB."""
    values = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        values[name] = int(value.split()[0])
    return values["Pss"], values["Private_Clean"] + values["Private_Dirty"]


def processes_of_runs(codex):
    """pid → name of every runner of CODEX and all below it."""
    children, names = {}, {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text()
            pid, parent = int(entry.name), int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(pid)
            names[pid] = stat.split("(", 1)[1].rsplit(")", 1)[0]
    spawner = next(pid for pid in children[codex.server.pid] if pid in names)
    todo, found = list(children.get(spawner, [])), {}
    while todo:
        pid = todo.pop()
        found[pid] = names[pid]
        todo += children.get(pid, [])
    return found


def bench_waiting(count):
    """What COUNT tasks that wait for their model hold in memory: runner, gateway, agent, process 1."""
    with system([message("done")], hold=True) as (codex, model, repository):
        tasks = [submit(codex, repository)[0] for _ in range(count)]
        model.wait(lambda exchanges: all(task in exchanges for task in tasks))
        time.sleep(1)
        total, private, by_name = 0, 0, {}
        for pid, name in processes_of_runs(codex).items():
            pss, own = memory_of(pid)
            total, private = total + pss, private + own
            by_name[name] = by_name.get(name, 0) + pss
        server = memory_of(codex.server.pid)
        parts = ", ".join(f"{name} {kb / count / 1000:.1f}" for name, kb in sorted(by_name.items()))
        print(f"task: {count:2} waiting for the model, each           PSS {total / count / 1000:6.1f} MB   private "
              f"{private / count / 1000:6.1f} MB   ({parts}); codexd {server[0] / 1000:.1f} MB")
        for task in tasks:
            codex.run("cancel", task)


def bench_many(count=20):
    """COUNT tasks at once, each with five commands, to their end."""
    answers = trivial_turns(5)
    with system([message("warm")]) as (codex, model, repository):
        model.answers = answers
        began = time.monotonic()
        tasks = [submit(codex, repository)[0] for _ in range(count)]
        wait_for(lambda: all(task["state"] == "completed" for task in codex.tasks() if task["id"] in tasks), 300,
                 "all tasks have completed")
        print(f"task: {count} at once, five commands each            all completed in {time.monotonic() - began:5.1f} s")


def main():
    bench_start()
    for turns in (50, 200):
        bench_turns(turns)
    for count in (1, 10):
        bench_waiting(count)
    bench_many()


if __name__ == "__main__":
    main()
