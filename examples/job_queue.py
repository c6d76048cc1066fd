r"""Jobs that several workers share, each done by one of them: a channel in the mode "competing".

Run it from the top of the repository::

    uvicorn --app-dir examples job_queue:app

Jobs may come before anybody works: they are kept::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents-batch+json' \
        -d '[{"specversion": "1.0", "id": "1", "source": "/web", "type": "jobs", "data": "paint"},
             {"specversion": "1.0", "id": "2", "source": "/web", "type": "jobs", "data": "clean"}]'

Two workers begin::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents-batch+json' \
        -d '[{"specversion": "1.0", "id": "3", "source": "/web", "type": "work", "data": {"name": "Ada"}},
             {"specversion": "1.0", "id": "4", "source": "/web", "type": "work", "data": {"name": "Bob"}}]'

and one more job arrives::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "5", "source": "/web", "type": "jobs", "data": "cook"}'

Each job is done once, by whichever worker is free; the server prints, in some order::

    paint: done by ...
    clean: done by ...
    cook: done by ...

A worker that dies in the middle of a job does that job again when it is taken over, and no other gets
it. The channel is named after the type of the event; ``publish(ctx, "jobs", ...)`` in a workflow and
``publish(app.storage, "jobs", ...)`` elsewhere fill it as well.
"""

from __future__ import annotations

from edda import EddaApp, WorkflowContext, activity, receive, subscribe, workflow


@activity
async def do(ctx: WorkflowContext, name: str, job: str) -> None:
    print(f"{job}: done by {name}", flush=True)


@workflow(event_handler=True)
async def work(ctx: WorkflowContext, name: str) -> None:
    """Takes one job after the other, for ever; the history begins anew after a hundred of them."""
    await subscribe(ctx, "jobs", mode="competing")
    for _ in range(100):
        job = await receive(ctx, "jobs")
        await do(ctx, name, job.data)
    await ctx.recur(name=name)


app = EddaApp("workshop", "sqlite:///job_queue.db")
