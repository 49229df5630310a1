"""What a repository depends on is there before its tests run: whole tasks on the real programs."""
import pytest

from support.codex import codex_on
from support.model_server import call, message
from support.repository import Repository

CHANGE = [[call("exec_command", {"cmd": "echo more >>notes; ls -l; cat installed"})], [message("Done.")]]
NOTHING = [[message("There is nothing to do.")]]
DEPS = {"Makefile": "deps:\n\tid -u >/opt/by; echo tool >installed; echo changed >>notes\n"
                    "test:\n\ttest \"$$(cat /opt/by)\" = 0 && grep -qx tool installed\n", "notes": "a\n"}


def output(codex, task, phase):
    return "".join(event["text"] for event in codex.events(task)
                   if event["type"] == "phase.output" and event["phase"] == phase)


def test_dependencies_are_installed_by_root_before_the_baseline(tmp_path):
    repository = Repository(tmp_path / "demo", DEPS)
    with codex_on(CHANGE) as (codex, model):
        task = codex.task("Add to the notes", cwd=repository.path)
        done = codex.wait(task)
        assert done["state"] == "completed" and done["verdict"] == "passed", done
        assert done["evidence"]["baseline"]["exit_code"] == 0
        assert "$ make deps" in output(codex, task, "preparing")
        # The task's user owns what was made; what set-up made or changed is no work of the task.
        seen = "".join(model.requests[-1].outputs.values())
        assert "codex codex" in seen and "tool" in seen
        assert repository.git("diff", "--name-only", "main", done["branch"]) == "notes"
        assert repository.git("show", f"{done['branch']}:notes") == "a\nmore"
        # Once for all that start there.
        again = codex.task("Again", cwd=repository.path)
        assert codex.wait(again)["verdict"] == "passed"
        assert "make deps" not in output(codex, again, "preparing")
        assert "environment: found" in output(codex, again, "preparing")


@pytest.mark.parametrize("how", ["option", "file"])
def test_what_sets_up_can_be_said(tmp_path, how):
    files = dict(DEPS)
    if how == "file":
        files[".codex/environment.conf"] = "# two lines\nimage = x\nsetup = echo one >/opt/by\nsetup = echo 0 >/opt/by; echo tool >installed\n"
    repository = Repository(tmp_path / "demo", files)
    options = ("--setup", "echo 0 >/opt/by; echo tool >installed") if how == "option" else ()
    with codex_on(NOTHING) as (codex, _):
        task = codex.task("Look", *options, cwd=repository.path)
        done = codex.wait(task)
        assert done["state"] == "completed" and done["evidence"]["baseline"]["exit_code"] == 0, done
        assert "make deps" not in output(codex, task, "preparing")
        assert output(codex, task, "preparing").count("'image' has no effect yet") == (how == "file")


def test_a_set_up_that_fails_says_which_line_and_what_to_try(tmp_path):
    repository = Repository(tmp_path / "demo", {**DEPS, "Makefile": "deps:\n\techo on the way; exit 3\ntest:\n\ttrue\n"})
    with codex_on(NOTHING) as (codex, model):
        done = codex.run("task", "Look", "--follow", cwd=repository.path, check=False)
        task = codex.tasks()[0]
        assert done.returncode == 1
        assert (task["state"], task["fault"]["kind"], task["fault"]["step"]) == ("failed", "environment", "preparing")
        assert task["fault"]["message"].startswith("'make deps' (for Makefile) failed with status 2: ")
        assert "--setup" in task["fault"]["message"] and "on the way" in done.stdout
        assert not model.requests
        # It is tried again, and can be left out.
        other = codex.task("Look", "--setup", "true", cwd=repository.path)
        assert codex.wait(other)["state"] == "completed"


def test_a_broken_environment_file_is_told_by_its_line(tmp_path):
    repository = Repository(tmp_path / "demo", {**DEPS, ".codex/environment.conf": "setup = true\nsetpu = x\n"})
    with codex_on(NOTHING) as (codex, _):
        task = codex.wait(codex.task("Look", cwd=repository.path))
        assert task["fault"]["kind"] == "environment"
        assert ".codex/environment.conf:2: unknown key 'setpu'" in output(codex, task["id"], "preparing")


def test_a_change_of_the_dependencies_is_set_up_for_the_verification(tmp_path):
    files = {**DEPS, "Makefile": DEPS["Makefile"].replace("echo tool", "cat version"), "version": "tool\n"}
    repository = Repository(tmp_path / "demo", files)
    edit = "sed -i 's/cat version/echo tool/' Makefile; echo more >>notes"
    with codex_on([[call("exec_command", {"cmd": edit})], [message("Done.")]]) as (codex, _):
        task = codex.task("Change the build", cwd=repository.path)
        assert codex.wait(task)["verdict"] == "passed"
        assert "$ make deps" in output(codex, task, "verifying")


def test_lines_of_ones_own_are_run_again_for_other_dependencies(tmp_path):
    """And only then: set-up that leaves a lock file behind, which nobody tracks, is no change."""
    files = {"Makefile": "test:\n\tgrep -qx tool installed\n", "requirements.txt": "tool\n", "notes": "a\n",
             ".gitignore": "package-lock.json\n"}
    repository = Repository(tmp_path / "demo", files)
    own = "cp requirements.txt installed; date +%N >package-lock.json; mkfifo /var/lib/codex/setup; true"
    edit = "case $(cat notes) in a) echo b >notes;; *) sed -i 1iother requirements.txt;; esac"
    with codex_on([[call("exec_command", {"cmd": edit})], [message("Done.")]]) as (codex, _):
        task = codex.task("Change the notes", "--setup", own, cwd=repository.path)
        done = codex.wait(task)
        assert done["verdict"] == "passed", done
        assert own in output(codex, task, "preparing") and own not in output(codex, task, "verifying")
        repository.git("merge", "--ff-only", done["branch"])
        task = codex.task("Change the dependencies", "--setup", own, cwd=repository.path)
        assert codex.wait(task)["verdict"] == "passed"
        assert own in output(codex, task, "verifying")
