"""`codex-agent run` and its journal: stopped, killed or torn at any byte, it goes on where it was."""
import os
import random
import shutil
import signal
import subprocess

import pytest

from support import agent as status
from support.agent import Agent
from support.codex import wait_for
from support.model_server import ModelServer, call, message, reasoning, silence
from support.model_server import status as http


def shell(command, **more):
    """A call that runs COMMAND."""
    return call("exec_command", {"cmd": command, **more})


def processes_of(marker):
    """The pids of processes with MARKER in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if marker.encode() in file.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_stopped_while_the_model_thinks():
    with ModelServer([silence(), [message("ok")]]) as server, Agent(server.base_url) as agent:
        agent.start()
        server.wait_for(1)
        result, seconds = agent.stop()
        assert result.status == status.STOPPED
        assert seconds < 1
        assert result.messages("turn.failed") == ["stopped by SIGTERM"]
        assert agent.run().status == status.DONE
    assert server.requests[1].input == server.requests[0].input


def test_stopped_while_it_waits_to_try_again():
    with ModelServer([http(429, headers={"Retry-After": "4"}), [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        agent.start()
        server.wait_for(1)
        result, seconds = agent.stop()
        assert result.status == status.STOPPED and seconds < 1
        assert agent.run().status == status.DONE


def test_stopped_while_a_command_runs():
    marker = f"98765.{os.getpid()}"
    script = [[reasoning("e"), shell(f"touch began; sleep {marker}"), shell("echo quick")],
              [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        agent.start()
        wait_for((agent.workdir / "began").exists, what="the command")
        result, seconds = agent.stop()
        assert result.status == status.STOPPED
        assert seconds < 2
        wait_for(lambda: not processes_of(marker), what="the command's end")
        result = agent.run()
        assert result.status == status.DONE
    outputs = server.requests[1].outputs
    assert list(outputs) == ["call_1_2", "call_1_3"]
    assert "Interrupted" in outputs["call_1_2"]
    assert any(text in outputs["call_1_3"] for text in ("quick", "Interrupted", "Not run"))


def test_stopped_while_a_command_will_not_end():
    marker = f"98763.{os.getpid()}"
    script = [[shell(f"trap '' TERM INT HUP; touch began; sleep {marker}; sleep {marker}")], [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        agent.start()
        wait_for((agent.workdir / "began").exists, what="the command")
        result, seconds = agent.stop()
        assert result.status == status.STOPPED
        assert seconds < 3
        wait_for(lambda: not processes_of(marker), what="the command's end")


def test_killed_while_a_command_runs():
    marker = f"98764.{os.getpid()}"
    script = [[reasoning("e"), shell(f"echo ran >> count; sleep {marker}"), shell("echo quick > quick")],
              [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        agent.start()
        wait_for((agent.workdir / "count").exists, what="the command")
        wait_for(lambda: '"call_id":"call_1_3","output"' in agent.journal.read_text(), what="the other")
        agent.stop(signal.SIGKILL)
        for pid in processes_of(marker):  # in a sandbox, and in a namespace, they have ended with it
            os.kill(pid, signal.SIGKILL)
        result = agent.run()
        assert result.status == status.DONE
        assert (agent.workdir / "count").read_text() == "ran\n", "it was run again"
    outputs = server.requests[1].outputs
    assert outputs["call_1_2"].startswith("Interrupted")
    assert "Process exited with code 0" in outputs["call_1_3"]
    ids = [item["id"] for item in result.items()]
    assert all(id_.startswith("item_1_") for id_ in ids), "ids of the second start differ"


def test_killed_again_and_again():
    """SIGKILL at any moment: no command runs twice, every call has one output, the turn gets done."""
    turns = 25
    script = [[reasoning(f"e{n}"), shell(f"echo {n} >> count")] for n in range(turns)] + [[message("ok")]]
    chance = random.Random(7)
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        for attempt in range(500):
            agent.start()
            try:  # longer and longer, for machines on which even a start takes its time
                result = agent.finish(chance.uniform(0.004, 0.03) * (1 + attempt / 50))
                break
            except subprocess.TimeoutExpired:
                agent.stop(signal.SIGKILL)
        assert result.status == status.DONE
        runs = (agent.workdir / "count").read_text().split()
    assert len(runs) == len(set(runs))
    conversation = server.requests[-1].input
    calls = [item["call_id"] for item in conversation if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in conversation if item["type"] == "function_call_output"]
    assert calls == outputs == [f"call_{n}_2" for n in range(1, turns + 1)]
    interrupted = [text for text in server.requests[-1].outputs.values() if "Process exited" not in text]
    assert len(runs) + len(interrupted) >= turns


def test_a_journal_torn_anywhere_ends_in_the_same_result():
    """Cut at many places, also within records: each time the turn is finished, and nothing that has an
    output is run again."""
    script = [[reasoning("e"), shell("echo one >> count")], [shell("echo two >> count")], [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        whole = agent.journal.read_bytes()
        expected = (agent.workdir / "count").read_text()
        assert expected == "one\ntwo\n"
        text = whole.decode()
        for cut_at in sorted({*range(0, len(whole), 97), len(whole) - 1}):
            agent.journal.write_bytes(whole[:cut_at])
            outputs_kept = text[:cut_at].rpartition("\n")[0].count('"function_call_output"')
            (agent.workdir / "count").write_text("")
            result = agent.run()
            assert result.status == status.DONE, (cut_at, result.errors)
            runs = (agent.workdir / "count").read_text().splitlines()
            assert len(runs) == len(set(runs)) <= 2 - outputs_kept
            assert agent.run().status == status.DONE
    assert server.unexpected == []


def test_a_finished_turn_is_not_begun_again():
    with ModelServer([[shell("true")], [message("ok")]]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        result = agent.run()
        assert result.status == status.DONE
        assert len(server.requests) == 2
        assert [event["type"] for event in result.events] == ["thread.started"]


FEEDBACK = {"command": "npm test", "found": "package.json", "exit_code": 1, "signal": None,
            "timed_out": False, "duration_ms": 1200, "output_tail": "1 failing\n"}


def test_a_failed_verification_begins_the_next_round():
    script = [[shell("echo one")], [message("done")], [shell("echo two")], [message("really done")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        result = agent.run(feedback=FEEDBACK)
        assert result.status == status.DONE
        assert agent.run().status == status.DONE
    assert len(server.requests) == 4
    feedback = server.requests[2].user_texts[-1]
    for part in ("npm test", "exit code 1", "1 failing"):
        assert part in feedback
    assert server.requests[2].input[:-1] == server.requests[1].input + [
        {**message("done"), "id": "msg_2_1"}]
    assert [item["text"] for item in result.items("agent_message")] == ["really done"]
    assert result.events[-1]["usage"]["input_tokens"] == 200, "that of the round"


def test_feedback_names_what_broke_and_quotes_the_output():
    feedback = {**FEEDBACK, "newly_broken": ["a.py::test_x", "b"], "counts": {"newly_broken": 70}, "ran_twice": True,
                "excerpts": [{"test": "a.py::test_x", "output": "E  the reason"}, {"test": 1}, None]}
    with ModelServer([[message("done")], [message("really done")]]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        assert agent.run(feedback=feedback).status == status.DONE
    text = server.requests[1].user_texts[-1]
    for part in ("- a.py::test_x\n- b\n… and 68 more\n", "were run twice", "about a.py::test_x:\nE  the reason\n"):
        assert part in text


def test_a_round_that_was_killed_goes_on_without_a_second_message():
    script = [[message("done")], [shell("echo two")], [message("really done")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        server.scripts[""].insert(1, silence())
        agent.start(feedback=FEEDBACK)
        server.wait_for(2)
        agent.stop(signal.SIGKILL)
        result = agent.run(feedback=FEEDBACK)
        assert result.status == status.DONE
    assert [text.count("npm test") for text in server.requests[-1].user_texts].count(1) == 1


def test_feedback_that_cannot_be_read_is_bad_input():
    with ModelServer([[message("done")]]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        result = agent.run(feedback=[])
    assert result.status == status.BAD_INPUT
    assert "the feedback is not a JSON object" in result.errors


def test_a_journal_that_is_damaged_is_not_guessed_at():
    with ModelServer([[shell("true")], [message("ok")]]) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        lines = agent.journal.read_text().splitlines(keepends=True)
        agent.journal.write_text("".join([*lines[:2], "{broken\n", *lines[3:]]))
        result = agent.run()
    assert result.status == status.BAD_INPUT
    assert "journal.jsonl line 3" in result.errors


def test_two_agents_cannot_share_a_journal():
    with ModelServer([silence(), [message("ok")]]) as server, Agent(server.base_url) as agent:
        agent.start()
        server.wait_for(1)
        with Agent(server.base_url) as other:
            other.state = agent.state
            result = other.run()
        assert result.status == status.INTERNAL
        assert "another agent works on this journal" in result.errors
        assert agent.stop()[0].status == status.STOPPED


def test_the_journal_is_the_agents_own():
    with ModelServer([[shell("cat ../../state/journal.jsonl; ls ../../state")], [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
        assert agent.state.stat().st_mode & 0o777 == 0o700
        assert agent.journal.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert server.requests[1].outputs["call_1_1"].count("Permission denied") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a small file system")
def test_a_full_disk_is_said():
    with ModelServer([[message("x" * 20000)]]) as server, Agent(server.base_url) as agent:
        agent.state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "codex-test", agent.state],
                       check=True)
        try:
            result = agent.run()
        finally:
            subprocess.run(["umount", agent.state], check=True)
    assert result.status == status.INTERNAL
    assert "No space left" in result.errors


def test_the_middle_of_a_turn_costs_no_more_than_its_beginning():
    """Requests grow, but nothing is serialised again: 60 turns with 20 kB each are no slower at the
    end. (Figures are the bench's; this only notices when it becomes quadratic.)"""
    filler = "y" * 20000
    script = [[shell(f"echo {n} {filler[:200]}"), ] for n in range(60)] + [[message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        assert agent.run().status == status.DONE
    times = [request.time for request in server.requests]
    early, late = times[20] - times[0], times[60] - times[40]
    assert late < early * 3 + 0.5


def test_moving_the_state_takes_the_conversation_along():
    with ModelServer([[shell("echo hi")], silence(), [message("ok")]]) as server, \
            Agent(server.base_url) as agent:
        agent.start()
        server.wait_for(2)
        agent.stop(signal.SIGKILL)
        elsewhere = agent.home / "elsewhere"
        shutil.move(agent.state, elsewhere)
        agent.state, agent.journal = elsewhere, elsewhere / "journal.jsonl"
        assert agent.run().status == status.DONE
    assert server.requests[2].input == server.requests[1].input
