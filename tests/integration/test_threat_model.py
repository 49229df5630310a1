"""docs/threat-model.md and docs/sandbox.md name tests: each of them is there."""
import re

from support.codex import ROOT

NAMED = re.compile(r"`(test_\w+\.(?:py|c))::(\w+)`")


def test_every_test_that_the_pages_name_is_there():
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.[cp]*")
             if path.suffix in (".c", ".py")}
    named = {match.groups() for page in ("threat-model.md", "sandbox.md")
             for match in NAMED.finditer((ROOT / "docs" / page).read_text())}
    assert len(named) > 50
    missing = [f"{file}::{name}" for file, name in sorted(named)
               if not re.search(rf"^(def|static void) {name}\(", files.get(file, ""), re.MULTILINE)]
    assert not missing


def test_every_boundary_has_a_test():
    text = (ROOT / "docs" / "threat-model.md").read_text()
    boundaries = re.split(r"^\*\*(.+? \| .+?)\.\*\*", text.split("## Boundaries")[1].split("## What is")[0], flags=re.MULTILINE)
    bare = [name for name, what in zip(boundaries[1::2], boundaries[2::2]) if not NAMED.search(what)]
    assert len(boundaries) > 20 and not bare
