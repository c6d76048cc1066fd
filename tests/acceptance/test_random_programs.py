"""Random concurrent workflows see on replay what they saw live."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from edda import TerminalError, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import always_replay, instance, reached, steps_of
from tests.support.eventually import eventually, pause

Trace = list[tuple[tuple[int, ...], Any]]

executions = itertools.count()
executed: list[int] = []
traces: dict[str, list[Trace]] = {}


async def _work(milliseconds: float) -> int:
    await pause(milliseconds / 1000)
    number = next(executions)
    executed.append(number)
    if number % 7 == 0:
        raise TerminalError(f"execution {number}")
    return number


@activity
async def left(ctx: WorkflowContext, milliseconds: float) -> int:
    return await _work(milliseconds)


@activity
async def right(ctx: WorkflowContext, milliseconds: float) -> int:
    return await _work(milliseconds)


@activity
async def in_transaction(ctx: WorkflowContext, milliseconds: float) -> int:
    """Commits on a connection of its own, beside the steps of other branches."""
    await (await ctx.session.connection()).exec_driver_sql("SELECT 1")
    return await _work(milliseconds)


# What a program is made of, apart from activities.
ALSO = ("", "timers", "transactions", "blocks")


class Program:
    """One run of the random workflow of a seed; ``trace`` is what it saw, in order."""

    def __init__(self, ctx: WorkflowContext, seed: int, *, also: str) -> None:
        self.ctx = ctx
        self.trace: Trace = []
        self._seed = seed
        self._also = also

    async def run(self, path: tuple[int, ...] = ()) -> None:
        # Each node draws from its own place, so that the program does not depend on its own order.
        chance = random.Random(f"{self._seed}{path}")
        kinds: list[Callable[..., Any]] = [self._in_turn, self._gather, self._group, self._first_wins]
        if len(path) >= 3 or (path and chance.random() < 0.4):
            await self._step(path, chance)
        else:
            await chance.choice(kinds)([(*path, number) for number in range(chance.randint(2, 3))])

    async def _step(self, path: tuple[int, ...], chance: random.Random) -> None:
        if self._also == "blocks" and chance.random() < 0.5:
            await self._block(path, chance)
            return
        if self._also == "timers" and chance.random() < 0.25:
            await sleep(self.ctx, chance.choice([0, 0.001, 0.01]))
            self.trace.append((path, None))
            return
        kinds = [left, right, in_transaction] if self._also == "transactions" else [left, right]
        step = chance.choice(kinds)
        try:
            result: Any = await step(self.ctx, chance.choice([0, 0, 1, 3]))
        except TerminalError as error:
            result = str(error)
        self.trace.append((path, result))

    async def _block(self, path: tuple[int, ...], chance: random.Random) -> None:
        try:
            async with self.ctx.transaction():
                for number in range(chance.randint(1, 2)):
                    try:
                        async with self.ctx.transaction():
                            await self._call(right, (*path, number), chance.choice([0, 1, 3]))
                            if chance.random() < 0.2:
                                raise LookupError  # noqa: TRY301 - the block has to see it
                    except LookupError:
                        self.trace.append((path, "savepoint"))
                if chance.random() < 0.3:
                    raise LookupError  # noqa: TRY301 - the block has to see it
        except LookupError:
            self.trace.append((path, "rolled back"))

    async def _call(self, step: Any, path: tuple[int, ...], milliseconds: float) -> None:
        try:
            result: Any = await step(self.ctx, milliseconds)
        except TerminalError as error:
            result = str(error)
        self.trace.append((path, result))

    async def _in_turn(self, paths: list[tuple[int, ...]]) -> None:
        for path in paths:
            await self.run(path)

    async def _gather(self, paths: list[tuple[int, ...]]) -> None:
        await asyncio.gather(*(self.run(path) for path in paths))

    async def _group(self, paths: list[tuple[int, ...]]) -> None:
        async with asyncio.TaskGroup() as group:
            for path in paths:
                group.create_task(self.run(path))

    async def _first_wins(self, paths: list[tuple[int, ...]]) -> None:
        branches = {asyncio.create_task(self.run(path)) for path in paths}
        _, others = await asyncio.wait(branches, return_when=asyncio.FIRST_COMPLETED)
        await self.run((*paths[0], 99, 99))
        await asyncio.gather(*others)


@workflow
async def random_program(ctx: WorkflowContext, seed: int, also: str) -> None:
    program = Program(ctx, seed, also=also)
    await program.run()
    traces.setdefault(ctx.instance_id, []).append(program.trace)
    await sleep(ctx, 3600, timer_id="end")


@pytest.fixture(autouse=True)
def _forget() -> None:
    traces.clear()
    executed.clear()


async def _at_the_end(app: EddaApp, instance_id: str) -> None:
    async def check() -> None:
        row = await instance(app, instance_id)
        assert row["current_activity_id"] == "end", row
        assert row["status"] == "waiting_for_timer"

    await eventually(check)


async def _replay(app: EddaApp, instance_id: str) -> None:
    before = await steps_of(app, instance_id)
    await random_program.resume(instance_id)
    live, again = traces[instance_id][-2:]
    assert live == again
    assert await steps_of(app, instance_id) == before


@pytest.mark.parametrize("also", ALSO)
async def test_a_replay_sees_what_the_run_saw_live(app: EddaApp, also: str) -> None:
    seeds = range(40)
    ids = await asyncio.gather(*(random_program.start(seed=seed, also=also) for seed in seeds))
    for instance_id in ids:
        await _at_the_end(app, instance_id)
    count = len(executed)

    always_replay(app)
    for instance_id in ids:
        await _replay(app, instance_id)
    assert len(executed) == count == len(set(executed))


async def test_replaying_at_every_wait_ends_the_same(app: EddaApp) -> None:
    always_replay(app)
    ids = await asyncio.gather(*(random_program.start(seed=seed, also="timers") for seed in range(25)))
    for instance_id in ids:
        await _at_the_end(app, instance_id)
        await _replay(app, instance_id)
    assert len(executed) == len(set(executed))


async def test_ids_of_nested_gathers_are_the_same_on_a_replay(app: EddaApp) -> None:
    seen: list[list[int]] = []

    @activity
    async def take(ctx: WorkflowContext, milliseconds: float) -> int:
        await pause(milliseconds / 1000)
        return next(executions)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async def branch(times: list[float]) -> list[int]:
            return [await take(ctx, each) for each in times]

        nested = asyncio.gather(asyncio.gather(branch([3, 0, 2]), branch([0, 4])), branch([1, 1, 1]))
        (one, two), three = await nested
        seen.append([*one, *two, *three])
        await sleep(ctx, 0.01)

    always_replay(app)
    await reached(app, await flow.start())
    assert seen[0] == seen[1]
    assert len(seen) == 2
