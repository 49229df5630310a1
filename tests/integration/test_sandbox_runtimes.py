"""The other OCI runtime, in short. All of the suite with it: CODEX_TEST_RUNTIME=runc."""
import pytest

from support.codex import codex_on
from support.repository import CALCULATOR, Repository
from support.sandbox import OTHER_RUNTIME, sandbox_of_the_other_runtime
from test_main_job import GOOD_WORK


@pytest.fixture(name="sandbox")
def fixture_sandbox():
    with sandbox_of_the_other_runtime() as sandbox:
        yield sandbox


def test_a_runtime_that_knows_no_seccomp_is_refused(sandbox):
    unknown = sandbox.home / "youki"
    unknown.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo youki version 0.3.0 || touch \"$(dirname \"$0\")/used\"\n")
    unknown.chmod(0o755)
    done = sandbox.run("true", check=False, runtime=unknown)
    assert done.returncode == 125 and done.stderr.count("\n") == 1
    assert "is neither crun nor runc" in done.stderr and not (sandbox.home / "used").exists()


def test_a_task_becomes_a_branch_with_it(tmp_path):
    repository = Repository(tmp_path / "calculator", CALCULATOR)
    with codex_on(GOOD_WORK, f"[sandbox]\nruntime = {OTHER_RUNTIME}\n") as (codex, _):
        task = codex.wait(codex.task("Add subtract", cwd=repository.path))
        assert (task["state"], task["verdict"]) == ("completed", "passed"), (task["fault"], task)
        assert repository.git("rev-parse", "feat/subtract") == task["commit"]
