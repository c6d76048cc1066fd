r"""The smallest whole program: a workflow of two steps, started by an event.

Run it from the top of the repository::

    uvicorn --app-dir examples quickstart:app

Send it a CloudEvent whose type is the name of the workflow::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/me", "type": "greet", "data": {"name": "Ada"}}'

The answer is ``202 Accepted``: the event is stored. The server prints::

    the letter to Ada is written
    Hello Ada! is posted

Stop the server with ``kill -9`` between the two lines and start it again: the letter is posted,
and not written a second time. What is stored lies in ``quickstart.db``; remove the file to begin anew.
"""

from __future__ import annotations

import asyncio

from edda import EddaApp, WorkflowContext, activity, workflow


@activity
async def write_letter(ctx: WorkflowContext, name: str) -> str:
    """What it returns is recorded; whoever goes on with the workflow gets it from there."""
    print(f"the letter to {name} is written", flush=True)
    return f"Hello {name}!"


@activity
async def post_letter(ctx: WorkflowContext, letter: str) -> None:
    await asyncio.sleep(1)  # the time to kill the server
    print(f"{letter} is posted", flush=True)


@workflow(event_handler=True)
async def greet(ctx: WorkflowContext, name: str) -> str:
    letter = await write_letter(ctx, name)
    await post_letter(ctx, letter)
    return letter


app = EddaApp("greetings", "sqlite:///quickstart.db")
