#!/usr/bin/python3
"""Cut GitHub's published description of its REST API (npm package @octokit/openapi, MIT) to what codexd asks for:

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    cut.py package/generated/api.github.com.json >api.json

Words for people are left out; each answer has the first of its published examples."""
import json
import sys

OPERATIONS = [("/", "get"), ("/repos/{owner}/{repo}", "get"), ("/repos/{owner}/{repo}/branches/{branch}", "get"),
              ("/repos/{owner}/{repo}/pulls", "get"), ("/repos/{owner}/{repo}/pulls", "post"),
              ("/repos/{owner}/{repo}/pulls/{pull_number}", "get")]
WORDS = {"description", "title", "example", "examples", "externalDocs", "summary"}


def resolve(document, node):
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def without_words(node, names=False):
    """NAMES: NODE's keys are names of members, not words of JSON Schema."""
    if isinstance(node, list):
        return [without_words(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {key: without_words(value, key == "properties" and not names) for key, value in node.items()
            if names or (key not in WORDS and not key.startswith("x-"))}


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = node.values()
    elif not isinstance(node, list):
        return
    for one in node:
        yield from references(one)


def cut_answer(document, answer):
    content = resolve(document, answer).get("content", {}).get("application/json", {})
    out = {"schema": without_words(content.get("schema", {}))}
    for example in content.get("examples", {}).values():
        out["example"] = resolve(document, example)["value"]
        break
    return out


def cut(document):
    paths, schemas = {}, {}
    for path, method in OPERATIONS:
        operation = document["paths"][path][method]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        paths.setdefault(path, {})[method] = {
            "parameters": [without_words(resolve(document, one)) for one in operation.get("parameters", [])],
            **({"body": without_words(body["schema"])} if body else {}),
            "answers": {status: cut_answer(document, answer) for status, answer in operation["responses"].items()
                        if status in ("200", "201")}}
    wanted = set(references(paths))
    while wanted:
        name = wanted.pop().removeprefix("#/components/schemas/")
        if name not in schemas:
            schemas[name] = without_words(document["components"]["schemas"][name])
            wanted |= set(references(schemas[name]))
    return {"origin": "npm @octokit/openapi", "version": document["info"]["version"],
            "license": document["info"]["license"]["name"], "paths": paths,
            "components": {"schemas": dict(sorted(schemas.items()))}}


with open(sys.argv[1], encoding="utf-8") as file:
    json.dump(cut(json.load(file)), sys.stdout, indent=1, ensure_ascii=False)
print()
