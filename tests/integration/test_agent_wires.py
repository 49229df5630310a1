"""`codex-agent run` on each wire that a model server may speak: whole turns, retries, faults, restarts."""
import json
import signal
import time

import pytest

from support import agent as status
from support.agent import Agent
from support.model_server import (ModelServer, call, cut, failed, incomplete, message, raw, reasoning, silence,
                                  slow, stream, unfinished, usage)
from support.model_server import status as http
from support.specification import schema_check

PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}
MODELS = {"responses": "o3", "chat": "qwen3-coder", "messages": "claude-sonnet-4-6"}
every_wire = pytest.mark.parametrize("wire", PATHS)
new_wire = pytest.mark.parametrize("wire", ["chat", "messages"])


def shell(command, **more):
    """A call that runs COMMAND."""
    return call("exec_command", {"cmd": command, **more})


def agent_for(server, wire, **task):
    """An agent that asks SERVER on WIRE."""
    return Agent(server.base_url, wire_api=wire, **{"model": MODELS[wire], **task})


def run(wire, script, **task):
    """One run against SCRIPT: (result, requests)."""
    with ModelServer(script, api_key="sandbox-key") as server, agent_for(server, wire, **task) as agent:
        return agent.run(), server.requests


@every_wire
def test_a_turn_from_prompt_to_answer(wire):
    patch = "*** Begin Patch\n*** Add File: new\n+text é\n*** End Patch"
    script = [[reasoning("enc==", "Let me look."), message("First this."), shell("echo hello; echo x > made.txt")],
              [reasoning("enc2", "And now."), call("apply_patch", {"input": patch}), shell("cat made.txt")],
              [message("All done.")]]
    with ModelServer(script, api_key="sandbox-key") as server, agent_for(server, wire) as agent:
        result = agent.run()
        assert result.status == status.DONE, result.errors
        assert (agent.workdir / "made.txt").read_text() == "x\n"
        assert (agent.workdir / "new").read_text() == "text é\n"
    assert [request.path for request in server.requests] == [PATHS[wire]] * 3
    assert "hello" in server.requests[1].outputs["call_1_3"]
    assert list(server.requests[2].outputs) == ["call_1_3", "call_2_2", "call_2_3"]
    assert [item["text"] for item in result.items("reasoning")] == ["Let me look.", "And now."]
    assert [item["text"] for item in result.items("agent_message")] == ["First this.", "All done."]
    assert len(result.items("file_change")) == 1
    assert result.events[-1]["usage"] == {"input_tokens": 300, "cached_input_tokens": 120,
                                          "output_tokens": 60, "reasoning_output_tokens": 15}


@every_wire
def test_the_conversation_only_grows(wire):
    """Of every request, the tail that the wire puts behind its messages does not count."""
    script = [[shell(f"echo {n}")] for n in range(4)] + [[message("ok")]]
    _, requests = run(wire, script)
    for before, after in zip(requests, requests[1:]):
        whole = json.dumps(before.input)[:-1]
        assert json.dumps(after.input).startswith(whole)
        assert {**before.body, "input": 0, "messages": 0} == {**after.body, "input": 0, "messages": 0}


def test_a_chat_request_fits_the_published_description():
    check = schema_check("CreateChatCompletionRequest")
    script = [[reasoning("enc", "s"), message("a"), shell("true"), shell("true")], [message("ok")]]
    _, requests = run("chat", script)
    for request in requests:
        assert not [error.message for error in check.iter_errors(request.body)]
    body = requests[-1].body
    for name, wrong in (("messages", 5), ("messages", [{"role": "nobody"}]), ("tools", [{"type": "function"}]),
                        ("stream_options", "yes"), ("reasoning_effort", "enormous")):
        assert list(check.iter_errors({**body, name: wrong})), f"{name} is not checked"


def test_a_chat_request_is_as_documented():
    result, requests = run("chat", [[reasoning("enc", "s"), shell("true")], [message("ok")]], effort="high")
    assert result.status == status.DONE
    body = requests[0].body
    assert set(body) == {"model", "tools", "messages", "reasoning_effort", "stream", "stream_options"}
    assert [tool["type"] for tool in body["tools"]] == ["function"] * len(body["tools"])
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"].endswith("\n\ndo it")
    assert [m["role"] for m in requests[1].input] == ["system", "user", "assistant", "tool"]


def test_a_messages_request_is_as_documented():
    result, requests = run("messages", [[reasoning("sig", "s"), shell("true"), shell("true")], [message("ok")]])
    assert result.status == status.DONE
    body = requests[0].body
    assert set(body) == {"model", "max_tokens", "tools", "system", "messages", "stream", "cache_control", "thinking",
                         "output_config"}
    assert requests[0].headers["anthropic-version"] == "2023-06-01"
    assert [m["role"] for m in requests[1].input] == ["user", "assistant", "user"]
    # The outputs of one answer stand in one message, and nothing else does.
    assert [block["type"] for block in requests[1].input[2]["content"]] == ["tool_result"] * 2
    assert len(requests[0].input[0]["content"]) == 2


def test_thinking_goes_back_unchanged():
    """In each wire's own way."""
    script = [[reasoning("c2lnbmF0dXJl==", "I think…\n"), reasoning("redacted+/"), shell("true")], [message("ok")]]
    _, requests = run("messages", script)
    thinking, redacted, used = requests[1].input[1]["content"]
    assert thinking == {"type": "thinking", "thinking": "I think…\n", "signature": "c2lnbmF0dXJl=="}
    assert redacted == {"type": "redacted_thinking", "data": "redacted+/"}
    assert used["type"] == "tool_use" and used["input"] == {"cmd": "true"}
    _, requests = run("chat", script[:1] + [[message("ok")]])
    said = requests[1].input[2]
    assert said["reasoning_content"] == "I think…\n"
    assert said["reasoning_details"] == [{"type": "reasoning.encrypted", "data": data}
                                         for data in ("c2lnbmF0dXJl==", "redacted+/")]
    assert said["content"] is None and said["tool_calls"][0]["id"] == "call_1_3"


PASSING = {
    "500": http(500), "529": http(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "429": http(429, {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, {"Retry-After": "0"}),
    "cut": cut([message("half"), shell("touch ran")], after=-60), "no end": unfinished([shell("touch ran")]),
    "in the stream": failed("overloaded_error", "Overloaded", [shell("touch ran")]),
    "malformed": raw(b'data: {"type"\n\ndata: [DONE]\n\n'),
    "an empty body": raw(b""), "html": raw(b"<html></html>"), "silence": silence(),
}


@new_wire
@pytest.mark.parametrize("what", PASSING)
def test_trouble_that_passes_is_waited_for(wire, what):
    limits = {**status.FAST_RETRIES, "first_byte_timeout_ms": 500}
    with ModelServer([PASSING[what], [shell("echo ran >> count")], [message("ok")]]) as server, \
            agent_for(server, wire, retry=limits) as agent:
        result = agent.run()
        assert result.status == status.DONE, result.errors
        assert (agent.workdir / "count").read_text() == "ran\n"
        assert not (agent.workdir / "ran").exists()
    assert len(server.requests) == 3
    assert len(result.messages("error")) == 1


FINAL = {
    "key": (http(401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
            status.KEY_REFUSED),
    "context": (http(400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum",
                                     "type": "invalid_request_error"}}), status.CONTEXT_FULL),
    "quota": (http(402, {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "x"}}),
              status.MODEL_BUSY),
    "rejected": (http(404, {"error": {"message": "model not found"}}), status.MODEL_FAILED),
    "in the stream": (failed("insufficient_quota", "spent"), status.MODEL_BUSY),
}


@new_wire
@pytest.mark.parametrize("what", FINAL)
def test_trouble_that_does_not_pass_is_said_at_once(wire, what):
    entry, wanted = FINAL[what]
    result, requests = run(wire, [entry])
    assert result.status == wanted, result.errors
    assert len(requests) == 1


@new_wire
def test_an_answer_at_the_output_limit_is_not_acted_on(wire):
    answers = iter([incomplete("max_output_tokens", [shell("touch ran")]), [message("ok")]])
    with ModelServer([lambda request: next(answers)]) as server, agent_for(server, wire) as agent:
        result = agent.run()
        assert not (agent.workdir / "ran").exists()
    assert result.status == status.DONE
    assert "limit on output tokens" in server.requests[1].user_texts[-1]


def test_ends_of_each_wire_are_failures_of_its_kind():
    result, _ = run("chat", [incomplete("content_filter"), incomplete("content_filter")])
    assert result.status == status.MODEL_FAILED and "filter" in result.errors
    result, _ = run("messages", [incomplete("refusal"), incomplete("refusal")])
    assert result.status == status.MODEL_FAILED and "refused" in result.errors
    result, _ = run("messages", [incomplete("model_context_window_exceeded")])
    assert result.status == status.CONTEXT_FULL


def test_a_paused_turn_goes_on():
    """Nothing is said in between: the conversation ends with what the model said so far."""
    def second(request):
        assert request.input[-1]["role"] == "assistant"
        return [message("Done.")]
    with ModelServer([incomplete("pause_turn", [message("Wait,")]), second]) as server, \
            agent_for(server, "messages") as agent:
        result = agent.run()
        assert [record for record in agent.records() if record.get("response", {}).get("paused")]
    assert result.status == status.DONE, result.errors
    assert [item["text"] for item in result.items("agent_message")] == ["Wait,", "Done."]
    assert len(server.requests) == 2

    again = lambda request: incomplete("pause_turn", [message("Wait,")])
    with ModelServer([again] * 30, strict=False) as server, agent_for(server, "messages") as agent:
        result = agent.run()
    assert result.status == status.MODEL_FAILED and "pauses again and again" in result.errors
    assert len(server.requests) == 21


@new_wire
def test_wrong_calls_are_answered_and_go_back_as_objects(wire):
    script = [[call("no_such_tool", {}), call("exec_command", '{"cmd": "touch ran'), call("exec_command", {"cmd": 7}),
               call("exec_command", "")], [message("ok")]]
    with ModelServer(script) as server, agent_for(server, wire) as agent:
        result = agent.run()
        assert not (agent.workdir / "ran").exists()
    assert result.status == status.DONE
    outputs = list(server.requests[1].outputs.values())
    assert "there is no tool 'no_such_tool'" in outputs[0]
    assert "not valid JSON" in outputs[1]
    assert "'cmd'" in outputs[2] and "'cmd'" in outputs[3] or "not valid JSON" in outputs[3]
    if wire == "chat":
        given = [json.loads(c["function"]["arguments"]) for c in server.requests[1].input[2]["tool_calls"]]
    else:
        given = [block["input"] for block in server.requests[1].input[1]["content"]]
    assert given[1] == {"invalid_json": '{"cmd": "touch ran'} and all(isinstance(g, dict) for g in given)


@new_wire
def test_a_stream_may_come_in_any_pieces(wire):
    script = [slow([reasoning("e", "s"), shell("echo é")], delay_s=0.001, chunk=7), slow([message("ok é")], 0.001, 1)]
    result, requests = run(wire, script)
    assert result.status == status.DONE, result.errors
    assert "é" in requests[1].outputs["call_1_2"]
    assert [item["text"] for item in result.items("agent_message")] == ["ok é"]


@every_wire
def test_a_killed_agent_goes_on_where_it_was(wire):
    script = [[reasoning("e", "s"), shell("echo one >> count"), shell("touch begun; sleep 60")],
              [reasoning("e2", "s2"), shell("echo two >> count")], [message("ok")]]
    with ModelServer(script) as server, agent_for(server, wire) as agent:
        agent.start()
        deadline = time.monotonic() + 30
        while not (agent.workdir / "begun").exists() or "exited with code 0" not in agent.journal.read_text():
            assert agent.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        agent.stop(signal.SIGKILL)
        result = agent.run()
        assert result.status == status.DONE, result.errors
        assert (agent.workdir / "count").read_text() == "one\ntwo\n"
        assert agent.records()[0]["wire_api"] == wire
    outputs = server.requests[1].outputs
    assert "Process exited with code 0" in outputs["call_1_2"]
    assert outputs["call_1_3"].startswith("Interrupted")
    with_thoughts = json.dumps(server.requests[2].input)
    assert '"e"' in with_thoughts and '"e2"' in with_thoughts


def test_a_conversation_stays_on_its_wire():
    with ModelServer([[message("ok")]]) as server, agent_for(server, "chat") as agent:
        assert agent.run().status == status.DONE
        agent.task["wire_api"] = "messages"
        result = agent.run()
    assert result.status == status.BAD_INPUT
    assert "was begun with wire_api 'chat' and cannot go on with 'messages'" in result.errors


def test_an_unknown_wire_is_said_in_one_line():
    with Agent("http://127.0.0.1:9/v1", wire_api="soap") as agent:
        result = agent.run()
    assert result.status == status.BAD_INPUT
    assert "'wire_api' is 'soap', which is none of responses, chat and messages" in result.errors


def refusing(name, text, script):
    """A script in which requests that have the member NAME are refused with TEXT."""
    def guard(entry):
        def answer(request):
            if name in request.body:
                return http(400, {"error": {"message": text, "type": "invalid_request_error"}})
            return entry
        return answer
    return [guard(entry) for entry in script]


REFUSED = {
    "no usage in streams": ("chat", "stream_options", "Unrecognized request argument supplied: stream_options"),
    "no effort": ("chat", "reasoning_effort", "Unrecognized request argument supplied: reasoning_effort"),
    "no cache": ("messages", "cache_control", "cache_control: Extra inputs are not permitted"),
    "no effort in messages": ("messages", "output_config", "This model does not support the effort parameter."),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_server_refuses_is_left_out(what):
    """Once: the next requests are without it from the beginning."""
    wire, name, text = REFUSED[what]
    result, requests = run(wire, refusing(name, text, [[shell("echo hi")], [message("ok")]]))
    assert result.status == status.DONE, result.errors
    assert len(requests) == 3
    assert "hi" in requests[2].outputs["call_1_1"]
    assert result.messages("error") == [
        f"the model server answers 400: {text}: going on without what it refuses here"]
    if name == "stream_options":
        assert requests[1].body["stream"] is False
        assert result.events[-1]["usage"]["input_tokens"] == 200


def test_a_server_that_refuses_its_own_thoughts_gets_none():
    """As Groq does."""
    refusal = "'messages.2' : for 'role:assistant' the following must be satisfied" \
              "[('messages.2' : property 'reasoning_content' is unsupported)]"

    def second(request):
        if "reasoning_content" in request.input[2]:
            return http(400, {"error": {"message": refusal, "type": "invalid_request_error"}})
        return [message("ok")]
    result, requests = run("chat", [[reasoning("e", "s"), message("a"), shell("echo hi")], second])
    assert result.status == status.DONE, result.errors
    said = requests[2].input[2]
    assert set(said) == {"role", "content", "tool_calls"} and said["content"] == "a"


def test_the_limit_on_output_comes_down_to_what_is_taken():
    def guard(request):
        limit = request.body["max_tokens"]
        if limit > 8192:
            return http(400, {"error": {"type": "invalid_request_error", "message":
                                        f"max_tokens: {limit} > 8192, which is the maximum"}})
        return [message("ok")]
    result, requests = run("messages", [guard], model="some-model")
    assert result.status == status.DONE, result.errors
    assert [request.body["max_tokens"] for request in requests] == [32000, 8192]
    assert requests[1].body["thinking"]["budget_tokens"] < 8192


@new_wire
def test_usage_is_that_of_the_turn(wire):
    result, _ = run(wire, [stream([shell("true")], usage=usage(1000, 10, 900, 1)),
                           stream([message("ok")], usage=usage(2000, 20, 1800, 2))])
    assert result.events[-1]["usage"] == {"input_tokens": 3000, "cached_input_tokens": 2700,
                                          "output_tokens": 30, "reasoning_output_tokens": 3}
