"""Events in and out through edda's public interface, which edda-framework has as well."""

# mypy: disable-error-code="import-not-found"
# (event_load is found beside the script.)

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from event_load import REACHED

from edda import EddaApp, OutboxRelayer, WorkflowContext, activity, send_event_transactional, workflow

EVENTS_EACH = 50
KEYS = 100


@workflow(event_handler=True)
async def bench_started(
    ctx: WorkflowContext,  # noqa: ARG001  every workflow takes it
    number: int,
    customer: str,  # noqa: ARG001  the data of the event
    amount: float,  # noqa: ARG001
    items: list[str],  # noqa: ARG001
) -> int:
    REACHED.add(number)
    return number


@activity
async def announce(ctx: WorkflowContext, first: int, count: int) -> list[str]:
    return [
        await send_event_transactional(
            ctx, "bench.event", f"/bench/{number % KEYS}", {"number": number, "customer": "c-1001"}
        )
        for number in range(first, first + count)
    ]


@workflow
async def announcing(ctx: WorkflowContext, first: int, count: int) -> list[str]:
    events: list[str] = await announce(ctx, first, count)
    IDS.update({first: events[0]})
    return events


IDS: dict[int, str] = {}


class Edda:
    """One application for each load."""

    def __init__(self, db_url: str, **options: Any) -> None:
        self._db_url = db_url
        self._options = options

    def _app(self) -> EddaApp:
        return EddaApp(service_name="bench", db_url=self._db_url, **self._options)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[EddaApp]:
        app = self._app()
        await app.initialize()
        yield app
        await asyncio.wait_for(app.shutdown(), 30)

    async def record(self, url: str, first: int, count: int) -> None:  # noqa: ARG002  of every contender
        self._recording = self._app()
        await self._recording.initialize()
        for number in range(first, first + count, EVENTS_EACH):
            await announcing.start(first=number, count=min(EVENTS_EACH, first + count - number))

    @contextlib.asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[None]:
        relayer = OutboxRelayer(self._recording.storage, url)
        await relayer.start()
        yield
        await relayer.stop()
        await self._recording.shutdown()

    @contextlib.asynccontextmanager
    async def announcing(self, url: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        app = EddaApp(
            service_name="bench",
            db_url=self._db_url,
            outbox_enabled=True,
            broker_url=url,
            **self._options,
        )
        await app.initialize()
        numbers = iter(range(1_000_000))

        async def one() -> str:
            number = next(numbers)
            await announcing.start(first=number, count=1)
            return IDS[number]

        yield one
        await asyncio.wait_for(app.shutdown(), 30)
