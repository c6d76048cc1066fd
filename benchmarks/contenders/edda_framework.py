"""edda-framework on the step workload; runs in an environment of its own, where ``edda`` is that library."""

# mypy: disable-error-code="import-not-found"
# (closed_loop is found beside the script.)

from __future__ import annotations

import asyncio
import logging

from closed_loop import arguments, measure

from edda import EddaApp, WorkflowContext, activity, workflow

TOTALS: dict[str, int] = {}  # what each workflow added up, so that the clients can check it


@activity
async def number(ctx: WorkflowContext, i: int) -> dict[str, int]:  # noqa: ARG001  every activity takes it
    return {"i": i}


@workflow
async def add_up(ctx: WorkflowContext, steps: int) -> dict[str, int]:
    total = 0
    for i in range(steps):
        total += (await number(ctx, i))["i"]
    TOTALS[ctx.instance_id] = total
    return {"total": total}


async def main() -> None:
    args = arguments()
    # Connections for 60 of the workflows that run at a time.
    app = EddaApp(service_name="bench", db_url=args.db_url, pool_size=20, max_overflow=40)
    await app.initialize()

    async def start() -> int | None:
        return TOTALS.pop(await add_up.start(steps=args.steps), None)

    try:
        await measure(start, args)
    finally:
        await app.shutdown()


logging.disable(logging.WARNING)
asyncio.run(main())
