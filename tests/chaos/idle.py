"""Many idle sandboxes at once, each with a runner of its own: they all come up; half of the runners are killed with -9,
the others end; a spawner then finds nothing that it cannot remove."""
import random
import signal
import subprocess
import time

from support.codex import wait_for
from support.spawner import Spawner

START_AT_ONCE = 8
SECONDS = 300


class Idle:
    def __init__(self, seed, count):
        self.dice, self.count, self.runners = random.Random(seed), count, []

    def start(self, sandbox):
        """The next few, until each has said that it is up."""
        some = [sandbox.start("sh", "-c", "echo up; exec cat", options=("--memory", "64M"), stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) for _ in range(min(START_AT_ONCE, self.count - len(self.runners)))]
        self.runners += some
        return [runner.pid for runner in some if runner.stdout.readline() != b"up\n"]

    def end(self):
        killed = set(self.dice.sample(range(self.count), self.count // 2))
        for number, runner in enumerate(self.runners):
            if number in killed:
                runner.send_signal(signal.SIGKILL)
            runner.stdin.close()
        return [f"runner {runner.pid} ended with {status}" for number, runner in enumerate(self.runners)
                if (status := runner.wait(SECONDS)) != (-signal.SIGKILL if number in killed else 0)]

    def run(self):
        began = time.monotonic()
        complaints = []
        with Spawner(started=False) as sandbox:
            try:
                while len(self.runners) < self.count and not complaints:
                    complaints += [f"sandbox of {pid} does not come up" for pid in self.start(sandbox)]
                up_seconds = time.monotonic() - began
            finally:
                if len(self.runners) == self.count:
                    complaints += self.end()
                for runner in self.runners:
                    runner.kill()
                    runner.wait()
                    runner.stdout.close()
            sandbox.start_spawner()
            wait_for(lambda: sandbox.cgroups() == [] and sandbox.files() == [], SECONDS, "nothing is left")
        return complaints, (f"{self.count} sandboxes with a runner each were up after {up_seconds:.0f} s, and gone after "
                            f"{time.monotonic() - began:.0f} s")
