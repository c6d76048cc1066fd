"""An app on SQLite in memory whose time a test moves, with the world around it in one line each."""

from __future__ import annotations

import contextlib
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import edda.clock
from edda.app import EddaApp
from edda.testing.movable_clock import MovableClock
from edda.testing.surroundings import Surroundings
from edda.testing.twin import IN_MEMORY, TwinApp


class WorkflowEnvironment(Surroundings):
    """A worker on SQLite in memory for one test, with a clock that the test moves.

    ``app`` is yours: its event handlers, hooks and settings are taken over, its database
    and broker are not. Without it there is a plain one; ``options`` are those of
    :class:`~edda.EddaApp` and come before the settings of ``app``. The clock begins at
    ``start_time`` (aware; the present if None) and runs as ever between jumps.
    ``patience``: the real seconds that anything here waits for instances before it
    raises ``TimeoutError``.

    Short back-offs (under five seconds) are jumped over as soon as nothing else goes on.
    There is one environment at a time in a process: a second one is a ``RuntimeError``.

    >>> import asyncio
    >>> from datetime import timedelta
    >>> from edda import WorkflowContext, sleep, workflow
    >>> @workflow
    ... async def reminder(ctx: WorkflowContext, user: str) -> str:
    ...     await sleep(ctx, timedelta(days=30).total_seconds())
    ...     return f"reminded {user}"
    >>> async def main():
    ...     async with WorkflowEnvironment() as env:
    ...         instance_id = await env.start(reminder, user="ada")
    ...         print((await env.instance(instance_id))["status"])
    ...         print(await env.result(instance_id))
    >>> asyncio.run(main())
    waiting_for_timer
    reminded ada
    """

    def __init__(
        self,
        app: EddaApp | None = None,
        *,
        start_time: datetime | None = None,
        patience: float = 30.0,
        **options: Any,
    ) -> None:
        twin = TwinApp(app, **{"db_url": IN_MEMORY, **options})
        super().__init__(twin, MovableClock(start_time), patience=patience)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(edda.clock.replaced_by(self._clock))
            await stack.enter_async_context(self.app)
            await stack.enter_async_context(self._skipping_back_offs())
            self._exit = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._exit.aclose()
