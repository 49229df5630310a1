"""The scripted model server itself: every other integration test stands on it."""
import http.client
import json
import threading

import pytest

from support.model_server import (ModelServer, call, custom_call, cut, failed, forever, hang_up,
                                  incomplete, message, noisy, raw, reasoning, silence, status, stream,
                                  unfinished)
from support.specification import schema_check, specification_is_here


def ask(server, conversation=(), timeout=5, key=None, prompt="go", **more):
    """One request; returns (status, body bytes)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    body = {"model": "m", "stream": True, **more, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": prompt}]}, *conversation]}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connection.request("POST", "/v1/responses", json.dumps(body), headers)
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def events(body):
    """The events of a whole stream."""
    return [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]


def items(body):
    """The output of the terminal event."""
    return events(body)[-1]["response"]["output"]


def test_a_script_is_followed_by_what_the_conversation_holds():
    with ModelServer([[reasoning("secret", "hm"), call("f", {"a": 1})], [message("done")]]) as server:
        first = items(ask(server)[1])
        assert [item["id"] for item in first] == ["rs_1_1", "fc_1_2"]
        assert first[1]["call_id"] == "call_1_2"
        assert items(ask(server)[1]) == first, "the same place, the same turn"
        output = {"type": "function_call_output", "call_id": "call_1_2", "output": "ok"}
        last = items(ask(server, [*first, output])[1])
        assert last[0]["content"][0]["text"] == "done"
        assert server.requests[2].outputs == {"call_1_2": "ok"}


def test_the_events_are_those_of_the_published_api():
    said = [reasoning("x", "thinking"), message("a" * 100), call("f", {"k": "v"}), custom_call("p", "in")]
    with ModelServer([said]) as server:
        told = events(ask(server)[1])
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    kinds = [event["type"] for event in told]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 4
    for kind in ("output_text", "reasoning_summary_text", "function_call_arguments",
                 "custom_tool_call_input"):
        assert f"response.{kind}.delta" in kinds and f"response.{kind}.done" in kinds
    text = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
    assert text == "a" * 100
    assert told[-1]["response"]["usage"]["input_tokens"] == 100


@pytest.mark.parametrize("style, count", [("full", 9), ("done", 4), ("completed", 3)])
def test_servers_that_tell_less(style, count):
    with ModelServer([stream([message("hi")], style=style)]) as server:
        told = events(ask(server)[1])
        assert len(told) == count
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == "hi"


def test_faults_come_once_and_in_their_place():
    with ModelServer([status(429, headers={"Retry-After": "7"}), failed("server_error", "no"),
                      incomplete("max_output_tokens", [message("half")]), [], [message("end")]]) as server:
        assert ask(server)[0] == 429
        assert events(ask(server)[1])[-1]["response"]["error"]["code"] == "server_error"
        half = events(ask(server)[1])[-1]
        assert half["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
        told = half["response"]["output"]
        assert items(ask(server, told)[1]) == []
        assert items(ask(server, told)[1])[0]["content"][0]["text"] == "end"


def test_broken_streams():
    said = [message("hello")]
    with ModelServer([cut(said, after=200), unfinished(said), hang_up(),
                      forever(raw(b"data: x\n\n"))]) as server:
        with pytest.raises(http.client.IncompleteRead) as broken:
            ask(server)
        assert len(broken.value.partial) == 200
        assert events(ask(server)[1])[-1]["type"] == "response.output_item.done"
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server)
        assert [ask(server)[1] for _ in range(3)] == [b"data: x\n\n"] * 3


def test_noise_between_the_events():
    with ModelServer([noisy([message("hello")], [b"data: {", b": comment"])]) as server:
        body = ask(server)[1]
    assert body.count(b"\n\ndata: {\n\n: comment\n\nevent: ") == 8


@pytest.mark.parametrize("quiet", [silence(), silence(after=50, items=[message("hello")])])
def test_a_silent_server_stays_silent_and_can_be_closed(quiet):
    with ModelServer([quiet]) as server:
        with pytest.raises(TimeoutError):
            ask(server, timeout=0.2)


def test_a_function_may_hold_the_answer_back():
    may_go = threading.Event()
    with ModelServer([lambda request: (may_go.wait(5), [message(request.user_texts[0])])[1]]) as server:
        got = []
        asking = threading.Thread(target=lambda: got.append(ask(server, prompt="echo")))
        asking.start()
        server.wait_for(1)
        assert not got
        may_go.set()
        asking.join()
        assert items(got[0][1])[0]["content"][0]["text"] == "echo"


def test_many_scripts_by_a_marker_in_the_prompt():
    with ModelServer({"task-one": [[message("1")]], "task-one-more": [[message("2")]]}) as server:
        assert items(ask(server, prompt="do task-one-more")[1])[0]["content"][0]["text"] == "2"
        assert items(ask(server, prompt="do task-one")[1])[0]["content"][0]["text"] == "1"
        assert len(server.requests_of("task-one-more")) == 1


def test_what_no_script_answers_fails_the_test():
    with pytest.raises(AssertionError, match="ended at turn 1"):
        with ModelServer([]) as server:
            assert ask(server)[0] == 400
    with ModelServer({"x": []}, strict=False) as server:
        assert ask(server)[0] == 400
    assert server.unexpected == ["no script at turn 1"]


def ask_on(server, path, **members):
    """One request on another wire; returns the body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "go"}], **members}
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse().read()
    connection.close()
    return answer


SAID = [reasoning("opaque", "thinking"), message("a" * 100), call("f", {"k": "v" * 60}), custom_call("p", "in")]


def test_chunks_are_those_of_the_published_api():
    with ModelServer([SAID]) as server:
        lines = ask_on(server, "/v1/chat/completions").decode().split("\n\n")
        whole = json.loads(ask_on(server, "/v1/chat/completions", stream=False))
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "a" * 100
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", [])]
    assert "".join(p["function"]["arguments"] for p in pieces if p["index"] == 0) == json.dumps({"k": "v" * 60})
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "tool_calls"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["prompt_tokens"] == 100
    said = whole["choices"][0]["message"]
    assert (said["content"], len(said["tool_calls"])) == ("a" * 100, 2)
    if not specification_is_here():
        return
    check = schema_check("CreateChatCompletionStreamResponse")
    for chunk in chunks:
        for choice in chunk["choices"]:  # null until the end, which the description does not know
            if choice["finish_reason"] is None:
                choice["finish_reason"] = "stop"
        assert not [error.message for error in check.iter_errors(chunk)]


def test_blocks_are_those_of_the_messages_api():
    with ModelServer([SAID]) as server:
        told = events(ask_on(server, "/v1/messages"))
        whole = json.loads(ask_on(server, "/v1/messages", stream=False))
    kinds = [event["type"] for event in told]
    assert kinds[:2] == ["message_start", "ping"] and kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 4
    assert {event["delta"]["type"] for event in told if event["type"] == "content_block_delta"} == {
        "thinking_delta", "signature_delta", "text_delta", "input_json_delta"}
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert whole["content"][0] == {"type": "thinking", "thinking": "thinking", "signature": "opaque"}
    assert whole["content"][3]["input"] == {"input": "in"} and whole["stop_reason"] == "tool_use"
    usage = whole["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == 100


def test_a_conversation_of_messages_is_followed_too():
    called = [{"role": "assistant", "content": None, "tool_calls": [{"id": "call_1_1"}]},
              {"role": "tool", "tool_call_id": "call_1_1", "content": "ok"}]
    with ModelServer([[call("f", {})], [message("done")]]) as server:
        body = ask_on(server, "/v1/chat/completions", messages=[{"role": "user", "content": "go"}, *called])
        assert b'"done"' in body
        assert server.requests[0].outputs == {"call_1_1": "ok"}


def test_the_key_is_demanded():
    with ModelServer([[message("in")]], api_key="secret") as server:
        assert ask(server)[0] == 401
        assert ask(server, key="wrong")[0] == 401
        assert not server.requests
        assert ask(server, key="secret")[0] == 200


def test_an_answer_without_streaming():
    with ModelServer([[message("plain")]]) as server:
        answer = json.loads(ask(server, stream=False)[1])
        assert answer["output"][0]["content"][0]["text"] == "plain"
