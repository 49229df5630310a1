"""codex-gateway with the real codex-agent on one side, and a scripted model on the other."""
from support import agent as agents
from support.agent import Agent
from support.gateway import EVENTS, MODEL, REAL_KEY, SANDBOX_KEY, Gateway
from support.model_server import ModelServer, call, cut, message, reasoning, status, usage, stream

ECHO = call("exec_command", {"cmd": "echo one; echo two >file"})


def run(gateway, prompt="do it"):
    """The agent before GATEWAY, its events through the gateway's stream; returns its exit status."""
    with Agent(f"http://127.0.0.1:{gateway.port}/v1", prompt, model=MODEL, api_key=SANDBOX_KEY) as agent:
        number, pipe = gateway.stream(kind=EVENTS)
        agent.start(events=pipe.fileno())
        pipe.close()
        agent.process.communicate(timeout=60)
        gateway.expect_ended(number)
        return agent.process.returncode


def items(gateway, kind):
    """The completed items of one type in the event file."""
    return [event["item"] for event in gateway.events("item.completed") if event["item"]["type"] == kind]


def test_a_turn_from_the_agent_to_the_model_and_back():
    """Reasoning, a command, an answer; its events are in the file, and the tokens are counted."""
    script = [stream([reasoning("opaque", "Thinking."), ECHO], usage=usage(1000, 50, 900, 30)),
              stream([message("Done.")], usage=usage(1100, 10, 1000, 0))]
    with ModelServer(script, api_key=REAL_KEY) as model, Gateway(base_url=model.base_url) as gateway:
        assert run(gateway) == agents.DONE
        assert model.requests[1].outputs["call_1_2"].count("one") == 1
        assert [item["text"] for item in items(gateway, "agent_message")] == ["Done."]
        command, = items(gateway, "command_execution")
        assert command["exit_code"] == 0
        counted = [event["usage"] for event in gateway.events("model.usage")]
        assert [(u["input_tokens"], u["output_tokens"]) for u in counted] == [(1000, 50), (1100, 10)]
        told = gateway.events("turn.completed")[0]["usage"]
        assert told == {name: sum(u[name] for u in counted) for name in told}
        assert {event["phase"] for event in gateway.events()} == {"working", "preparing"}


def test_troubles_of_the_provider_reach_the_agent():
    """It retries what is worth it: a rate limit, a server error, a stream that is cut."""
    script = [status(429, headers={"Retry-After": "0"}), status(500), cut([message("half")], 200),
              [message("Done.")]]
    with ModelServer(script, api_key=REAL_KEY) as model, Gateway(base_url=model.base_url) as gateway:
        assert run(gateway) == agents.DONE
        assert len(model.requests) == 4
        assert [item["text"] for item in items(gateway, "agent_message")] == ["Done."]


def test_a_refused_key_is_told_at_once():
    """The provider's 401 comes through; no retry."""
    with ModelServer([], api_key="another key", strict=False) as model, \
            Gateway(base_url=model.base_url) as gateway:
        assert run(gateway) == agents.KEY_REFUSED
        assert model.requests == []


def test_a_budget_that_is_used_up_ends_the_turn():
    """With the exit status that names it, and the limit in the event file."""
    script = [stream([ECHO], usage=usage(1000, 50)), [message("never")]]
    with ModelServer(script, api_key=REAL_KEY) as model, \
            Gateway(base_url=model.base_url, budget_tokens=500) as gateway:
        assert run(gateway) == agents.BUDGET
        assert len(model.requests) == 1
        assert gateway.events("limit.hit")[0]["limit"] == "budget"


def test_recorded_turns_drive_the_agent():
    """The replay provider in the place of a model."""
    tokens = {"input_tokens": 5, "output_tokens": 1}
    recording = [{"replay": 1, "model": MODEL}, {"output": [reasoning("x", "Thinking."), ECHO], "usage": tokens},
                 {"output": [message("Recorded.")], "usage": tokens}]
    with Gateway(replay=recording) as gateway:
        assert run(gateway) == agents.DONE
        assert [item["text"] for item in items(gateway, "agent_message")] == ["Recorded."]
        assert items(gateway, "command_execution")[0]["exit_code"] == 0
        assert len(gateway.events("model.usage")) == 2
