"""DBOS Transact on the replay workload; runs in an environment of its own.

A finished workflow is forked behind its last step. The clock runs within the body, from its first
line: what DBOS does before that, and the queue that a fork waits in, are not in the figure.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator"
# (replaying and dbos_configured are found beside the script, dbos in an environment of its own.)

from __future__ import annotations

import asyncio
import time

from dbos import DBOS, SetWorkflowID
from dbos_configured import configure
from replaying import arguments, measure

RAN: list[float] = []  # when each run began and had its last step


@DBOS.step()
async def number(i: int) -> dict[str, int]:
    return {"i": i}


@DBOS.workflow()
async def add_up(steps: int) -> int:
    began, total = time.perf_counter(), 0
    for i in range(steps):
        total += (await number(i))["i"]
    RAN.append(time.perf_counter() - began)
    return total


async def main() -> None:
    args = arguments()
    configure(args.db_url)
    DBOS.launch()

    async def replay() -> tuple[float, int | None]:
        RAN.clear()
        handle = await DBOS.fork_workflow_async("long", args.steps + 1)
        total = await handle.get_result()
        return RAN[0], total if len(RAN) == 1 else None

    try:
        with SetWorkflowID("long"):
            await add_up(args.steps)
        await measure(replay, args)
    finally:
        DBOS.destroy()


asyncio.run(main())
