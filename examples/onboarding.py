r"""Letters to a new customer over two weeks: a workflow that sleeps for days and holds nothing meanwhile.

Run it from the top of the repository. A day of this example takes one second::

    uvicorn --app-dir examples onboarding:app

A customer signs up::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "onboard",
             "data": {"customer": "Ada"}}'

The server prints, with days between the lines::

    Ada: welcome
    Ada: day 3, how to begin
    Ada: day 5, a survey

Stop the server after the first line and start it again: the letters still come, on their days. A
workflow that sleeps is a row with a due time, no task and no thread; ten years are as cheap as ten
milliseconds. ``EDDA_DAY_SECONDS=86400`` makes the days real.
"""

from __future__ import annotations

import os
from datetime import timedelta

from edda import EddaApp, WorkflowContext, activity, sleep, sleep_until, workflow

DAY = timedelta(seconds=float(os.environ.get("EDDA_DAY_SECONDS", "1")))


@activity
async def send_letter(ctx: WorkflowContext, customer: str, letter: str) -> None:
    print(f"{customer}: {letter}", flush=True)


@workflow(event_handler=True)
async def onboard(ctx: WorkflowContext, customer: str) -> None:
    signed_up = await ctx.now()  # recorded, so that a replay counts from the same moment
    await send_letter(ctx, customer, "welcome")
    await sleep(ctx, (3 * DAY).total_seconds())
    await send_letter(ctx, customer, "day 3, how to begin")
    await sleep_until(ctx, signed_up + 5 * DAY)
    await send_letter(ctx, customer, "day 5, a survey")


app = EddaApp("onboarding", "sqlite:///onboarding.db")
