r"""Two processes on one PostgreSQL: they share the work, and one takes over when the other dies.

Install the driver (``pip install 'edda-durable[postgresql,server]'``), say where the database is, and
start two servers from the top of the repository, each in a terminal of its own::

    export EDDA_DB_URL=postgresql://user:password@localhost/name
    uvicorn --app-dir examples two_workers:app --port 8000
    uvicorn --app-dir examples two_workers:app --port 8001

Send a parcel to either of them::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "deliver",
             "data": {"parcel": "p-1"}}'

That server prints a line now and then::

    [process 4711] p-1: 1 of 20 streets
    [process 4711] p-1: 2 of 20 streets

Kill it (``kill -9 4711``). Within six seconds the other one goes on behind the last recorded street::

    [process 4712] p-1: 3 of 20 streets

and, when it is through::

    [process 4712] p-1: 20 of 20 streets

``kill`` without ``-9`` is faster: a server that is asked to end hands its work over at once.
"""

from __future__ import annotations

import asyncio
import os

from edda import EddaApp, WorkflowContext, activity, workflow

DB_URL = os.environ.get("EDDA_DB_URL", "postgresql://localhost/edda")
STREET_SECONDS = float(os.environ.get("EDDA_STREET_SECONDS", "1"))


@activity
async def drive(ctx: WorkflowContext, parcel: str, number: int, count: int) -> None:
    await asyncio.sleep(STREET_SECONDS)
    print(f"[process {os.getpid()}] {parcel}: {number} of {count} streets", flush=True)


@workflow(event_handler=True)
async def deliver(ctx: WorkflowContext, parcel: str, streets: int = 20) -> None:
    for number in range(1, streets + 1):
        await drive(ctx, parcel, number, streets)


# Short, so that the takeover can be watched; the default of 45 seconds asks less of the database.
app = EddaApp("post", DB_URL, leader_lease_duration=6, leader_heartbeat_interval=2)
