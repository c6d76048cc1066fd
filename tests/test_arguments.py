"""The arguments of an activity on replay, compared with the recorded ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError
from tests.support.apps import Apps, instance, reached, result_of


@dataclass
class Tags:
    names: set[str]


@activity
async def echo(ctx: WorkflowContext, value: Any) -> str:
    return "done"


@activity
async def echo_tags(ctx: WorkflowContext, tags: Tags, other: frozenset[str] = frozenset()) -> str:
    return "done"


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    """An app that replays at every wake-up."""
    app = apps.make()
    app.resident_limit = 0
    await app.initialize()
    return app


async def _changed(app: EddaApp, first: Any, then: Any, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged when a replay calls ``echo`` with another argument."""
    passes: list[int] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        passes.append(1)
        outcome: str = await echo(ctx, first if len(passes) == 1 else then)
        await sleep(ctx, 0.01)
        return outcome

    with caplog.at_level(logging.WARNING, "edda.arguments"):
        assert await result_of(app, await flow.start()) == "done"
    assert len(passes) == 2
    return [record.getMessage() for record in caplog.records if record.name == "edda.arguments"]


async def test_other_arguments_are_a_warning_with_both_sides(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    [text] = await _changed(app, {"a": 1}, {"a": 2}, caplog)

    assert "'flow': step 'echo:1' of instance flow-" in text
    assert 'recorded with the arguments {"args":[{"a":1}],"kwargs":{}}' in text
    assert 'attempts it with {"args":[{"a":2}],"kwargs":{}}' in text
    assert f"{__file__}:" in text
    [record] = [record for record in caplog.records if record.name == "edda.arguments"]
    assert vars(record)["activity_id"] == "echo:1"


async def test_long_arguments_are_shortened(app: EddaApp, caplog: pytest.LogCaptureFixture) -> None:
    [text] = await _changed(app, "a" * 10_000, "b" * 10_000, caplog)

    assert len(text) < 1000


async def test_arguments_that_can_no_longer_be_stored_are_a_warning(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    [text] = await _changed(app, 1, object(), caplog)

    assert "arguments that cannot be stored" in text


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"d": 3, "c": 2}], "a": 1}, id="keys"),
        pytest.param({3, 1, 2}, {1, 2, 3}, id="set"),
        pytest.param([float("nan")], [float("nan")], id="nan"),
        pytest.param({"s": {"x", ("y", 1)}}, {"s": {("y", 1), "x"}}, id="set of tuples"),
    ],
)
async def test_what_has_no_order_gives_no_warning(
    app: EddaApp, caplog: pytest.LogCaptureFixture, first: Any, then: Any
) -> None:
    assert await _changed(app, first, then, caplog) == []


async def test_the_order_of_a_list_counts(app: EddaApp, caplog: pytest.LogCaptureFixture) -> None:
    assert len(await _changed(app, [1, 2], [2, 1], caplog)) == 1


async def test_sets_inside_models_give_no_warning_whatever_their_order(
    app: EddaApp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump_call: Callable[..., Any] = echo_tags.codec.dump_call
    dumps: list[int] = []

    def in_another_order(*arguments: Any) -> Any:
        dumps.append(1)
        encoded = dump_call(*arguments)
        names = encoded.json["args"][0]["names"]
        names.sort(reverse=len(dumps) % 2 == 0)
        return encoded

    monkeypatch.setattr(echo_tags.codec, "dump_call", in_another_order)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await echo_tags(ctx, Tags({"a", "b", "c"}))
        await sleep(ctx, 0.01)

    with caplog.at_level(logging.WARNING, "edda.arguments"):
        await reached(app, await flow.start())

    assert len(dumps) == 2
    assert caplog.records == []


async def test_in_strict_mode_other_arguments_stop_the_run(apps: Apps) -> None:
    app = apps.make()
    app.strict_replay, app.resident_limit = True, 0
    await app.initialize()
    value = "recorded"

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await echo(ctx, value)
        await sleep(ctx, 3600)

    instance_id = await flow.start()
    value = "other"

    with pytest.raises(NonDeterminismError, match=r'"recorded".*attempts it with.*"other"'):
        await flow.resume(instance_id)
    assert (await instance(app, instance_id))["status"] not in ("failed", "completed")
