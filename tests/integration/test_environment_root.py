"""`user = root` in a repository's .codex/environment.conf, where the server allows it and where not."""
from support.codex import codex_on
from support.model_server import call, custom_call, message
from support.repository import Repository
from test_environment import output

ALLOWED = "[sandbox]\nallow_root = yes\n"
FILES = {".codex/environment.conf": "user = root\n", "notes": "a\n",
         # What only root can do, and no more than that: not even root has the capabilities of a machine's.
         "Makefile": "test:\n\ttest $$(id -u) = 0 && touch /usr/lib/made-by-test && chown 1234 /usr/lib/made-by-test\n"
                     "\tgrep -q '^CapEff:\t00000000800005fb' /proc/self/status\n"
                     "\t! mount -t tmpfs none /mnt 2>/dev/null\n\tgit status >/dev/null\n"}
# The agent is of the same user, and yet cannot be looked into.
LOOK = """id -u; touch /usr/lib/made-by-agent && echo installed; git status --short && echo trusted
for process in /proc/[0-9]*; do
    [ "$(tr '\\0' ' ' <$process/cmdline)" = "/run/codex/codex-agent run --as-root " ] || continue
    cat $process/environ >/dev/null 2>&1 && echo looked; (: >$process/fd/3) 2>/dev/null && echo wrote; echo there
done
mkdir -m 700 made && echo mine >made/file && chmod 600 made/file && setsid sleep 1000 & sleep 0.1"""
PATCH = """*** Begin Patch
*** Update File: notes
@@
 a
+more
*** End Patch"""
WORK = [[call("exec_command", {"cmd": LOOK})], [custom_call("apply_patch", PATCH)], [message("Done.")]]


def test_commands_of_every_phase_are_root_and_the_work_lands(tmp_path):
    repository = Repository(tmp_path / "demo", FILES)
    with codex_on(WORK, ALLOWED) as (codex, model):
        task = codex.wait(codex.task("Add to the notes", cwd=repository.path))
        assert (task["state"], task["verdict"]) == ("completed", "passed"), task
        assert task["evidence"]["baseline"]["exit_code"] == 0
        assert "commands run as the sandbox's root" in output(codex, task["id"], "preparing")
        seen = "".join(model.requests[-1].outputs.values())
        assert "0\ninstalled\ntrusted\nthere\n" in seen, seen
        assert "root of the sandbox" in str(model.requests[0].body)
        assert repository.git("diff", "--name-only", "main", task["branch"]) == "made/file\nnotes"
        # It holds for the next task, which finds the environment, and not any more when it is not allowed.
        again = codex.wait(codex.task("Again", cwd=repository.path))
        assert again["verdict"] == "passed" and "environment: found" in output(codex, again["id"], "preparing")
        codex.stop()
        codex.config.write_text(codex.config.read_text().replace(ALLOWED, ""))
        codex.start()
        asked = len(model.requests)
        refused = codex.wait(codex.task("Once more", cwd=repository.path))
        assert (refused["state"], refused["fault"]["kind"], refused["fault"]["step"]) == ("failed", "environment", "preparing")
        assert "allow_root = yes in [sandbox]" in refused["fault"]["message"] and len(model.requests) == asked


def test_without_a_word_of_the_server_it_is_refused(tmp_path):
    repository = Repository(tmp_path / "demo", FILES)
    with codex_on(WORK) as (codex, model):
        task = codex.wait(codex.task("Add to the notes", cwd=repository.path))
        assert (task["state"], task["fault"]["kind"]) == ("failed", "environment")
        assert "this server does not allow" in task["fault"]["message"] and not model.requests
        repository.commit({".codex/environment.conf": "user = wheel\n"}, "another user")
        task = codex.wait(codex.task("Add to the notes", cwd=repository.path))
        assert ".codex/environment.conf:1: 'user' must be root or codex" in output(codex, task["id"], "preparing")


def test_a_task_that_kills_its_agent_ends_with_what_it_did(tmp_path):
    """Root can; then another run goes on where this one was."""
    repository = Repository(tmp_path / "demo", FILES)
    kill = "echo more >>notes; [ -e /opt/killed ] && echo survived || { touch /opt/killed; kill -9 -1; }"
    with codex_on([[call("exec_command", {"cmd": kill})], [message("Done.")]], ALLOWED) as (codex, _):
        task = codex.wait(codex.task("Add to the notes", cwd=repository.path))
        assert (task["state"], task["verdict"]) == ("completed", "passed"), task
        assert task["run"] == 2 and repository.git("show", f"{task['branch']}:notes").startswith("a\nmore")
