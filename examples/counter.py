r"""A workflow without an end: it counts what passes, and begins a new history now and then.

Run it from the top of the repository::

    uvicorn --app-dir examples counter:app

Start it, and let seven cars pass; what passes meanwhile is kept for it::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "0", "source": "/gate", "type": "count", "data": {}}'

The server prints::

    the counter stands at 0

Now the cars::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents-batch+json' \
        -d '[{"specversion": "1.0", "id": "1", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "2", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "3", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "4", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "5", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "6", "source": "/gate", "type": "car", "data": 1},
             {"specversion": "1.0", "id": "7", "source": "/gate", "type": "car", "data": 1}]'

After every third one it goes on as a new instance, with the sum as its argument; the server prints::

    the counter stands at 3
    the counter stands at 6

``ctx.recur`` ends this instance, archives its history and starts the next one in one transaction. The
subscription moves along, so that no message is lost between the two.
"""

from __future__ import annotations

from edda import EddaApp, WorkflowContext, activity, receive, subscribe, workflow

CARS_PER_HISTORY = 3


@activity
async def show(ctx: WorkflowContext, total: int) -> None:
    print(f"the counter stands at {total}", flush=True)


@workflow(event_handler=True)
async def count(ctx: WorkflowContext, total: int = 0) -> None:
    await subscribe(ctx, "car")
    await show(ctx, total)
    for _ in range(CARS_PER_HISTORY):
        message = await receive(ctx, "car")
        total += message.data
    await ctx.recur(total=total)


app = EddaApp("gate", "sqlite:///counter.db")
