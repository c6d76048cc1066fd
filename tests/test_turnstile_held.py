"""Steps that the turnstile holds back until all that is recorded has returned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edda.turnstile import HeldBack, Turnstile
from tests.support.eventually import PATIENCE


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Held:
    """A step that is held back for as long as anything recorded is left."""

    def __init__(self) -> None:
        self.turn = asyncio.get_running_loop().create_future()
        self.judged = asyncio.Event()

    def judge(self, held: Sequence[HeldBack]) -> Sequence[HeldBack]:
        self.judged.set()
        return ()


async def test_a_step_that_is_held_back_begins_when_what_is_recorded_has_returned() -> None:
    turnstile, held = Turnstile("a"), Held()
    async with asyncio.timeout(PATIENCE):
        passing = asyncio.create_task(turnstile.pass_unreached(held))
        await held.judged.wait()
        assert not passing.done()
        await turnstile.pass_recorded("a")
        turnstile.leave("a")
        await passing


async def test_it_is_looked_at_now_and_then_without_spinning() -> None:
    turnstile, held = Turnstile("a"), Held()
    async with asyncio.timeout(PATIENCE):
        passing = asyncio.create_task(turnstile.pass_unreached(held))
        for _ in range(3):
            await held.judged.wait()
            held.judged.clear()
            await _turns(2)
            assert not turnstile._pumping
        turnstile.let_go()
        await passing


async def test_forgotten_outcomes_let_it_go_at_once() -> None:
    turnstile, held = Turnstile(["race:1/0/a:1"]), Held()
    async with asyncio.timeout(PATIENCE):
        passing = asyncio.create_task(turnstile.pass_unreached(held))
        await held.judged.wait()
        assert turnstile._look_again is not None
        turnstile._look_again.cancel()
        turnstile.forget("race:1/0/")
        await passing
