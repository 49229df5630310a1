"""What every integration test needs: where the programs are."""
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(scope="session")
def build():
    """The directory with the programs under test: $CODEX_BUILD, else build/."""
    directory = pathlib.Path(os.environ.get("CODEX_BUILD", ROOT / "build"))
    assert (directory / "codex-agent").exists(), f"no programs in {directory}: run make first"
    return directory
