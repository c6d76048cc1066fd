"""DBOS Transact on the step workload; runs in an environment of its own."""

# mypy: disable-error-code="import-not-found, untyped-decorator"
# (closed_loop and dbos_configured are found beside the script, dbos in an environment of its own.)

from __future__ import annotations

import asyncio

from closed_loop import arguments, measure
from dbos import DBOS
from dbos_configured import configure


@DBOS.step()
async def number(i: int) -> dict[str, int]:
    return {"i": i}


@DBOS.workflow()
async def add_up(steps: int) -> dict[str, int]:
    total = 0
    for i in range(steps):
        total += (await number(i))["i"]
    return {"total": total}


async def main() -> None:
    args = arguments()
    configure(args.db_url)
    DBOS.launch()

    async def start() -> int:
        return int((await add_up(args.steps))["total"])

    try:
        await measure(start, args)
    finally:
        DBOS.destroy()


asyncio.run(main())
