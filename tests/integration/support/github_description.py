"""GitHub's published description of its REST API, cut to what codexd asks for (github/cut.py): what a request has to
be like, and what an answer looks like."""
import copy
import json
import pathlib
import re
import urllib.parse

import jsonschema

FILE = pathlib.Path(__file__).resolve().parents[1] / "github" / "api.json"


def _as_draft_4(node):
    """OpenAPI 3.0's schemas are JSON Schema's draft 4 but for "nullable" (specification 3.0.3, "Schema Object")."""
    if isinstance(node, list):
        return [_as_draft_4(one) for one in node]
    if not isinstance(node, dict):
        return node
    out = {key: _as_draft_4(value) for key, value in node.items()}
    if out.pop("nullable", False) is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


_DOCUMENT = _as_draft_4(json.loads(FILE.read_text()))
PATHS = _DOCUMENT["paths"]


def _problems(schema, value, where):
    validator = jsonschema.Draft4Validator({**schema, "components": _DOCUMENT["components"]})
    return [f"{where}: {one.message}" for one in validator.iter_errors(value)]


def _operation(method, path):
    """(operation, values of the path's parameters); None when there is none."""
    for template, operations in PATHS.items():
        names = re.findall(r"{(\w+)}", template)
        match = re.fullmatch(re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(template)), path)
        if match and method.lower() in operations:
            return operations[method.lower()], dict(zip(names, match.groups()))
    return None


def name_of(method, path):
    """"GET /repos/{owner}/{repo}" of a request for it."""
    found = _operation(method, path)
    return next(f"{method} {template}" for template, operations in PATHS.items()
                if found and operations.get(method.lower()) is found[0])


def _parameters(operation, values, query):
    """QUERY: names and texts. Numbers are described as numbers."""
    for one in operation["parameters"]:
        value = (values if one["in"] == "path" else query).pop(one["name"], None)
        if value is None:
            yield from [f"{one['name']} is missing"] if one.get("required") else []
            continue
        if one["schema"].get("type") == "integer" and value.isdigit():
            value = int(value)
        yield from _problems(one["schema"], urllib.parse.unquote(value) if isinstance(value, str) else value, one["name"])
    yield from (f"{name} is no parameter" for name in query)


def problems_of_request(method, target, body):
    """What is wrong with a request: lines, none when all is well. BODY: JSON, or None."""
    url = urllib.parse.urlsplit(target)
    found = _operation(method, url.path)
    if not found:
        return [f"there is no {method} {url.path}"]
    operation, values = found
    problems = list(_parameters(operation, values, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))))
    schema = operation.get("body")
    if not schema:
        return problems + (["it has a body"] if body is not None else [])
    problems += _problems({**schema, "additionalProperties": False}, body if body is not None else {}, "body")
    # "Required unless `issue` is specified": in words alone.
    if body and "title" not in body and "issue" not in body:
        problems.append("body: title is missing")
    return problems


def example(method, template, **changes):
    """The published example of an answer, with CHANGES of members."""
    answer = next(iter(PATHS[template][method.lower()]["answers"].values()))
    return {**copy.deepcopy(answer["example"]), **changes}


def problems_of_answer(method, template, body):
    answer = next(iter(PATHS[template][method.lower()]["answers"].values()))
    return _problems(answer["schema"], body, "answer")
