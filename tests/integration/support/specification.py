"""OpenAI's published description of its API (openai-openapi), where there is a copy."""
import json
import os
import pathlib

import pytest

from support.codex import ROOT

SPECIFICATION = pathlib.Path(os.environ.get("CODEX_OPENAI_SPECIFICATION") or
                             ROOT.parent / "shared" / "api" / "openai.json")


def specification_is_here():
    return SPECIFICATION.exists()


def schema_check(name):
    """A validator of the description's schema NAME. A test that needs it is skipped without a copy."""
    if not specification_is_here():
        pytest.skip(f"{SPECIFICATION} is not here")
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(SPECIFICATION.read_text().replace('"oneOf"', '"anyOf"'))
    return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}",
                                            "components": document["components"]})
