"""The floor of a replay: the rows of one history, read by one query, and the JSON of each parsed."""

# mypy: disable-error-code="import-not-found"
# (group_commit and replaying are found beside the script.)

from __future__ import annotations

import asyncio
import json
import time

from group_commit import HISTORY, STEP, group_commit
from replaying import arguments, measure
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

READ = (
    select(HISTORY.c.activity_id, HISTORY.c.data)
    .where(HISTORY.c.instance_id == "long")
    .order_by(HISTORY.c.id)
)


def step(i: int) -> dict[str, str]:
    data = {"activity_name": "number", "result": {"i": i}, "input": {"args": [i], "kwargs": {}}}
    return {
        "instance_id": "long",
        "activity_id": f"number:{i}",
        "event_type": "ActivityCompleted",
        "data": json.dumps(data),
    }


async def replay(engine: AsyncEngine) -> tuple[float, int | None]:
    began = time.perf_counter()
    async with engine.connect() as connection:
        rows = (await connection.execute(READ)).all()
    total = sum(json.loads(row.data)["result"]["i"] for row in rows)
    return time.perf_counter() - began, total


async def main() -> None:
    args = arguments()
    async with group_commit(args.db_url) as (writer, engine):
        await asyncio.gather(*(writer.write(STEP, step(i)) for i in range(args.steps)))
        await measure(lambda: replay(engine), args)


asyncio.run(main())
