"""codex-gateway before providers of each wire: paths, keys, headers and parameters, what an answer cost."""
import json

import pytest

from support import agent as agents
from support.agent import Agent
from support.gateway import EVENTS, EXIT_START, MODEL, REAL_KEY, SANDBOX_KEY, Gateway, request
from support.model_server import ModelServer, call, cut, message, reasoning, status, stream, usage
from support.raw_provider import EVENT_USAGE, RawProvider, chunk, says, stream_head, whole

PATHS = {"responses": "/v1/responses", "chat": "/v1/chat/completions", "messages": "/v1/messages"}
BODIES = {
    "responses": {"model": MODEL, "input": [], "stream": True},
    "chat": {"model": MODEL, "messages": [], "stream": True, "stream_options": {"include_usage": True}},
    "messages": {"model": MODEL, "messages": [], "max_tokens": 9, "stream": True},
}
USAGES = {
    "responses": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 20,
                  "output_tokens_details": {"reasoning_tokens": 5}},
    "chat": {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens": 20,
             "completion_tokens_details": {"reasoning_tokens": 5}},
    "messages": {"input_tokens": 50, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 40,
                 "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}},
}
every_wire = pytest.mark.parametrize("wire", PATHS)


def data(event):
    """One event of a stream."""
    return f"data: {json.dumps(event)}\n\n".encode()


STREAMS = {
    "responses": [data({"type": "response.created"}),
                  data({"type": "response.completed", "response": {"usage": USAGES["responses"]}})],
    "chat": [data({"choices": [{"delta": {"content": "é"}}], "usage": None}),
             data({"choices": [], "usage": USAGES["chat"]}), b"data: [DONE]\n\n"],
    "messages": [data({"type": "message_start", "message": {"usage": {**USAGES["messages"], "output_tokens": 1}}}),
                 data({"type": "message_delta", "usage": {"output_tokens": 20,
                                                          "output_tokens_details": {"thinking_tokens": 5}}}),
                 data({"type": "message_stop"})],
}


def whole_of(wire):
    """An answer that is no stream."""
    return whole(200, json.dumps({"usage": USAGES[wire]}).encode())


def open_gateway(provider, wire, **config):
    """A gateway before PROVIDER."""
    return Gateway(base_url=provider.base_url, wire_api=wire, **config)


def ask(gateway, wire, body=None, **how):
    """A request in the wire's own shape."""
    return gateway.ask({**BODIES[wire], **(body or {})}, path=PATHS[wire], **how)


def header_lines(provider):
    """Of the first request, without what every one has."""
    usual = ("host:", "user-agent:", "content-type:", "content-length:")
    lines = provider.heads[0].split("\r\n")[1:]
    return sorted(line for line in lines if not line.lower().startswith(usual))


# ---- paths and keys

@every_wire
def test_a_wire_has_one_path(wire):
    """And no other is there."""
    with RawProvider(says(whole_of(wire))) as provider, open_gateway(provider, wire) as gateway:
        for path in [*PATHS.values(), "/v1", "/v1/models", PATHS[wire] + "/", PATHS[wire] + "?a=b", "/v1/batches",
                     "/responses", "/chat/completions", "/messages"]:
            got = gateway.ask(BODIES[wire], path=path)
            assert got.status == (200 if path == PATHS[wire] else 404), path
            if got.status == 404:
                assert (got.error, got.message) == ("not_found", f"only {PATHS[wire]} is here")
        assert len(provider.heads) == 1
        assert provider.heads[0].startswith(f"POST {PATHS[wire]} HTTP/1.1\r\n")


@pytest.mark.parametrize("wire, key", [("responses", f"Authorization: Bearer {REAL_KEY}"),
                                       ("chat", f"Authorization: Bearer {REAL_KEY}"),
                                       ("messages", f"x-api-key: {REAL_KEY}")])
def test_the_key_is_given_as_the_provider_wants_it(wire, key):
    sent = ["Accept: text/event-stream", "anthropic-version: 2024-01-01", "anthropic-beta: some-beta", "X-Evil: 1",
            "OpenAI-Beta: x", "Cookie: a=b"]
    wanted = {"messages": ["anthropic-beta: some-beta", "anthropic-version: 2024-01-01"]}.get(wire, ["OpenAI-Beta: x"])
    with RawProvider(says(whole_of(wire))) as provider, open_gateway(provider, wire) as gateway:
        assert ask(gateway, wire, headers=sent).status == 200
        assert header_lines(provider) == sorted([key, "Accept: text/event-stream", *wanted])
        assert SANDBOX_KEY not in provider.heads[0]


def test_the_version_of_the_messages_api_is_always_told():
    with RawProvider(says(whole_of("messages"))) as provider, open_gateway(provider, "messages", key=None) as gateway:
        assert ask(gateway, "messages").status == 200
        assert header_lines(provider) == ["Accept: */*", "anthropic-version: 2023-06-01"]


def test_a_client_of_the_messages_api_gives_its_key_in_its_own_way():
    """Once, whichever way; on the other wires there is one way."""
    own = [f"x-api-key: {SANDBOX_KEY}"]
    with RawProvider(says(whole_of("messages"))) as provider, open_gateway(provider, "messages") as gateway:
        assert ask(gateway, "messages", key=None, headers=own).status == 200
        assert ask(gateway, "messages", headers=own).status == 401
        assert ask(gateway, "messages", key=None, headers=own * 2).status == 401
        assert ask(gateway, "messages", key=None, headers=[f"x-api-key: Bearer {SANDBOX_KEY}"]).status == 401
        assert ask(gateway, "messages", key=None, headers=["x-api-key: x"]).status == 401
    with RawProvider(says(whole_of("chat"))) as provider, open_gateway(provider, "chat") as gateway:
        assert ask(gateway, "chat", key=None, headers=own).status == 401


# ---- headers and parameters of the configuration

@every_wire
def test_headers_and_parameters_of_the_configuration_go_out(wire):
    extra = {"headers": {"api-key": "azure-secret-key", "X-Team": "seven of nine"},
             "query": {"api-version": "2024-10-21", "note": "a b&c"}, "secrets": ["azure-secret-key"]}
    with RawProvider(says(whole_of(wire))) as provider, open_gateway(provider, wire, key=None, **extra) as gateway:
        assert ask(gateway, wire, headers=["api-key: of the sandbox", "X-Team: other"]).status == 200
        assert provider.heads[0].startswith(f"POST {PATHS[wire]}?api-version=2024-10-21&note=a%20b%26c HTTP/1.1\r\n")
        lines = header_lines(provider)
        assert "api-key: azure-secret-key" in lines and "X-Team: seven of nine" in lines
        assert "sandbox" not in provider.heads[0] and "other" not in provider.heads[0]


def test_a_header_of_the_configuration_takes_the_place_of_the_usual_one():
    extra = {"headers": {"authorization": "Bearer of-a-proxy-token", "Anthropic-Version": "2099-01-01",
                         "anthropic-beta": "chosen"}}
    with RawProvider(says(whole_of("messages"))) as provider, open_gateway(provider, "messages", **extra) as gateway:
        assert ask(gateway, "messages", headers=["anthropic-version: 2024-01-01", "anthropic-beta: x"]).status == 200
        assert header_lines(provider) == sorted([
            "Accept: */*", f"x-api-key: {REAL_KEY}", "authorization: Bearer of-a-proxy-token",
            "Anthropic-Version: 2099-01-01", "anthropic-beta: chosen"])
    with RawProvider(says(whole_of("chat"))) as provider, \
            open_gateway(provider, "chat", headers={"AUTHORIZATION": "Basic xyz"}) as gateway:
        assert ask(gateway, "chat").status == 200
        assert header_lines(provider) == ["AUTHORIZATION: Basic xyz", "Accept: */*"]


def test_no_secret_comes_back():
    secrets = ["azure-secret-key", "token-of-the-proxy"]
    text = json.dumps({"error": {"message": f"wrong: {REAL_KEY} {secrets[0]} {secrets[1]}"}}).encode()
    answer = whole(401, text, f"x-request-id: {secrets[1]}", "request-id: req_1")
    extra = {"headers": {"api-key": secrets[0]}, "query": {"t": secrets[1]}, "secrets": secrets}
    with RawProvider(says(answer)) as provider, open_gateway(provider, "chat", **extra) as gateway:
        got = ask(gateway, "chat")
        wanted = text
        for secret in [REAL_KEY, *secrets]:
            wanted = wanted.replace(secret.encode(), b"*" * len(secret))
        assert (got.status, got.body) == (401, wanted)
        assert "x-request-id" not in got.headers and got.headers["request-id"] == "req_1"
        gateway.close()
        assert not any(secret in gateway.log() for secret in secrets)


@pytest.mark.parametrize("members, why", [
    ({"headers": []}, "'headers' must be an object of at most 16 members"),
    ({"headers": {"a b": "x"}}, "'headers' has a member that cannot be one"),
    ({"headers": {"a": "x\r\ny: z"}}, "'headers' has a member that cannot be one"),
    ({"headers": {"a": 7}}, "'headers' has a member that cannot be one"),
    ({"query": {"a&b": "x"}}, "'query' has a member that cannot be one"),
    ({"secrets": [""]}, "'secrets' has an element that cannot be one"),
])
def test_a_bad_configuration_is_told(members, why):
    with Gateway(base_url="http://127.0.0.1:1/v1", wire_api="chat", listen=False, **members) as gateway:
        assert gateway.wait() == EXIT_START
        assert why in gateway.log()


# ---- what it cost

@every_wire
@pytest.mark.parametrize("streams", [True, False])
def test_usage_is_metered(wire, streams):
    answer = stream_head() + b"".join(chunk(piece) for piece in STREAMS[wire]) + chunk(b"") if streams \
        else whole_of(wire)
    with RawProvider(says(answer)) as provider, open_gateway(provider, wire, budget_tokens=119) as gateway:
        got = ask(gateway, wire)
        assert got.status == 200 and not got.broken
        if streams:
            assert got.body == b"".join(STREAMS[wire])
        assert ask(gateway, wire).error == "budget_exceeded"
        gateway.close()
        assert [(event["usage"], event.get("note")) for event in gateway.events("model.usage")] == [(EVENT_USAGE, None)]
        assert gateway.events("limit.hit")[0]["figure"] == 120


@pytest.mark.parametrize("told", [1, 2])
def test_a_cut_answer_is_counted_by_what_it_told_in_the_end_or_by_its_bytes(told):
    """Not by what the Messages API says at the beginning: one token of output."""
    said = b"".join(STREAMS["messages"][:told])
    with RawProvider(says(stream_head() + chunk(said))) as provider, \
            open_gateway(provider, "messages", idle_timeout_ms=300) as gateway:
        assert ask(gateway, "messages").broken
        gateway.close()
        (counted,) = gateway.events("model.usage")
        tokens = counted["usage"]["input_tokens"], counted["usage"]["output_tokens"]
        if told == 2:
            assert (tokens, counted.get("estimated")) == ((100, 20), None)
        else:
            assert (tokens[1], counted["estimated"]) == (-(-len(said) // 4), True)


@pytest.mark.parametrize("body", [
    {"stream_options": {}}, {"stream_options": None}, {"stream_options": {"include_usage": False}},
    {"stream_options": {"include_usage": 1}}, {"stream": "true"}, {"Stream": True},
])
def test_a_stream_that_would_not_tell_its_usage_is_refused(body):
    """Else a task could get around its budget."""
    with RawProvider(says(whole_of("chat"))) as provider, open_gateway(provider, "chat") as gateway:
        got = ask(gateway, "chat", body)
        assert (got.status, got.error) == (400, "bad_request"), got.body
        assert not provider.bodies
        assert ask(gateway, "chat", {"stream": False, "stream_options": None}).status == 200


def test_another_model_is_refused_on_every_wire():
    for wire in PATHS:
        with RawProvider(says(whole_of(wire))) as provider, open_gateway(provider, wire) as gateway:
            assert ask(gateway, wire, {"model": "gpt-9"}).error == "wrong_model"
            assert gateway.raw(request(json.dumps(BODIES[wire]).encode(), path=PATHS[wire])).status == 200


# ---- with the agent

@every_wire
def test_a_turn_from_the_agent_to_the_model_and_back(wire):
    """Retries included: a rate limit, a stream that is cut."""
    script = [status(429, headers={"Retry-After": "0"}), cut([message("half")], 150),
              stream([reasoning("opaque", "Thinking."), call("exec_command", {"cmd": "echo one; echo two >file"})],
                     usage=usage(1000, 50, 900, 30)),
              stream([message("Done.")], usage=usage(1100, 10, 1000, 0))]
    with ModelServer(script, api_key=REAL_KEY) as model, \
            Gateway(base_url=model.base_url, wire_api=wire) as gateway, \
            Agent(f"http://127.0.0.1:{gateway.port}/v1", model=MODEL, api_key=SANDBOX_KEY, wire_api=wire) as agent:
        number, pipe = gateway.stream(kind=EVENTS)
        agent.start(events=pipe.fileno())
        pipe.close()
        agent.process.communicate(timeout=60)
        gateway.expect_ended(number)
        assert agent.process.returncode == agents.DONE
        assert "one" in model.requests[3].outputs["call_1_2"]
        counted = [event["usage"] for event in gateway.events("model.usage")]
        assert [(u["input_tokens"], u["output_tokens"]) for u in counted][-2:] == [(1000, 50), (1100, 10)]
        told = gateway.events("turn.completed")[0]["usage"]
        assert told == {name: sum(u[name] for u in counted[-2:]) for name in told}


def test_a_used_up_budget_is_told_to_the_agent():
    for wire in PATHS:
        with ModelServer([], strict=False) as model, \
                Gateway(base_url=model.base_url, wire_api=wire, budget_tokens=5, used_tokens=5) as gateway, \
                Agent(f"http://127.0.0.1:{gateway.port}/v1", model=MODEL, api_key=SANDBOX_KEY, wire_api=wire) as agent:
            assert agent.run().status == agents.BUDGET
        assert not model.requests
