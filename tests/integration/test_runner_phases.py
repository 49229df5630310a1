"""A run from SPAWN_RUN to run.ended, with steps and a gateway of the tests' own."""
import contextlib
import io
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tarfile
import time

import pytest

from support.codex import IS_SANITIZED, RUNTIME, wait_for
from support.processes import snapshot
from support.spawner import (BASELINE, CANCELLED, DONE, FAILED, FAULTS, FINISHING, GOOD, PREPARING, RUN_ENDED, RUN_FAILED,
                             VERIFYING, WORKING, Spawner, Task, FAKE_GATEWAY)


@pytest.fixture(name="spawner")
def fixture_spawner():
    with Spawner() as spawner:
        yield spawner


# Does what it is asked to, and is killed then when the file `kill` says so.
KILLED_RUNTIME = f"#!/bin/sh\n{RUNTIME}" + """ "$@"
status=$?
[ -e {home}/kill ] && case " $* " in *" $(cat {home}/kill) "*) kill -9 $$;; esac
exit $status
"""


def sandboxed(spawner, role, argument):
    """The process of codex-agent that was started with ARGUMENT in the sandbox for ROLE."""
    def find():
        found = set()
        for group in spawner.cgroups():
            for pid in (pathlib.Path(group) / "cgroup.procs").read_text().split() if group.endswith(f"-{role}") else ():
                with contextlib.suppress(OSError):
                    if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().endswith(f"\0{argument}\0".encode()):
                        found.add(int(pid))
        return found if len(found) == 1 else None  # bash has two of its name while it starts a command
    pid, = wait_for(find, 10, f"one {argument} in {role}")
    return pid


def test_a_run_from_beginning_to_end(spawner):
    task = Task(spawner, GOOD)
    ended = task.complete()
    assert task.phases() == [(PREPARING, 1, 0), (BASELINE, 1, 0), (WORKING, 1, 0), (VERIFYING, 1, 0),
                             (FINISHING, 1, 0)]
    assert (ended["outcome"], ended["fault"], ended["message"], ended["changed"]) == (DONE, 0, "", 1)
    assert task.result(PREPARING) == ['{"commit":"c0"}\n']
    assert task.result(WORKING) == ['{"changed":true}\n']
    assert task.result(VERIFYING) == ['{"exit_code":0}\n']
    assert task.file("work.bundle") == b"bundle of work\n"
    assert ended["has_archive"] == 1
    assert ended["archive_size"] == len(task.file("archive")) > 0
    assert ended["archive_sha256"] == task.sha256("archive")
    with tarfile.open(fileobj=io.BytesIO(task.file("archive"))) as archive:
        assert archive.extractfile("demo/work").read() == b"work\n"
    assert not task.workspace().exists()
    assert "checking out\nbase" in task.output(PREPARING)
    assert [event["text"] for event in task.events() if event["type"] == "events"] == ['{"type":"turn.started"}\n']


def test_the_order_of_events_holds_output_between_its_phases_marks(spawner):
    task = Task(spawner, GOOD)
    task.complete()
    phase = None
    for event in task.events():
        if event["type"] == "phase.started":
            assert phase is None
            phase = event["phase"]
        elif event["type"] in ("output", "events"):
            assert event["phase"] == phase
        elif event["type"] == "phase.completed":
            assert event["phase"] == phase
            phase = None
    assert phase is None
    assert task.events()[-1]["type"] == "run.ended"


def test_a_known_baseline_is_not_run_again(spawner):
    task = Task(spawner, GOOD)
    task.complete(baseline=1)
    assert [phase for phase, _, _ in task.phases()] == [PREPARING, WORKING, VERIFYING, FINISHING]


def test_no_change_needs_no_verification(spawner):
    task = Task(spawner, GOOD + "step_commit() { echo '{\"changed\":false}' >&3; return 3; }")
    ended = task.complete(baseline=0)
    assert task.phases() == [(PREPARING, 1, 0), (WORKING, 1, 3), (FINISHING, 1, 0)]
    assert (ended["outcome"], ended["changed"]) == (DONE, 0)


FAILS_TWICE = GOOD + r"""
step_run() {
    [ -e /dev/fd/6 ] && { echo "feedback: $(cat /dev/fd/6)"; }
    setpriv --reuid 1000 --regid 1000 --clear-groups bash -c 'echo round >>/workspace/demo/work'
}
step_test() {
    rounds=$(grep -c round /workspace/demo/from-bundle)
    echo "{\"rounds\":$rounds}" >&3
    [ -e /workspace/demo/from-bundle ] || return 0
    [ $rounds -ge 3 ]
}
step_commit() { cat /workspace/demo/work >&5; }
"""


def test_failed_verification_goes_back_to_the_agent(spawner):
    task = Task(spawner, FAILS_TWICE)
    ended = task.complete()
    assert task.phases() == [(PREPARING, 1, 0), (BASELINE, 1, 0), (WORKING, 1, 0), (VERIFYING, 1, 1), (WORKING, 2, 0),
                             (VERIFYING, 2, 1), (WORKING, 3, 0), (VERIFYING, 3, 0), (FINISHING, 3, 0)]
    assert (ended["outcome"], ended["changed"]) == (DONE, 1)
    assert 'feedback: {"rounds":1}' in task.output(WORKING)
    assert 'feedback: {"rounds":2}' in task.output(WORKING)
    assert task.file("work.bundle") == b"round\n" * 3


@pytest.mark.parametrize("rounds, baseline, expected", [(0, 0, 1), (1, 0, 2), (1, 3, 2), (3, 1, 1), (3, 4, 1)])
def test_rounds_are_bounded_and_need_a_baseline_to_compare(spawner, rounds, baseline, expected):
    task = Task(spawner, GOOD + "step_test() { return 4; }")
    ended = task.complete(rounds=rounds, baseline=baseline)
    assert [round_ for phase, round_, _ in task.phases() if phase == VERIFYING] == list(range(1, expected + 1))
    assert (ended["outcome"], ended["changed"]) == (DONE, 1)


@pytest.mark.parametrize("baseline, status, expected", [
    (0, 1, 2), (1, 1, 1), (1, 6, 2), (0, 6, 2), (4, 6, 2), (0, 5, 1), (1, 5, 1), (3, 6, 2)])
def test_a_newly_broken_test_costs_a_round_also_after_a_baseline_that_failed(spawner, baseline, status, expected):
    task = Task(spawner, GOOD + f"step_test() {{ return {status}; }}")
    task.complete(rounds=1, baseline=baseline)
    assert [round_ for phase, round_, _ in task.phases() if phase == VERIFYING] == list(range(1, expected + 1))


LISTS = GOOD + r"""
step_test() {
    echo "in sandbox with $(wc -c </dev/fd/4) bytes before"
    if [ -e /workspace/demo/from-bundle ]; then
        cat /dev/fd/4 >&5
        echo after >&5
    else
        echo before >&5
    fi
}
"""


def test_lists_of_tests_pass_through_as_they_are(spawner):
    task = Task(spawner, LISTS)
    task.complete()
    assert task.file("tests.before") == b"before\n" and task.file("tests.after") == b"before\nafter\n"
    assert "with 7 bytes before" in task.output(VERIFYING)


def test_a_known_list_is_given_to_the_verification(spawner):
    task = Task(spawner, LISTS)
    (task.directory / "tests.before").write_bytes(b"known\n")
    task.complete(baseline=1)
    assert task.file("tests.before") == b"known\n" and task.file("tests.after") == b"known\nafter\n"


SETUP_FAILS_LATER = FAILS_TWICE + r"""
step_setup() {
    [ -e /workspace/demo/from-bundle ] && [ $(grep -c round /workspace/demo/from-bundle) -ge 2 ] && return 1
    return 3
}
step_test() {
    echo list >&5
    [ -e /workspace/demo/from-bundle ] && return 6
    return 0
}
"""


def test_a_list_of_an_earlier_round_is_not_taken_for_the_last_ones(spawner):
    """The second round's dependencies cannot be installed, so its tests do not run."""
    task = Task(spawner, SETUP_FAILS_LATER)
    task.complete(rounds=1)
    assert [status for phase, _, status in task.phases() if phase == VERIFYING] == [6, 1]
    assert (task.file("tests.before"), task.file("tests.after")) == (b"list\n", b"")


def test_a_list_without_end_is_dropped(spawner):
    task = Task(spawner, GOOD + "step_test() { yes 'passed x' >&5; return 0; }")
    ended = task.complete()
    assert (ended["outcome"], task.file("tests.before"), task.file("tests.after")) == (DONE, b"", b"")


@pytest.mark.parametrize("status, fault", [
    (10, "model"), (11, "limit"), (12, "agent"), (13, "platform"), (14, "model"), (15, "user"), (16, "model"),
    (18, "platform"), (1, "agent"), (139, "agent"),
])
def test_an_agent_that_fails_keeps_its_work(spawner, status, fault):
    task = Task(spawner, GOOD + f"step_run() {{ mkdir -p /tmp/x; setpriv --reuid 1000 --regid 1000 --clear-groups "
                f"bash -c 'echo half >/workspace/demo/work'; exit {status}; }}")
    ended = task.complete(baseline=0)
    assert task.phases() == [(PREPARING, 1, 0), (WORKING, 1, status), (FINISHING, 1, 0)]
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, fault, WORKING)
    assert ended["message"] and ended["changed"] == 1 and ended["has_archive"] == 1
    assert task.file("work.bundle") == b"bundle of half\n"


def test_a_checkout_that_fails_is_the_environments_fault(spawner):
    task = Task(spawner, GOOD + "step_checkout() { echo 'no such branch' >&2; return 1; }")
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "environment", PREPARING)
    assert "no such branch" in task.output(PREPARING)
    assert not ended["has_archive"] and not task.workspace().exists()


@pytest.mark.parametrize("step, phase", [("checkout", PREPARING), ("test", BASELINE), ("run", WORKING),
                                         ("test_verify", VERIFYING)])
def test_cancel_keeps_what_was_done(spawner, step, phase):
    name, _, rest = step.partition("_")
    condition = "[ -e /workspace/demo/from-bundle ] || { echo ok; return 0; };" if rest else ""
    run = ("step_run() { trap 'setpriv --reuid 1000 --regid 1000 --clear-groups bash -c \"echo stopped "
           ">/workspace/demo/work\"; exit 17' TERM; echo waiting; while :; do sleep 0.05; done; }")
    script = GOOD + (run if name == "run" else
                     f"step_{name}() {{ {condition} echo waiting; sleep 1000; }}")
    task = Task(spawner, script)
    task.start()
    task.wait_for_output("waiting")
    began = time.monotonic()
    task.cancel()
    assert task.wait() == 0
    assert time.monotonic() - began < 20
    ended = task.ended()
    assert (ended["outcome"], ended["fault"]) == (CANCELLED, 0)
    assert task.phases()[-1][0] == FINISHING
    assert ended["changed"] == (1 if phase in (WORKING, VERIFYING) else 0)
    assert ended["has_archive"] == (0 if phase == PREPARING else 1)
    if phase == WORKING:
        assert task.file("work.bundle") == b"bundle of stopped\n"


def test_an_agent_that_ignores_sigterm_is_killed_and_its_work_kept(spawner):
    task = Task(spawner, GOOD + "step_run() { trap '' TERM; setpriv --reuid 1000 --regid 1000 --clear-groups bash -c "
                "'echo stubborn >/workspace/demo/work'; echo waiting; while :; do sleep 1; done; }")
    task.start(baseline=0)
    task.wait_for_output("waiting")
    task.cancel()
    assert task.wait() == 0
    assert task.ended()["outcome"] == CANCELLED
    assert task.file("work.bundle") == b"bundle of stubborn\n"


def test_the_wall_time_ends_a_run(spawner):
    task = Task(spawner, GOOD + "step_run() { echo waiting; sleep 1000; }")
    ended = task.complete(baseline=0, timeout_ms=1500)
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "limit", WORKING)
    assert ended["has_archive"] == 1
    assert ("time", 1500) in [(e["text"], e["figure"]) for e in task.events() if e["type"] == "limit.hit"]


def test_tests_that_outlast_their_limit_and_grace_are_killed(spawner):
    task = Task(spawner, GOOD + "step_test() { [ -e /workspace/demo/from-bundle ] || return 0; return 4; }")
    task.complete(rounds=0)
    assert task.phases()[3] == (VERIFYING, 1, 4)


def test_lack_of_memory_is_reported_with_its_figure(spawner):
    task = Task(spawner, GOOD + "step_run() { python3 -c 'b = b\"x\" * (1 << 30)'; exit $?; }")
    ended = task.complete(baseline=0, memory=128 << 20)
    assert (ended["outcome"], FAULTS[ended["fault"]]) == (RUN_FAILED, "limit")
    assert "ran out of memory" in ended["message"]
    assert ("memory", 128 << 20) in [(e["text"], e["figure"]) for e in task.events() if e["type"] == "limit.hit"]


def test_an_archive_that_is_too_large_leaves_the_workspace(spawner):
    task = Task(spawner, GOOD + "step_archive() { head -c 3M /dev/zero >&5; }")
    ended = task.complete(baseline=0, archive=1 << 20)
    assert (ended["outcome"], ended["has_archive"]) == (DONE, 0)
    assert task.file("archive") == b"" and task.phases()[-1][0] == FINISHING
    assert task.workspace().exists()
    assert (spawner.state / "runs" / f"{task.name}-1" / "status").read_text().endswith("workspace keep\n")
    assert ("output", 1 << 20) in [(e["text"], e["figure"]) for e in task.events() if e["type"] == "limit.hit"]
    task.script = GOOD
    assert task.complete(baseline=0)["has_archive"] == 1


def test_a_result_that_is_too_long_is_none(spawner):
    task = Task(spawner, GOOD + "step_test() { head -c 100000 /dev/zero | tr '\\0' x >&3; return 0; }")
    task.complete()
    assert task.result(BASELINE) == [""]


def test_a_daemon_that_holds_the_pipes_does_not_hold_the_run(spawner):
    task = Task(spawner, GOOD + "step_run() { (trap '' HUP TERM; setsid sleep 1000 &) ; echo started; }")
    began = time.monotonic()
    assert task.complete(baseline=0)["outcome"] == DONE
    assert time.monotonic() - began < 30


IDENTITY = r"""
who() {
    echo "$1 $(id -u):$(id -g):$(id -G)" $(grep -E '^(CapEff|CapPrm|CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2) \
        fds $(ls /proc/self/fd | tr '\n' ' ') fourth $(stat -Lc '%F of %s' /proc/self/fd/4 2>/dev/null)
}
step_checkout() { mkdir -p /workspace/demo; who checkout; echo x >/dev/stderr; }
step_test() { who test; }
step_run() { who run; exec 9<>/dev/tcp/127.0.0.1/64080; cat <&9; kill -0 1 && echo may signal init; }
step_commit() { who commit; return 3; }
step_archive() { who archive; mkdir /tmp/closed 2>/dev/null; cat /etc/shadow | head -1; echo x >&5; }
"""


def test_each_step_has_just_its_rights_and_descriptors(spawner):
    task = Task(spawner, IDENTITY)
    assert task.complete()["outcome"] == DONE
    none, agent, archiver = "0" * 16, f"{0xe0:016x}", f"{4:016x}"  # SETUID, SETGID, KILL; DAC_READ_SEARCH
    lines = {line.split()[0]: line for line in task.output().splitlines() if " fds " in line}

    def expected(name, uid, caps, fds):
        return f"{name} {uid}:{uid}:{uid} {none} {caps} {caps} {caps} {none} 1 2 fds {fds}"

    # `ls` adds a descriptor of its own, the first that is free; stat none.
    assert lines["checkout"] == expected("checkout", 1000, none, "0 1 2 3 4 5 fourth regular file of 4")
    assert lines["test"] == expected("test", 0, agent, "0 1 2 3 4 5 6 fourth regular empty file of 0")
    assert lines["run"] == expected("run", 0, agent, "0 1 2 3 4 fourth")
    assert lines["commit"] == expected("commit", 0, agent, "0 1 2 3 4 5 6 fourth regular file of 4")
    assert lines["archive"] == expected("archive", 0, archiver, "0 1 2 3 4 5 6 fourth regular empty file of 0")
    assert "hello" in task.output(WORKING)
    assert "root:*" in task.output(FINISHING)


def test_the_gateway_is_nobody_without_rights(spawner):
    task = Task(spawner, GOOD)
    task.complete(baseline=0, replay=True)
    gateway = task.events()[0]
    assert gateway["type"] == "gateway"
    assert gateway["uid"] == [65534] * 3 and gateway["gid"] == [65534] * 3 and gateway["groups"] == []
    assert gateway["caps"] == [f"{name}:\t{'0' * 16}" for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] + [
        "NoNewPrivs:\t1"]
    assert (gateway["config"], gateway["replay"]) == ('{"key":"real"}', True)


def gateway_of(spawner, runner):
    pid, = [process.pid for process in snapshot().values()
            if process.parent == runner and process.has(os.fsencode(spawner.gateway))]
    return pid


def test_a_killed_gateway_is_replaced_and_loses_nothing_unread(spawner):
    task = Task(spawner, GOOD + "step_run() { for i in $(seq 40); do echo line$i; sleep 0.05; done; "
                "exec 9<>/dev/tcp/127.0.0.1/64080; cat <&9; }")
    runner = task.start(baseline=0).pid
    killed = []
    for line in ("line5\n", "line20\n"):
        task.wait_for_output(line)
        killed.append(task.events()[-1]["gateway"])
        os.kill(gateway_of(spawner, runner), signal.SIGKILL)
    assert task.wait() == 0
    assert len(set(killed)) == 2
    # Each is told what the repository narrows before it gets a listener; the first, before set-up.
    events = task.events()
    for gateway in {event["gateway"] for event in events}:
        told = [event["type"] for event in events if event["gateway"] == gateway]
        first = told.index("narrow")
        assert told.count("narrow") == 1 and (gateway == killed[0] or "listen" not in told[:first])
    assert task.ended()["outcome"] == DONE
    assert "line40\nhello\n" in task.output(WORKING)  # the listener is the old one
    assert [phase for phase, _, _ in task.phases()] == [PREPARING, WORKING, VERIFYING, FINISHING]


def test_a_gateway_that_always_dies_ends_the_run(spawner):
    spawner.gateway.write_text("#!/bin/sh\nexit 1\n")
    task = Task(spawner, GOOD)
    task.start(baseline=0)
    assert os.WEXITSTATUS(task.wait()) == 1
    assert "it keeps dying" in spawner.log.read_text()
    assert spawner.cgroups() == []
    shutil.copyfile(FAKE_GATEWAY, spawner.gateway)  # and a later run goes on
    assert task.complete(baseline=0)["outcome"] == DONE


def test_a_gateway_that_cannot_be_replaced_ends_the_run_at_once(spawner):
    task = Task(spawner, GOOD + "step_run() { echo waiting; yes; }")
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    gateway = gateway_of(spawner, runner)
    spawner.gateway.unlink()
    os.kill(gateway, signal.SIGKILL)
    began = time.monotonic()
    assert os.WEXITSTATUS(task.wait()) == 1
    assert time.monotonic() - began < 20
    assert "no gateway" in spawner.log.read_text()
    shutil.copyfile(FAKE_GATEWAY, spawner.gateway)
    spawner.gateway.chmod(0o755)
    task.script = GOOD
    assert task.complete(baseline=0)["outcome"] == DONE  # from what the first one left


@pytest.mark.parametrize("step, phase", [("checkout", PREPARING), ("test", BASELINE), ("run", WORKING), ("commit", WORKING),
                                         ("archive", FINISHING)])
@pytest.mark.parametrize("victim", ["the step", "process 1"])
def test_what_is_killed_from_outside_ends_the_run_without_a_word(spawner, step, phase, victim):
    """And the next one goes on, as if the runner had been killed."""
    task = Task(spawner, GOOD + f"step_{step}() {{ echo waiting; sleep 1000; }}")
    task.start()
    task.wait_for_output("waiting")
    role = {"checkout": "setup", "test": "baseline"}.get(step, "work")
    os.kill(sandboxed(spawner, role, "init" if victim == "process 1" else step), signal.SIGKILL)
    assert os.WEXITSTATUS(task.wait()) == 1
    assert "run.ended" not in [event["type"] for event in task.events()]
    notes = [event for event in task.events() if event["type"] == "note"]
    assert notes[-1]["phase"] == phase and "this run is over" in notes[-1]["text"] and "killed" in notes[-1]["text"]
    assert phase not in [done for done, _, _ in task.phases()]
    assert spawner.cgroups() == []
    task.script = GOOD
    assert task.complete()["outcome"] == DONE
    assert task.phases()[-5:] == [(PREPARING, 1, 0), (BASELINE, 1, 0), (WORKING, 1, 0), (VERIFYING, 1, 0), (FINISHING, 1, 0)]


@pytest.mark.parametrize("command", ["create", "start", "exec"])
def test_a_killed_runtime_ends_the_run_without_a_word(command):
    with Spawner(runtime=KILLED_RUNTIME) as spawner:
        (spawner.home / "kill").write_text(command)
        task = Task(spawner, GOOD)
        task.start()
        assert os.WEXITSTATUS(task.wait()) == 1
        assert f"{RUNTIME} {command} was killed" in "".join(event.get("text", "") for event in task.events())
        (spawner.home / "kill").unlink()
        assert task.complete()["outcome"] == DONE


def test_a_killed_runner_is_cleaned_up_after_and_its_workspace_found_again(spawner):
    task = Task(spawner, GOOD + "step_run() { [ -e /workspace/demo/work ] && { echo resumed; return 0; }; setpriv --reuid 1000 "
                "--regid 1000 --clear-groups bash -c 'echo before >/workspace/demo/work'; sync; echo waiting; sleep 1000; }")
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    os.kill(runner, signal.SIGKILL)
    assert os.WTERMSIG(task.wait()) == signal.SIGKILL
    assert spawner.cgroups() == []
    assert {path.name for path in task.workspace().iterdir()} == {"work", "layer"}
    assert task.complete(baseline=0)["outcome"] == DONE
    assert "resumed" in task.output(WORKING)
    assert task.file("work.bundle") == b"bundle of before\n"


def test_a_salvage_keeps_what_crashed_runs_did_and_leaves_nothing_behind(spawner):
    task = Task(spawner, GOOD + "step_run() { setpriv --reuid 1000 --regid 1000 --clear-groups bash -c "
                "'echo before >/workspace/demo/work'; echo waiting; sleep 1000; }")
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    os.kill(runner, signal.SIGKILL)
    task.wait()
    ended = task.complete(salvage=True)
    assert (ended["outcome"], ended["changed"], ended["has_archive"]) == (CANCELLED, 1, 1)
    assert task.file("work.bundle") == b"bundle of before\n" and task.output(WORKING).count("waiting") == 1
    assert not task.workspace().exists()


def test_a_salvage_where_there_is_nothing_makes_nothing(spawner):
    ended = Task(spawner, GOOD).complete(salvage=True)
    assert (ended["outcome"], ended["changed"], ended["has_archive"]) == (CANCELLED, 0, 0)
    assert not (spawner.state / "layers").exists() or not list((spawner.state / "layers").iterdir())


def test_a_run_that_is_cancelled_before_it_works_keeps_what_a_crashed_one_did(spawner):
    task = Task(spawner, GOOD + "step_run() { setpriv --reuid 1000 --regid 1000 --clear-groups bash -c "
                "'echo before >/workspace/demo/work'; echo waiting; sleep 1000; }")
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    os.kill(runner, signal.SIGKILL)
    task.wait()
    task.script = GOOD + "step_test() { echo testing; sleep 1000; }"
    task.start()
    task.wait_for_output("testing")
    task.cancel()
    assert task.wait() == 0
    ended = task.ended()
    assert (ended["outcome"], ended["changed"], ended["has_archive"]) == (CANCELLED, 1, 1)
    assert task.file("work.bundle") == b"bundle of before\n"


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "tmp", "workspace"])
def test_a_layer_with_a_link_for_a_mount_point_is_refused(spawner, name):
    task = Task(spawner, GOOD)
    upper = task.workspace() / "work" / "upper"
    (spawner.state / "sandboxes").mkdir(mode=0o700, exist_ok=True)
    run = spawner.home / "run"  # as a run that crashed leaves it; whole, before a spawner sees it
    run.mkdir()
    (run / "status").write_text("phase started\noutcome -\nworkspace keep\n")
    (spawner.state / "runs").mkdir(exist_ok=True)
    run.rename(spawner.state / "runs" / f"{task.name}-1")
    upper.mkdir(parents=True)
    target = spawner.home / "host"
    target.mkdir()
    (upper / name).symlink_to(target)
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]]) == (RUN_FAILED, "platform")
    assert f"/{name} in the sandbox's files is not a plain directory" in ended["message"]
    assert list(target.iterdir()) == []
    shutil.rmtree(task.workspace())
    shutil.rmtree(spawner.state / "runs" / f"{task.name}-1")


def test_sandboxes_that_others_can_enter_are_refused(spawner):
    (spawner.state / "sandboxes").mkdir(mode=0o755)
    task = Task(spawner, GOOD)
    task.start()
    assert os.WEXITSTATUS(task.wait()) == 1
    assert "must belong to root with mode 0700" in spawner.log.read_text()
    shutil.rmtree(spawner.state / "runs" / f"{task.name}-1")


def test_a_runner_killed_in_the_baseline_leaves_no_scratch(spawner):
    task = Task(spawner, GOOD + "step_test() { echo waiting; sleep 1000; }")
    runner = task.start().pid
    task.wait_for_output("waiting")
    assert {path.name for path in task.workspace().iterdir()} == {"work", "layer", "baseline"}
    os.kill(runner, signal.SIGKILL)
    task.wait()
    assert {path.name for path in task.workspace().iterdir()} == {"work", "layer"}
    task.script = GOOD
    assert task.complete()["outcome"] == DONE


def test_one_attempt_has_one_runner(spawner):
    task = Task(spawner, GOOD + "step_run() { echo waiting; sleep 1000; }")
    task.start(baseline=0)
    task.wait_for_output("waiting")
    fds = task.open_fds()
    spawner.send(task.message(), fds)
    for fd in fds:
        os.close(fd)
    assert b"has a runner already" in spawner.receive(FAILED).message
    task.cancel()
    assert task.wait() == 0


def test_nobody_but_codexd_can_hold_the_lock_of_a_run(spawner):
    (spawner.state / "server").mkdir()
    os.chown(spawner.state / "server", 12345, 12345)
    task = Task(spawner, GOOD + "step_run() { echo waiting; sleep 1000; }")
    task.start(baseline=0)
    task.wait_for_output("waiting")
    lock = spawner.state / "runs" / f"{task.name}-1" / "lock"
    assert (lock.stat().st_uid, stat.S_IMODE(lock.stat().st_mode)) == (12345, 0o600)
    # For any local user a lock for reading would do: it asks for no more than a descriptor for reading.
    done = subprocess.run(["/usr/bin/python3", "-c", "import sys; open(sys.argv[1])", lock], user=65534, group=65534,
                          capture_output=True, check=False, text=True)
    assert "PermissionError" in done.stderr
    task.cancel()
    assert task.wait() == 0


def test_many_runs_at_once(spawner):
    tasks = [Task(spawner, GOOD, number) for number in range(8)]
    for task in tasks:
        task.start()
    for _ in tasks:
        from support.spawner import RUN_ENDED  # pylint: disable=import-outside-toplevel
        assert spawner.receive(RUN_ENDED).wait_status == 0
    assert [(task.ended()["outcome"], task.ended()["message"]) for task in tasks] == [(DONE, "")] * len(tasks)


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_a_waiting_runner_is_small(spawner):
    task = Task(spawner, GOOD + "step_run() { echo waiting; sleep 1000; }")
    runner = task.start(baseline=0).pid
    task.wait_for_output("waiting")
    with open(f"/proc/{runner}/smaps_rollup", encoding="ascii") as smaps:
        private = sum(int(line.split()[1]) for line in smaps if line.startswith("Private"))
    assert private <= 1536, f"{private} KiB"
    with open(f"/proc/{runner}/maps", encoding="ascii") as maps:
        libraries = maps.read()
    for name in ("curl", "sqlite", "ssl", "jansson", "seccomp"):
        assert name not in libraries
    task.cancel()
    task.wait()


def test_runners_share_the_agent_and_get_a_new_one_when_it_changes(spawner):
    script = GOOD + "step_run() { stat -Lc 'agent %i %s' /run/codex/codex-agent; grep /run/codex /proc/self/mountinfo; }"
    first, second = Task(spawner, script, 1), Task(spawner, script, 2)
    first.complete(baseline=0)
    second.complete(baseline=0)

    def agent(task):
        return [line for line in task.output(WORKING).splitlines() if line.startswith("agent")]

    assert agent(first) == agent(second)
    assert str(spawner.home) not in first.output()
    spawner.agent.write_bytes(spawner.agent.read_bytes() + b"\0")
    third = Task(spawner, script, 3)
    third.complete(baseline=0)
    assert agent(third) != agent(first)


# The second seems to run for a moment.
@pytest.mark.parametrize("agent", ["exit 1", "exec <&- >&- 2>&-; exit 1"], ids=["at once", "after a moment"])
def test_a_broken_runtime_is_the_platforms_fault(spawner, agent):
    spawner.agent.unlink()
    spawner.agent.write_text(f"#!/bin/sh\n{agent}\n")
    spawner.agent.chmod(0o755)
    task = Task(spawner, GOOD)
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "platform", PREPARING)
    wait_for(lambda: spawner.cgroups() == [], 10, "cgroups are gone")


INSTALLS = r"""
step_setup() {
    [ -e /opt/installed ] && return 3
    echo installing; touch /opt/installed; echo of-setup >/workspace/demo/made
}
step_test() { echo testing; cat /opt/installed /workspace/demo/made && echo '{"exit_code":0}' >&3; }
"""


def test_the_environment_is_made_once_and_lies_below_every_sandbox(spawner):
    first, second = (Task(spawner, GOOD + INSTALLS, number) for number in (1, 2))
    assert first.complete()["outcome"] == DONE
    assert first.output(PREPARING).count("installing") == 1 and "testing\nof-setup" in first.output(BASELINE)
    assert "testing\nof-setup" in first.output(VERIFYING) and "installing" not in first.output(VERIFYING)
    assert second.complete(baseline=0)["outcome"] == DONE
    assert "checking out" not in second.output(PREPARING) and "installing" not in second.output()
    assert second.result(PREPARING) == first.result(PREPARING) == ['{"commit":"c0"}\n']
    notes = [event["text"] for event in second.events() if event["type"] == "note"]
    assert any(note.startswith("environment: found") for note in notes)
    assert len([path for path in (spawner.state / "layers").iterdir() if path.is_dir()]) == 1


def test_what_a_task_does_to_its_environment_no_other_sees(spawner):
    vandal = Task(spawner, GOOD + INSTALLS + "step_run() { rm /opt/installed; setpriv --reuid 1000 --regid 1000 "
                  "--clear-groups bash -c 'cd /workspace/demo; mv made unmade; echo work >work'; }", 1)
    assert vandal.complete()["outcome"] == DONE
    assert "of-setup" in vandal.output(VERIFYING)
    later = Task(spawner, GOOD + INSTALLS, 2)
    later.layer = vandal.layer
    assert later.complete()["outcome"] == DONE
    assert "of-setup" in later.output(BASELINE)


def test_two_runs_that_need_one_environment_make_it_once(spawner):
    script = GOOD + INSTALLS.replace("echo installing", "echo installing; sleep 2")
    first, second = (Task(spawner, script, number) for number in (1, 2))
    first.start()
    first.wait_for_output("installing")
    second.start()
    assert {spawner.receive(RUN_ENDED).wait_status for _ in range(2)} == {0}
    assert (first.output() + second.output()).count("installing") == 1
    notes = "".join(event["text"] for event in second.events() if event["type"] == "note")
    assert "another task is making it" in notes


def test_a_set_up_that_fails_ends_the_run_and_leaves_no_layer(spawner):
    task = Task(spawner, GOOD + "step_setup() { echo '{\"advice\":\"try this\"}' >&3; return 1; }")
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["changed"]) == (RUN_FAILED, "environment", 0)
    assert task.result(PREPARING) == ['{"advice":"try this"}\n'] and task.phases()[0] == (PREPARING, 1, 1)
    assert not [path for path in (spawner.state / "layers").iterdir() if path.is_dir()]
    task.script = GOOD
    assert task.complete()["outcome"] == DONE


def test_a_run_that_is_cancelled_while_it_sets_up_leaves_no_layer(spawner):
    task = Task(spawner, GOOD + "step_setup() { echo installing; sleep 1000; }")
    task.start()
    task.wait_for_output("installing")
    task.cancel()
    assert task.wait() == 0 and task.ended()["outcome"] == CANCELLED
    assert not [path for path in (spawner.state / "layers").iterdir() if path.is_dir()]


def test_a_commit_that_cannot_be_set_up_fails_the_verification(spawner):
    task = Task(spawner, GOOD + "step_setup() { [ -e /workspace/demo/from-bundle ] || return 3; "
                "echo '{\"command\":\"npm ci\"}' >&3; return 1; }")
    assert task.complete(rounds=1)["outcome"] == DONE
    assert (VERIFYING, 1, 1) in task.phases() and (WORKING, 2, 0) in task.phases()
    assert task.result(VERIFYING)[0] == '{"command":"npm ci"}\n' and "testing" not in task.output(VERIFYING)


@pytest.mark.slow
def test_only_layers_used_lately_are_kept(spawner):
    for number in range(1, 19):
        task = Task(spawner, GOOD, number)
        task.layer = f"{number:064x}"
        assert task.complete(baseline=0)["outcome"] == DONE
    kept = sorted(path.name for path in (spawner.state / "layers").iterdir() if path.is_dir())
    assert len(kept) == 16 and kept[0].startswith(f"{3:064x}-")
    assert len(list((spawner.state / "layers").glob("*.lock"))) == 16
