r"""A room in which everybody hears everything: a channel in the mode "broadcast".

Run it from the top of the repository::

    uvicorn --app-dir examples chat_room:app

Two members come in::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents-batch+json' \
        -d '[{"specversion": "1.0", "id": "1", "source": "/web", "type": "join", "data": {"name": "Ada"}},
             {"specversion": "1.0", "id": "2", "source": "/web", "type": "join", "data": {"name": "Bob"}}]'

The server prints::

    Ada listens
    Bob listens

Somebody speaks, twice::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents-batch+json' \
        -d '[{"specversion": "1.0", "id": "3", "source": "/cleo", "type": "room", "data": "hello"},
             {"specversion": "1.0", "id": "4", "source": "/cleo", "type": "room", "data": "bye"}]'

Everybody hears both, in this order; the server prints::

    Ada hears: hello
    Ada hears: bye
    Bob hears: hello
    Bob hears: bye
    Ada leaves
    Bob leaves

Who joins later hears what is said from then on. A message is stored once, however many listen.
"""

from __future__ import annotations

from edda import EddaApp, WorkflowContext, activity, receive, subscribe, workflow


@activity
async def note(ctx: WorkflowContext, what: str) -> None:
    print(what, flush=True)


@workflow(event_handler=True)
async def join(ctx: WorkflowContext, name: str) -> int:
    """Listens until somebody says bye; returns how much it has heard."""
    await subscribe(ctx, "room")
    await note(ctx, f"{name} listens")
    heard = 0
    while True:
        message = await receive(ctx, "room")
        heard += 1
        await note(ctx, f"{name} hears: {message.data}")
        if message.data == "bye":
            await note(ctx, f"{name} leaves")
            return heard


app = EddaApp("chat", "sqlite:///chat_room.db")
