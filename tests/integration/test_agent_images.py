"""`codex-agent run` shows images to its model, on each wire; servers that take none are gone on without."""
import base64
import json
import os

import pytest

from support import agent as status
from support.agent import Agent, COMMAND_UID
from support.model_server import ModelServer, call, message
from support.model_server import status as http
from support.specification import schema_check, specification_is_here

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
DATA = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{DATA}"
MODELS = {"responses": "o3", "chat": "qwen3-vl", "messages": "claude-sonnet-4-6"}
SCHEMAS = {"responses": "CreateResponse", "chat": "CreateChatCompletionRequest"}
LOOK = [call("view_image", {"path": "shot.png"}), call("exec_command", {"cmd": "echo beside"})]
NOTE = "shot.png: image/png, 72 bytes"
LEFT_OUT = "[An image was here. It is left out: the model server does not take it.]"
every_wire = pytest.mark.parametrize("wire", MODELS)


def agent_for(server, wire):
    agent = Agent(server.base_url, wire_api=wire, model=MODELS[wire])
    (agent.workdir / "shot.png").write_bytes(PNG)
    return agent


def images(request):
    """Every part of REQUEST that is an image, wherever it stands."""
    found, rest = [], [request.body]
    while rest:
        value = rest.pop(0)
        if isinstance(value, dict):
            if value.get("type") in ("input_image", "image_url", "image"):
                found.append(value)
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return found


def shown(wire, request):
    """What REQUEST says behind the model's answer."""
    return request.input[-2:] if wire == "responses" else request.input[-3:] if wire == "chat" else request.input[-1:]


EXPECTED = {
    "responses": lambda out: [
        {"type": "function_call_output", "call_id": "call_1_1", "output": [
            {"type": "input_text", "text": NOTE}, {"type": "input_image", "image_url": URL}]},
        {"type": "function_call_output", "call_id": "call_1_2", "output": out}],
    "chat": lambda out: [
        {"role": "tool", "tool_call_id": "call_1_1", "content": NOTE},
        {"role": "tool", "tool_call_id": "call_1_2", "content": out},
        {"role": "user", "content": [{"type": "text", "text": "The image of the call call_1_1:"},
                                     {"type": "image_url", "image_url": {"url": URL}}]}],
    "messages": lambda out: [
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_1_1", "content": [
                {"type": "text", "text": NOTE},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}]},
            {"type": "tool_result", "tool_use_id": "call_1_2", "content": out}]}],
}


@every_wire
def test_an_image_is_shown_and_kept_over_a_restart(wire):
    """The journal has it once; the conversation goes on with it, byte for byte."""
    with ModelServer([LOOK, [message("I see.")], [message("Still.")]], api_key="sandbox-key") as server, \
            agent_for(server, wire) as agent:
        result = agent.run()
        assert result.status == status.DONE, result.errors
        request = server.requests[1]
        out = request.outputs["call_1_2"]
        assert "beside" in out and shown(wire, request) == EXPECTED[wire](out)
        assert any(tool.get("name", tool.get("function", {}).get("name")) == "view_image" for tool in request.body["tools"])
        assert agent.journal.read_text().count(DATA) == 1
        result = agent.run(feedback={"command": "true", "exit_code": 1, "output_tail": "no"})
        assert result.status == status.DONE, result.errors
        last = server.requests[2]
        assert json.dumps(last.input).startswith(json.dumps(request.input)[:-1])
    if wire in SCHEMAS and specification_is_here():
        check = schema_check(SCHEMAS[wire])
        assert not [error.message for error in check.iter_errors(request.body)]
        images(request)[0]["type"] = "picture"
        assert list(check.iter_errors(request.body)), "images are not checked"


REFUSALS = {
    "responses": http(400, {"error": {"message": "Invalid value: 'input_image'. Supported values are: 'input_text'.",
                                      "type": "invalid_request_error", "param": "input[4].output", "code": "invalid_value"}}),
    "chat": http(400, {"error": {"message": "Failed to deserialize the JSON body into the target type: messages[4]: unknown variant "
                                            "`image_url`, expected `text`", "type": "invalid_request_error"}}),
    "messages": http(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages.2.content: Could not process image"}}),
    # llama.cpp without a projector
    "chat 500": http(500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need "
                                                             "to provide the mmproj", "type": "server_error"}}),
}


@pytest.mark.parametrize("which", REFUSALS)
def test_a_server_that_takes_no_images_is_asked_without(which):
    """Once; from then on at once."""
    wire = which.split()[0]
    script = [LOOK, REFUSALS[which], [call("view_image", {"path": "shot.png"})], [message("I cannot see.")]]
    with ModelServer(script, strict=False) as server, agent_for(server, wire) as agent:
        result = agent.run()
    assert result.status == status.DONE, result.errors
    assert len(server.requests) == 4
    assert [len(images(request)) for request in server.requests] == [0, 1, 0, 0]
    assert [request.raw.decode().count(LEFT_OUT) for request in server.requests] == [0, 0, 1, 2]
    errors = result.messages("error")
    assert len(errors) == 1 and errors[0].endswith(": going on without images")
    if wire in SCHEMAS and specification_is_here():
        assert not [error.message for error in schema_check(SCHEMAS[wire]).iter_errors(server.requests[3].body)]


def test_a_refusal_that_images_have_no_part_in_stays_one():
    refusal = http(400, {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}})
    with ModelServer([LOOK, refusal, refusal], strict=False) as server, agent_for(server, "responses") as agent:
        result = agent.run()
    assert result.status == status.MODEL_FAILED
    assert [len(images(request)) for request in server.requests] == [0, 1, 0]
    assert "no" in result.messages("turn.failed")[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_only_what_the_user_may_read_is_shown():
    script = [[call("view_image", {"path": "shot.png"}), call("view_image", {"path": "../../state/journal.jsonl"}),
               call("view_image", {"path": "link.png"})], [message("ok")]]
    with ModelServer(script) as server, agent_for(server, "responses") as agent:
        (agent.workdir / "shot.png").chmod(0o600)  # root's
        (agent.workdir / "link.png").symlink_to("/proc/1/fd/0")
        assert os.stat(agent.workdir).st_uid == COMMAND_UID
        result = agent.run()
        assert result.status == status.DONE, result.errors
    outputs = server.requests[1].outputs
    assert all(text.startswith("cannot view") for text in outputs.values()) and len(outputs) == 3
    assert "Permission denied" in outputs["call_1_1"] and "Permission denied" in outputs["call_1_2"]
