"""Running the attack programs, inside and outside, and what they print."""
import os
import re
import shutil
import subprocess

from support.codex import BUILD, ROOT

LINE = re.compile(r"case (\d+) (\w+): (.*)")
SECONDS = 120


def program(name):
    return BUILD / "tests" / "attack" / f"attack-{name}"


def attempts_of(name):
    """The attempts that a program's source has: name to number."""
    text = (ROOT / "tests" / "attack" / f"attack_{name}.c").read_text()
    return {attempt: int(number) for number, attempt in re.findall(r"ATTEMPT\((\d+), (\w+)\)", text)}


def bring(sandbox, *names):
    """Put programs into the sandbox's workspace."""
    for name in names:
        shutil.copy2(program(name), sandbox.workdir)


def results(text):
    """What a program has printed: attempt to result."""
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return {match[2]: match[3] for match in found}


def outside(name, *arguments, cwd, environment):
    """As root in namespaces of its own, where success harms nobody."""
    done = subprocess.run(["unshare", "--mount", "--uts", "--ipc", "--net", str(program(name)), *arguments], cwd=cwd,
                          env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=SECONDS)
    return results(done.stdout)


def outside_output(name, *arguments):
    """What a program prints outside, in a network of its own."""
    command = 'ip link set lo up && exec "$@"'
    return subprocess.run(["unshare", "--net", "sh", "-c", command, "-", str(program(name)), *arguments], check=True,
                          capture_output=True, text=True, timeout=SECONDS).stdout
