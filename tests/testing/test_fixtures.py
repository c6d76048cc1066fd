"""The test file of a user, under pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest
from shop import app

pytest_plugins = ["edda.testing.fixtures"]


@pytest.fixture
def edda_app():
    return app
"""
SHOP = """
from edda import EddaApp, WorkflowContext, sleep, workflow

app = EddaApp("shop", "sqlite:///never-made.db")


@workflow
async def napping(ctx: WorkflowContext, days: int) -> str:
    await sleep(ctx, days * 86_400)
    return "awake"


@app.on_event("tired")
async def start(event):
    await napping.start(days=event.data["days"])
"""
TESTS = """
import pytest
from shop import napping


@pytest.fixture
def anyio_backend():
    return "asyncio"


{mark}
async def test_thirty_days_take_no_time(workflow_env):
    assert await workflow_env.result(await napping.start(days=30)) == "awake"


{mark}
async def test_the_handlers_of_the_app_are_called(workflow_env):
    await workflow_env.send_event("tired", {{"days": 3}})
    [instance] = await workflow_env.instances(workflow_name="napping")
    assert await workflow_env.result(instance["instance_id"]) == "awake"
"""


def test_the_tests_of_a_user_pass_in_strict_mode_beside_those_of_anyio(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "strict", test_shop="@pytest.mark.asyncio", test_more="@pytest.mark.anyio")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert not (tmp_path / "never-made.db").exists()


def test_they_pass_in_auto_mode_which_leaves_none_to_anyio(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "auto", test_shop="", test_more="@pytest.mark.anyio")
    assert "2 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert "mark none with anyio" in done.stdout


def _pytest(directory: Path, mode: str, **marks: str) -> subprocess.CompletedProcess[str]:
    for name, text in {"conftest": CONFTEST, "shop": SHOP}.items():
        (directory / f"{name}.py").write_text(text)
    for name, mark in marks.items():
        (directory / f"{name}.py").write_text(TESTS.format(mark=mark))
    options = (f"asyncio_mode={mode}", "asyncio_default_fixture_loop_scope=function", "pythonpath=.")
    words = [word for option in options for word in ("-o", option)]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:randomly", *words, "."]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
