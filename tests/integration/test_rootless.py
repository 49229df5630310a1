"""Sandboxes of an ordinary user: no root anywhere."""
import os
import re

import pytest

from support.codex import API_KEY, BUILD, ROOT
from support.model_server import ModelServer
from support.repository import CALCULATOR, Repository
from support.rootless import FIRST_SUBID, UID, RootlessCodex, User, why_not
from test_main_job import GOOD_WORK

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"rootless: {why_not()}")


@pytest.fixture(name="user")
def fixture_user():
    user = User()
    yield user
    user.close()


def test_a_task_of_an_ordinary_user_becomes_a_tested_branch(user):
    repository = Repository(user.home / "calculator", CALCULATOR)
    with ModelServer(GOOD_WORK, api_key=API_KEY) as model:
        configuration = (f"[model]\nname = o3\nprovider = scripted\n[provider \"scripted\"]\nbase_url = {model.base_url}\n"
                         "wire_api = responses\nenv_key = SCRIPTED_KEY\n")
        with RootlessCodex(user, configuration, {"SCRIPTED_KEY": API_KEY}) as codex:
            task = codex.wait(codex.task("Add subtract", cwd=repository.path))
            assert (task["state"], task["verdict"]) == ("completed", "passed"), task
