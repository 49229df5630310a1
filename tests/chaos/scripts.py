"""What scripted models say in the campaigns. They look at the conversation, as a model does: a command that was
interrupted is not done, and is asked for again."""
import json

from support.model_server import call, message

TURNS_MAX = 60


def _done(request, mark):
    """Whether a call whose arguments hold MARK has gone well."""
    wanted = {item["call_id"] for item in request.input
              if item.get("type") == "function_call" and mark in item["arguments"]}
    return any(call_id in wanted and ("exited with code 0" in output or "Recorded." in output)
               for call_id, output in request.outputs.items())


def steps(*calls):
    """A script that makes CALLS, pairs of a mark in its arguments and the call, one after the other."""
    def answer(request):
        for mark, item in calls:
            if not _done(request, mark):
                return [item]
        return [message("done")]
    return [answer] * TURNS_MAX


def run(command):
    return json.dumps(command)[1:-1], call("exec_command", {"cmd": command, "yield_time_ms": 30000})


def writes(name, seconds):
    """Work for a while, write the file NAME, submit it."""
    return steps(run(f"sleep {seconds}"), run(f"echo {name} >{name}"), run(f"sleep {seconds / 2}; cat {name}"),
                 (f"feat/{name}", call("submit", {"title": f"Add {name}", "body": "", "branch": f"feat/{name}"})))


def changes_nothing(seconds):
    return steps(run(f"sleep {seconds}"))
