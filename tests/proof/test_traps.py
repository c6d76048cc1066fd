"""Each trap has tests, which are there; and those that had none have theirs here."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from edda import WorkflowContext, publish, receive, sleep, subscribe, workflow
from edda.app import EddaApp
from edda.workflow import Workflow
from tests.proof.scenarios import SCENARIOS
from tests.support.apps import Apps, always_replay, result_of
from tests.support.noting import calls, note

HERE = Path(__file__).parent
ENTRY = re.compile(r"^\* \*\*(T\d\d)\*\* (.+)$", re.MULTILINE)
TEST = re.compile(r"`(\S+\.py)::(\w+)`")
SCENARIO = re.compile(r"scenario `(\w+)`")


def _traps() -> dict[str, str]:
    return dict(ENTRY.findall((HERE / "traps.md").read_text()))


def test_every_trap_has_tests_that_are_there() -> None:
    assert list(_traps()) == [f"T{number:02}" for number in range(1, 90)]
    scenarios = {scenario.name for scenario in SCENARIOS}
    for number, text in _traps().items():
        tests, played = TEST.findall(text), set(SCENARIO.findall(text))
        assert tests or played, f"{number} has no test"
        assert played <= scenarios, number
        for file, name in tests:
            # Those of this folder are named without it, unless the tests have a file of that name.
            path = next(each for each in (HERE.parent / file, HERE / file) if each.exists())
            assert re.search(rf"^(async )?def test_{name}\(", path.read_text(), re.MULTILINE), (number, name)


def test_scenarios_name_the_traps_that_name_them() -> None:
    text = "\n".join(path.read_text() for path in sorted(HERE.glob("scenarios*.py")))
    headings = re.findall(r"^# -- .*?: (T[\dT, ]+) -+$(.+?)(?=^# -- |\Z)", text, re.MULTILINE | re.DOTALL)
    named = {
        name: set(traps.split(", "))
        for traps, part in headings
        for name in re.findall(r"^@scenario\(.*\)\nasync def (\w+)", part, re.MULTILINE)
    }
    assert named.keys() == {scenario.name for scenario in SCENARIOS}
    for number, text in _traps().items():
        for name in SCENARIO.findall(text):
            assert number in named[name], f"{name} does not name {number}"


def _defined() -> Workflow[..., int]:
    @workflow
    async def renamed(ctx: WorkflowContext, kind: str) -> int:
        total = await note(ctx, "first")
        await _wait(ctx, kind)
        return len([total, await note(ctx, "second")])

    return renamed


def _defined_anew() -> Workflow[..., int]:
    @workflow
    async def renamed(ctx: WorkflowContext, kind: str) -> int:
        # Another text, in which the same is done.
        found = await note(ctx, "first")
        await _wait(ctx, kind)
        return len([found, await note(ctx, "second")])

    return renamed


async def _wait(ctx: WorkflowContext, kind: str) -> None:
    if kind == "message":
        await subscribe(ctx, "renamed")
        await receive(ctx, "renamed")
    else:
        await sleep(ctx, 0.3)


@pytest.mark.parametrize("kind", ["timer", "message", "takeover"])
async def test_another_name_of_a_variable_stops_nothing_whoever_goes_on(apps: Apps, kind: str) -> None:
    """T34"""
    app = await apps.start()
    always_replay(app)
    instance_id = await _defined().start(kind=kind)
    if kind == "takeover":
        await app.shutdown()
    _defined_anew()
    if kind == "takeover":
        app = await apps.start()
    if kind == "message":
        await publish(app.storage, "renamed", 1)

    assert await result_of(app, instance_id) == 2
    assert calls == ["first", "second"]


@workflow
async def three_notes(ctx: WorkflowContext) -> int:
    return len([await note(ctx, str(number)) for number in range(3)])


async def test_many_workflows_at_once_share_a_database_in_memory() -> None:
    """T77"""
    async with EddaApp("tests", "sqlite:///:memory:") as app:
        ids = await asyncio.gather(*(three_notes.start() for _ in range(50)))
        assert [await result_of(app, instance_id) for instance_id in ids] == [3] * 50
    assert len(calls) == 150
