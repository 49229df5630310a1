"""`codex-agent run` against a scripted model: the turn loop, from the prompt to the end."""
import json
import os

import pytest

from support import agent as status
from support.agent import Agent
from support.model_server import (ModelServer, call, custom_call, incomplete, message, reasoning,
                                  stream, usage)
from support.specification import schema_check


def shell(command, **more):
    """A call that runs COMMAND."""
    return call("exec_command", {"cmd": command, **more})


def run(script, prompt="do it", **task):
    """One run against SCRIPT: (result, requests)."""
    with ModelServer(script, api_key="sandbox-key") as server, Agent(server.base_url, prompt, **task) as agent:
        return agent.run(), server.requests


def test_a_turn_from_prompt_to_answer():
    script = [[reasoning("enc==", "Let me look."), shell("echo hello; echo x > made.txt")],
              [message("All done.")]]
    with ModelServer(script, api_key="sandbox-key") as server, Agent(server.base_url) as agent:
        result = agent.run()
        assert result.status == status.DONE, result.errors
        assert (agent.workdir / "made.txt").read_text() == "x\n"
        if os.geteuid() == 0:
            assert (agent.workdir / "made.txt").stat().st_uid == status.COMMAND_UID
    output = server.requests[1].outputs["call_1_2"]
    assert "Process exited with code 0" in output and "hello" in output
    kinds = [event["type"] for event in result.events]
    assert kinds[:2] == ["thread.started", "turn.started"] and kinds[-1] == "turn.completed"
    assert result.events[0]["thread_id"] == "task-abc123"
    assert [item["text"] for item in result.items("reasoning")] == ["Let me look."]
    assert [item["text"] for item in result.items("agent_message")] == ["All done."]
    (command,) = result.items("command_execution")
    assert command["command"] == "echo hello; echo x > made.txt"
    assert (command["exit_code"], command["status"]) == (0, "completed")
    assert result.events[-1]["usage"] == {"input_tokens": 200, "cached_input_tokens": 80,
                                          "output_tokens": 40, "reasoning_output_tokens": 10}
    assert result.errors == ""


def test_the_request_is_as_documented():
    result, requests = run([[reasoning("enc", "s"), shell("true")], [message("ok")]], "the prompt")
    assert result.status == status.DONE
    body = requests[0].body
    assert body["model"] == "o3" and body["store"] is False and body["stream"] is True
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["prompt_cache_key"] == "task-abc123"
    assert body["tool_choice"] == "auto" and body["parallel_tool_calls"] is True
    assert "submit" in body["instructions"] and "apply_patch" in body["instructions"]
    assert "previous_response_id" not in body
    names = [tool["name"] for tool in body["tools"]]
    assert {"exec_command", "write_stdin", "apply_patch", "update_plan", "submit"} <= set(names)
    assert len(names) == len(set(names))
    assert requests[0].headers["Authorization"] == "Bearer sandbox-key"
    assert requests[0].headers["Content-Type"] == "application/json"
    assert requests[0].user_texts[0].startswith("<environment_context>")
    assert requests[0].user_texts[-1] == "the prompt"


def test_the_request_fits_the_published_description():
    check = schema_check("CreateResponse")
    script = [[reasoning("enc", "s"), shell("true"), custom_call("apply_patch", "x")], [message("ok")]]
    for model in ("o3", "gpt-5"):
        _, requests = run(script, model=model)
        for request in requests:
            assert not [error.message for error in check.iter_errors(request.body)]
    body = requests[-1].body
    for name, wrong in (("input", 5), ("tools", [{"type": "function"}]), ("stream", "yes"),
                        ("reasoning", {"effort": "enormous"}), ("store", 1)):
        assert list(check.iter_errors({**body, name: wrong})), f"{name} is not checked"


def test_what_the_model_said_goes_back_byte_for_byte():
    said = [reasoning("gAAAA+/=é", "s", strange={"n": 1.50, "deep": [{"a": None}]}),
            {"type": "future_item", "id": "fut_1_2", "payload": "\u2028\\u0041"}, shell("true")]
    _, requests = run([said, [message("ok")]])
    with_ids = requests[1].input[-4:-1]
    assert with_ids[0]["id"] == "rs_1_1" and with_ids[0]["encrypted_content"] == "gAAAA+/=é"
    for item in with_ids:
        assert json.dumps(item).encode() in requests[1].raw


def test_the_conversation_only_grows():
    script = [[shell(f"echo {n}")] for n in range(5)] + [[message("ok")]]
    _, requests = run(script)
    tail = requests[0].raw.rindex(b'],"tool_choice"')
    for before, after in zip(requests, requests[1:]):
        cut = before.raw.rindex(b'],"tool_choice"')
        assert after.raw.startswith(before.raw[:cut])
    assert tail > 0


@pytest.mark.parametrize("style", ["full", "done", "completed"])
def test_servers_that_tell_less(style):
    result, requests = run([stream([reasoning("e", "s"), shell("echo hi")], style=style),
                            stream([message("ok")], style=style)])
    assert result.status == status.DONE
    assert "hi" in requests[1].outputs["call_1_2"]
    assert [item["text"] for item in result.items("agent_message")] == ["ok"]


def test_calls_of_one_answer_run_side_by_side():
    script = [[shell("mkfifo p; timeout 20 sh -c 'read x <p && echo got $x'"),
               shell("until [ -p p ]; do sleep 0.01; done; timeout 20 sh -c 'echo word >p'")],
              [message("ok")]]
    result, requests = run(script)
    assert result.status == status.DONE
    assert "got word" in requests[1].outputs["call_1_1"]
    assert list(requests[1].outputs) == ["call_1_1", "call_1_2"]


def test_wrong_calls_are_answered_and_the_turn_goes_on():
    script = [[call("no_such_tool", {}), call("exec_command", '{"cmd": "touch ran'),
               call("exec_command", {"cmd": 7}), custom_call("exec_command", "touch ran")],
              [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        result = agent.run()
        assert not (agent.workdir / "ran").exists()
    assert result.status == status.DONE
    outputs = list(server.requests[1].outputs.values())
    assert "there is no tool 'no_such_tool'" in outputs[0] and "exec_command" in outputs[0]
    assert "not valid JSON" in outputs[1]
    assert "'cmd'" in outputs[2]
    assert "takes a JSON object" in outputs[3]


def test_patches_come_in_either_form():
    def patch(name):
        return f"*** Begin Patch\n*** Add File: {name}\n+text\n*** End Patch"
    script = [[custom_call("apply_patch", patch("one")), call("apply_patch", {"input": patch("two")})],
              [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url, model="gpt-5") as agent:
        result = agent.run()
        assert (agent.workdir / "one").read_text() == (agent.workdir / "two").read_text() == "text\n"
    assert result.status == status.DONE
    assert len(result.items("file_change")) == 2


def test_an_empty_answer_is_nudged_once():
    result, requests = run([[shell("true")], [reasoning("only thoughts")], [message("done")]])
    assert result.status == status.DONE
    assert "Your last answer was empty" in requests[2].user_texts[-1]
    assert not any(item.get("type") == "reasoning" for item in requests[2].input)

    result, requests = run([[], []])
    assert result.status == status.MODEL_FAILED
    assert result.messages("turn.failed") == ["the model gives empty answers"]
    assert len(requests) == 2

    result, requests = run([[shell("true")], [], []])
    assert result.status == status.DONE, "something was done: the verification decides"


def test_an_answer_at_the_output_limit_is_not_acted_on():
    # Nothing of it enters the conversation, so a function has to count.
    answers = iter([incomplete("max_output_tokens", [shell("touch ran")]), [message("ok")]])
    with ModelServer([lambda request: next(answers)]) as server, Agent(server.base_url) as agent:
        result = agent.run()
        assert not (agent.workdir / "ran").exists()
    assert result.status == status.DONE
    assert "limit on output tokens" in server.requests[1].user_texts[-1]
    assert not server.requests[1].outputs

    result, requests = run([lambda request: incomplete("max_output_tokens", [shell("touch ran")])])
    assert result.status == status.MODEL_FAILED
    assert len(requests) == 4


def test_going_round_in_circles_ends():
    def same_again(request):  # ids of its own, from which the server counts no turns
        number = len(request.outputs)
        return [call("exec_command", {"cmd": "echo same; exit 3"}, id=f"same{number}",
                     call_id=f"same{number}")]
    with ModelServer([same_again]) as server, Agent(server.base_url) as agent:
        result = agent.run()
    assert result.status == status.GAVE_UP
    assert result.messages("turn.failed") == [
        "the model made the same calls with the same results 10 times in a row"]
    assert len(server.requests) == 10
    told = [text for text in server.requests[-1].user_texts if "always with the same result" in text]
    assert len(told) == 1


def test_agents_md_comes_before_the_prompt():
    with ModelServer([[message("ok")]]) as server, Agent(server.base_url, "the prompt") as agent:
        (agent.workdir / "AGENTS.md").write_text("Use tabs.\n")
        assert agent.run().status == status.DONE
        first, second, third = server.requests[0].user_texts
        assert first == (f"# AGENTS.md instructions for {agent.workdir}\n\n<INSTRUCTIONS>\nUse tabs.\n\n"
                         "</INSTRUCTIONS>")
    assert second.startswith("<environment_context>") and str(agent.workdir) in second
    assert third == "the prompt"


def test_submit_does_not_end_the_turn():
    script = [[call("submit", {"title": "Add x", "body": "It adds x."})], [shell("echo on")],
              [message("ok")]]
    with ModelServer(script) as server, Agent(server.base_url) as agent:
        result = agent.run()
        submitted = json.loads((agent.state / "submit.json").read_text())
    assert result.status == status.DONE
    assert submitted["title"] == "Add x"
    assert len(server.requests) == 3


def test_usage_is_that_of_the_turn():
    result, _ = run([stream([shell("true")], usage=usage(1000, 10, 900, 1)),
                     stream([message("ok")], usage=usage(2000, 20, 1800, 2))])
    assert result.events[-1]["usage"] == {"input_tokens": 3000, "cached_input_tokens": 2700,
                                          "output_tokens": 30, "reasoning_output_tokens": 3}


def test_without_descriptors_for_events_it_works_too():
    with ModelServer([[shell("true")], [message("ok")]]) as server, Agent(server.base_url) as agent:
        assert agent.run(events=False).status == status.DONE


@pytest.mark.parametrize("change, why", [
    ({"prompt": ""}, "task.json: 'prompt' is empty"),
    ({"workdir": "demo"}, "task.json: 'workdir' must be an absolute path"),
    ({"workdir": "/nonexistent"}, "task.json: the workdir '/nonexistent' is not a directory"),
    ({"base_url": "https://api.openai.com/v1"}, "is not an http:// URL of a numeric address"),
])
def test_bad_input_is_said_in_one_line(change, why):
    with Agent("http://127.0.0.1:9/v1") as agent:
        agent.task.update(change)
        result = agent.run()
    assert result.status == status.BAD_INPUT
    assert why in result.errors and result.errors.count("\n") == 1
    assert why in result.messages("turn.failed")[0]


def test_a_task_that_is_no_json_is_said_in_one_line():
    with Agent("http://127.0.0.1:9/v1") as agent:
        result = agent.run(task_text="{")
    assert result.status == status.BAD_INPUT
    assert result.errors.startswith("codex-agent: task.json: line 1:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could do harm")
def test_root_needs_a_sandbox():
    """The machine's own pid namespace has a fixed number (PROC_PID_INIT_INO of linux/proc_ns.h)."""
    if os.stat("/proc/self/ns/pid").st_ino != 0xEFFFFFFC:
        pytest.skip("these tests run in a container: its processes are nobody's")
    with Agent("http://127.0.0.1:9/v1") as agent:
        result = agent.run(namespace=[])
    assert result.status == status.BAD_INPUT
    assert "only in a sandbox" in result.errors


def test_the_state_directory_must_be_its_own():
    with Agent("http://127.0.0.1:9/v1") as agent:
        agent.state.mkdir()
        agent.state.chmod(0o777)
        result = agent.run()
    assert result.status == status.INTERNAL
    assert "can be written by others" in result.errors


def test_commands_do_not_get_the_agents_descriptors():
    script = [[shell("ls -l /proc/self/fd; echo; env | grep -i key; true")], [message("ok")]]
    result, requests = run(script)
    assert result.status == status.DONE
    output = requests[1].outputs["call_1_1"]
    assert "memfd" not in output and "journal" not in output and "sandbox-key" not in output


def test_a_reader_of_events_that_is_gone_ends_the_turn():
    with ModelServer([[shell("true")], [message("ok")]]) as server, Agent(server.base_url) as agent:
        read_end, write_end = os.pipe()
        os.close(read_end)
        result = agent.run(events=write_end)
        os.close(write_end)
    assert result.status == status.INTERNAL
    assert "events" in result.errors
    assert not server.requests
