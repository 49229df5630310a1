"""codex-gateway: recorded turns in the place of a model."""
import json
import pathlib
import socket

import pytest

from support.codex import ROOT, wait_for
from support.gateway import Gateway, request

FIRST = {"replay": 1, "recorded": "2026-11-20", "model": "o3", "note": "for tests"}
USAGE = {"input_tokens": 50, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 5,
         "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 55}


def turn(*items):
    """One recorded response."""
    return {"output": list(items), "usage": USAGE}


def message(text):
    """The model says TEXT."""
    return {"type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}


def call(name, arguments):
    """The model calls a function."""
    return {"type": "function_call", "name": name, "arguments": json.dumps(arguments)}


THREE_TURNS = [
    FIRST,
    turn({"type": "reasoning", "summary": [{"type": "summary_text", "text": "thinking"}],
          "encrypted_content": "opaque"}, call("exec_command", {"cmd": "ls"})),
    turn({"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch\n*** End Patch\n"}),
    turn(message("Done: é€😀 " * 20)),
]


def items_of(answer):
    """The items that output_item.done told, which must be those of response.completed."""
    done = [event["item"] for event in answer.sse if event["type"] == "response.output_item.done"]
    assert answer.sse[-1]["type"] == "response.completed"
    assert answer.sse[-1]["response"]["output"] == done
    return done


def test_a_conversation_runs_through_its_turns():
    """What an agent does: it sends everything back that it was told, with the outputs of the calls."""
    with Gateway(replay=THREE_TURNS) as gateway:
        conversation = [{"role": "user", "content": "do it"}]
        for number in (1, 2, 3):
            answer = gateway.ask(input=conversation)
            assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
            items = items_of(answer)
            conversation += items
            conversation += [{"type": item["type"] + "_output", "call_id": item["call_id"], "output": "x"}
                             for item in items if "call_id" in item]
            assert all(f"_r{number}_" in item["id"] for item in items)
        assert conversation[-1]["content"][0]["text"] == "Done: é€😀 " * 20
        answer = gateway.ask(input=conversation)
        assert (answer.status, answer.error) == (400, "replay_ended")
        assert "has 3 turns, and turn 4 was asked for" in answer.message
        gateway.close()
        assert [event["usage"] for event in gateway.events("model.usage")] == [
            {"input_tokens": 50, "cached_input_tokens": 10, "output_tokens": 5,
             "reasoning_output_tokens": 2}] * 3


def test_nothing_is_remembered():
    """Another gateway, or the same one again, serves the turn that the conversation asks for."""
    second = [{"type": "function_call_output", "call_id": "call_r1_2", "output": ""}]
    for _ in range(2):
        with Gateway(replay=THREE_TURNS) as gateway:
            for _ in range(2):
                assert items_of(gateway.ask(input=second))[0]["id"] == "ctc_r2_1"
            assert items_of(gateway.ask(input=[]))[0]["id"] == "rs_r1_1"


def test_the_deltas_make_up_the_texts():
    """Streaming as the API does it: in small pieces, numbered without a gap."""
    with Gateway(replay=[FIRST, turn(message("ab" * 500), call("f", {"x": "y" * 100}))]) as gateway:
        events = gateway.ask().sse
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        for kind, name in (("output_text", "text"), ("function_call_arguments", "arguments")):
            deltas = [e["delta"] for e in events if e["type"] == f"response.{kind}.delta"]
            done, = [e[name] for e in events if e["type"] == f"response.{kind}.done"]
            assert len(deltas) > 1 and "".join(deltas) == done


def test_a_request_without_stream_gets_one_object():
    """`stream` missing or false."""
    with Gateway(replay=THREE_TURNS) as gateway:
        answer = gateway.ask(stream=False)
        response = json.loads(answer.body)
        assert answer.headers["content-type"] == "application/json"
        assert response["object"] == "response" and response["status"] == "completed"
        assert [item["type"] for item in response["output"]] == ["reasoning", "function_call"]
        gateway.close()
        assert gateway.events("model.usage")[0]["usage"]["input_tokens"] == 50


def test_the_same_rules_hold():
    """Key, model, budget."""
    with Gateway(replay=THREE_TURNS, budget_tokens=56) as gateway:
        assert gateway.ask(key="x").error == "wrong_key"
        assert gateway.ask(model="other").error == "wrong_model"
        assert gateway.ask(b'{"model":"test-model"').error == "bad_request"
        assert gateway.ask().status == 200
        assert gateway.ask().status == 200
        assert gateway.ask().error == "budget_exceeded"


@pytest.mark.parametrize("lines, message_", [
    (b"", "replay file: it is empty"),
    (b"nonsense\n", "replay file: line 1: "),
    ([turn(message("x"))], "replay file: line 1: the first line must be {\"replay\":1, …}"),
    ([FIRST, {"output": []}], "replay file: line 2: 'output' must be an array of items"),
    ([FIRST, turn(message("x")), {"output": [message("x")]}], "replay file: line 3: 'usage' must have"),
    ([FIRST, turn({"type": "video"})], "replay file: line 2: an item of 'output' must have the type"),
])
def test_a_bad_recording_is_one_clear_line(lines, message_):
    """At the first request and in the log; not before, and it does not end the gateway."""
    with Gateway(replay=lines) as gateway:
        for _ in range(2):
            answer = gateway.ask()
            assert (answer.status, answer.error) == (400, "bad_replay")
            assert answer.message.startswith(message_)
        assert gateway.log().count("\n") == 2
        assert message_.replace('"', '\\"').encode() in gateway.log_path.read_bytes()


def test_a_large_turn_waits_for_a_slow_reader():
    """4 MB of text to a client with a small window come whole."""
    with Gateway(replay=[FIRST, turn(message("x" * (4 << 20)))]) as gateway:
        with gateway.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            body = json.dumps({"model": "test-model", "input": [], "stream": False}).encode()
            connection.sendall(request(body))
            wait_for(lambda: connection.recv(1), what="the answer begins")
            data = bytearray(b"H")
            while piece := connection.recv(1 << 16):
                data += piece
        assert data.endswith(b"0\r\n\r\n") and len(data) > 4 << 20


@pytest.mark.parametrize("path", sorted(ROOT.glob("demo/*.jsonl")), ids=lambda path: path.name)
def test_the_demos_recording_can_be_served(path):
    """All its turns, in order."""
    lines = pathlib.Path(path).read_bytes()
    model = json.loads(lines.split(b"\n")[0])["model"]
    with Gateway(replay=lines, model=model) as gateway:
        for number in range(1, len(lines.splitlines())):
            last = [{"call_id": f"call_r{number - 1}_1"}] if number > 1 else []
            answer = gateway.ask(model=model, input=last)
            assert answer.status == 200, answer.body
            assert f"_r{number}_" in items_of(answer)[0]["id"]
