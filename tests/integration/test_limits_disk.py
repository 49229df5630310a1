"""The limit of a disk: hard by a disk of the sandbox's own, soft where there are no loop devices."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from support.codex import wait_for
from support.spawner import DONE, FAULTS, GOOD, PREPARING, RUN_FAILED, WORKING, Spawner, Task

MIB = 1 << 20
SHELL = "setpriv --reuid 1000 --regid 1000 --clear-groups bash -c"


@pytest.fixture(name="spawner")
def fixture_spawner():
    with Spawner() as spawner:
        yield spawner
        check_no_device(spawner)


def check_no_device(spawner):
    """The kernel gives a loop device back a moment after its last user is gone."""
    def attached():
        found = []
        for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                found.append(path.read_text())
        return [name for name in found if str(spawner.state) in name]
    wait_for(lambda: not attached(), 30, "no loop device is left")


def limits_hit(task):
    return [(event["text"], event["figure"], event["phase"]) for event in task.events() if event["type"] == "limit.hit"]


def notes(task):
    return "".join(event["text"] for event in task.events() if event["type"] == "note")


def test_a_task_on_disks_of_its_own(spawner):
    """Layer, workspace, baseline and verification each have one; nothing of them is left, and the next task finds the
    layer. The sizes inside are what was asked for."""
    script = GOOD.replace("echo checking out;", "echo checking out; echo layer >/workspace/of-layer;").replace(
        "echo testing;", "cat /workspace/of-layer; df --output=size,itotal -B1 / | tail -1;")
    task = Task(spawner, script, disk=256 * MIB, inodes=8192)
    ended = task.complete()
    assert (ended["outcome"], ended["changed"], ended["has_archive"]) == (DONE, 1, 1)
    sizes = [line.split() for line in task.output().splitlines() if line[:1].isdigit()]
    assert len(sizes) == 2  # baseline and verification
    for size, inodes in sizes:
        assert 250 * MIB < int(size) < 270 * MIB and 8192 <= int(inodes) < 10000, (size, inodes)
    layer, = [path for path in (spawner.state / "layers").iterdir() if path.is_dir()]
    assert {path.name for path in layer.iterdir()} == {"disk", "checkout"}
    assert (layer / "disk").stat().st_blocks * 512 < 8 * MIB  # sparse
    assert not limits_hit(task)
    later = Task(spawner, script, number=2, disk=256 * MIB)
    assert later.complete()["outcome"] == DONE
    assert "layer\n" in later.output() and "found, of an earlier task" in notes(later)


FILL = SHELL + " 'echo work >/workspace/demo/work; dd if=/dev/zero of=/workspace/demo/hog bs=1M; echo dd=$?'"


def test_a_full_disk_is_a_limit_and_the_work_is_kept(spawner):
    """The task's writes fail, the agent cannot go on, and the commit goes into the reserve."""
    script = GOOD.replace("echo work >>/workspace/demo/work'", "true'; " + FILL + "; exit 18").replace(
        "echo committing;", SHELL + " 'dd if=/dev/zero of=/workspace/objects bs=1M count=8' || exit 1;")
    task = Task(spawner, script, disk=64 * MIB)
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "limit", WORKING)
    assert ended["message"] == "the agent: the sandbox's disk is full; give it more than 64 MiB"
    assert "dd=1" in task.output() and "No space left" in task.output()
    assert ("disk", 64 * MIB, WORKING) in limits_hit(task)
    assert (ended["changed"], ended["has_archive"]) == (1, 1)
    assert task.file("work.bundle") == b"bundle of work\n"
    assert "the platform's reserve" in notes(task)


def test_work_that_cannot_be_committed_for_lack_of_space(spawner):
    script = GOOD.replace("echo work >>/workspace/demo/work'", "true'; " + FILL + "; exit 0").replace(
        "echo committing;", SHELL + " 'cat /dev/zero >/workspace/objects' || exit 1;")
    task = Task(spawner, script, disk=64 * MIB)
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "limit", WORKING)
    assert ended["message"].startswith("committing the work: the sandbox's disk is full")
    assert (ended["changed"], ended["has_archive"]) == (0, 1)


def test_files_are_limited_too_and_so_is_the_layer(spawner):
    script = "step_setup() { cd /home/codex && seq 9000 | xargs touch || return 1; }\n" + GOOD
    task = Task(spawner, script, disk=256 * MIB, inodes=4096)
    ended = task.complete()
    assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "limit", PREPARING)
    assert "ran out of inodes; give it more than 4096 files" in ended["message"]
    assert limits_hit(task) == [("inodes", 4096, PREPARING)]
    assert not [path for path in (spawner.state / "layers").iterdir() if path.is_dir()]


def test_a_workspace_on_a_disk_outlives_its_runner(spawner):
    """Killed with -9 in the middle; its disk is then marked as one that was in use when the machine went down."""
    script = GOOD.replace("step_run() {", """step_run() {
        [ -e /workspace/demo/first ] && { cat /workspace/demo/first; return 0; }
        """ + SHELL + """ 'echo kept >/workspace/demo/first; sync /workspace/demo/first'
        echo it is written; sleep 1000;""")
    task = Task(spawner, script, disk=64 * MIB)
    report = task.start()
    task.wait_for_output("it is written")
    os.kill(report.pid, signal.SIGKILL)
    task.wait()
    assert {path.name for path in task.workspace().iterdir()} == {"work", "layer"}
    check_no_device(spawner)
    disk = task.workspace() / "work" / "disk"
    subprocess.run(["/sbin/debugfs", "-w", "-R", "ssv state 0", disk], check=True, capture_output=True)
    assert "not clean" in subprocess.run(["/sbin/dumpe2fs", "-h", disk], check=True, capture_output=True,
                                         text=True).stdout
    ended = task.complete(baseline=0)
    assert ended["outcome"] == DONE
    assert "kept\n" in task.output(WORKING)


def test_a_disk_that_is_damaged_is_told(spawner):
    script = GOOD.replace("step_run() {", "step_run() { echo it runs; sleep 1000;")
    task = Task(spawner, script, disk=64 * MIB)
    report = task.start()
    task.wait_for_output("it runs")
    os.kill(report.pid, signal.SIGKILL)
    task.wait()
    check_no_device(spawner)
    subprocess.run(["dd", "if=/dev/urandom", f"of={task.workspace()}/work/disk", "bs=1M", "count=200", "conv=notrunc"],
                   check=True, capture_output=True)
    ended = task.complete(baseline=0)
    assert (ended["outcome"], FAULTS[ended["fault"]]) == (RUN_FAILED, "platform")
    assert "is damaged" in ended["message"] and "work/disk" in ended["message"]
    for name in ("sandboxes", "runs"):  # a workspace that nobody could archive is kept
        shutil.rmtree(spawner.state / name / task.workspace().name)


def test_a_soft_limit_ends_the_sandbox_and_keeps_the_work():
    script = GOOD.replace("echo work >>/workspace/demo/work'", "true'; " + SHELL +
                          " 'echo work >/workspace/demo/work; head -c 200M /dev/zero >/workspace/hog; sleep 1000'")
    with Spawner(below="mount --bind /dev/null /dev/loop-control") as spawner:
        task = Task(spawner, script, disk=64 * MIB)
        ended = task.complete()
        assert (ended["outcome"], FAULTS[ended["fault"]], ended["phase"]) == (RUN_FAILED, "limit", WORKING)
        assert ended["message"] == "the agent: the sandbox's disk is full; give it more than 64 MiB"
        assert limits_hit(task) == [("disk", 64 * MIB, WORKING)]
        assert (ended["changed"], ended["has_archive"]) == (1, 1)
        layer, = [path for path in (spawner.state / "layers").iterdir() if path.is_dir()]
        assert {path.name for path in layer.iterdir()} == {"upper", "checkout"}
