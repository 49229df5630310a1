"""`codex-agent apply-patch` against the scenarios in apply_patch/*.toml.

A scenario has `patch`; optional `input` and `expected`, the files before and after (path = content, and
the same in hexadecimal as `input_hex`, `expected_hex`); optional `status` (0), `stdout`, `stderr`
("" where `status` says so). {cwd} stands for the directory. Each runs twice: with the patch as the
argument, and on standard input.
"""
import os
import pathlib
import subprocess
import tomllib

import pytest

AGENT = pathlib.Path(os.environ["CODEX_BUILD"]).resolve() / "codex-agent"
SCENARIOS = pathlib.Path(__file__).parent / "apply_patch"


def scenarios():
    for file in sorted(SCENARIOS.glob("*.toml")):
        for scenario in tomllib.loads(file.read_text())["scenario"]:
            for way in ("argument", "input"):
                yield pytest.param(scenario, way, id=f"{file.stem}: {scenario['name']} ({way})")


def apply(directory, *arguments, patch=b""):
    return subprocess.run([AGENT, "apply-patch", *arguments], cwd=directory, input=patch, timeout=60,
                          capture_output=True, check=False)


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if not path.is_dir()}


def files(scenario, name):
    contents = {path: text.encode() for path, text in scenario.get(name, {}).items()}
    contents.update((path, bytes.fromhex(text))
                    for path, text in scenario.get(name + "_hex", {}).items())
    return contents


@pytest.mark.parametrize("scenario, way", scenarios())
def test_scenario(tmp_path, scenario, way):
    for path, content in files(scenario, "input").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)

    def text(name):
        return scenario[name].replace("{cwd}", str(tmp_path)).encode()

    if way == "argument":
        run = apply(tmp_path, text("patch"))
    else:
        run = apply(tmp_path, patch=text("patch"))

    status = scenario.get("status", 0)
    assert run.returncode == status, run.stderr
    if "stdout" in scenario:
        assert run.stdout == text("stdout")
    else:
        assert run.stdout.startswith(b"Success. Updated the following files:\n") == (status == 0)
    assert run.stderr == (text("stderr") if status else b"")
    assert tree(tmp_path) == files(scenario, "expected")


def test_usage(tmp_path):
    run = apply(tmp_path)
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.startswith(b"Usage: apply_patch 'PATCH'\n")
    run = apply(tmp_path, "one", "two")
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr == b"Error: apply_patch accepts exactly one PATCH argument.\n"


def test_called_by_its_own_name(tmp_path):
    for name in ("apply_patch", "applypatch"):
        (tmp_path / name).symlink_to(AGENT)
        patch = f"*** Begin Patch\n*** Add File: by-{name}\n+x\n*** End Patch"
        run = subprocess.run([tmp_path / name, patch], cwd=tmp_path, timeout=60, capture_output=True,
                             check=False)
        assert (run.returncode, run.stderr) == (0, b"")
        assert (tmp_path / f"by-{name}").read_text() == "x\n"


def test_a_patch_of_more_than_16_mib_is_refused(tmp_path):
    line = b"+" + b"x" * 1000 + b"\n"
    patch = b"*** Begin Patch\n*** Add File: a\n" + line * 17000 + b"*** End Patch\n"
    run = apply(tmp_path, patch=patch)
    assert (run.returncode, run.stderr) == (2, b"Invalid patch: it is larger than 16 MiB\n")
    assert not tree(tmp_path)


def test_mode_and_links_stay(tmp_path):
    (tmp_path / "run.sh").write_text("old\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("run.sh")
    os.link(tmp_path / "run.sh", tmp_path / "hard")
    patch = b"*** Begin Patch\n*** Update File: link\n@@\n-old\n+new\n*** End Patch"
    assert apply(tmp_path, patch=patch).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "hard").read_text() == "new\n"
    assert (tmp_path / "run.sh").stat().st_mode & 0o777 == 0o755
    patch = (b"*** Begin Patch\n*** Update File: run.sh\n*** Move to: bin/run\n@@\n-new\n+newer\n"
             b"*** End Patch")
    assert apply(tmp_path, patch=patch).returncode == 0
    assert (tmp_path / "bin/run").stat().st_mode & 0o777 == 0o755


def test_a_move_onto_itself_by_a_link_loses_nothing(tmp_path):
    (tmp_path / "a").write_text("old\n")
    (tmp_path / "b").symlink_to("a")
    patch = b"*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@\n-old\n+new\n*** End Patch"
    assert apply(tmp_path, patch=patch).returncode == 1
    assert (tmp_path / "a").read_text() == "old\n"


@pytest.mark.parametrize("kind", ["Add", "Update"])
def test_a_fifo_does_not_block(tmp_path, kind):
    os.mkfifo(tmp_path / "fifo")
    patch = f"*** Begin Patch\n*** {kind} File: fifo\n+x\n*** End Patch".encode()
    run = apply(tmp_path, patch=patch)
    assert run.returncode == 1
    assert b"fifo" in run.stderr
