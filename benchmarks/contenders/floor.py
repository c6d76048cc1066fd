"""The floor: the rows of the step workload, group-committed through SQLAlchemy Core, and no engine at all.

A "workflow" inserts its instance, inserts one history row per step and updates the
instance at the end. Each of these is awaited until its commit has returned; while one
commit is in flight, what the others want to write collects for the next.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop and group_commit are found beside the script.)

from __future__ import annotations

import asyncio
import json
import uuid

from closed_loop import Arguments, arguments, measure
from group_commit import FINISHED, HISTORY, NEW_INSTANCE, STEP, GroupCommit, group_commit
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine


async def run_workflow(writer: GroupCommit, steps: int) -> int:
    instance_id = f"add_up-{uuid.uuid4().hex}"
    await writer.write(
        NEW_INSTANCE,
        {
            "instance_id": instance_id,
            "status": "running",
            "input": json.dumps({"steps": steps}),
            "output": None,
            "locked_by": "bench",
        },
    )
    total = 0
    for i in range(steps):
        result = {"i": i}
        await writer.write(
            STEP,
            {
                "instance_id": instance_id,
                "activity_id": f"number:{i}",
                "event_type": "ActivityCompleted",
                "data": json.dumps(
                    {"activity_name": "number", "result": result, "input": {"args": [i], "kwargs": {}}}
                ),
            },
        )
        total += result["i"]
    await writer.write(
        FINISHED, {"finished_id": instance_id, "result": json.dumps({"result": {"total": total}})}
    )
    return total


async def check(engine: AsyncEngine, args: Arguments) -> None:
    """Every step of every workflow must be a row: the one that warmed up included."""
    if args.processes > 1:
        return  # the others may not have come to their end
    async with engine.connect() as connection:
        rows = await connection.scalar(select(func.count()).select_from(HISTORY))
    wanted = (args.workflows + 1) * args.steps
    if rows != wanted:
        raise SystemExit(f"the floor wrote {rows} rows of {wanted}")


async def main() -> None:
    args = arguments()
    async with group_commit(args.db_url) as (writer, engine):
        await measure(lambda: run_workflow(writer, args.steps), args)
        await check(engine, args)


asyncio.run(main())
