r"""An expense that somebody has to approve in time: a workflow that waits for an event.

Run it from the top of the repository::

    uvicorn --app-dir examples approval:app

Two expenses come in; whoever approves one has three seconds::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "expense",
             "data": {"number": "e-1", "amount": 120.0, "seconds": 3}}'

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "2", "source": "/web", "type": "expense",
             "data": {"number": "e-2", "amount": 80.0, "seconds": 3}}'

The server prints::

    e-1: 120.00, who approves?
    e-2: 80.00, who approves?

The event that the first one waits for has the number in its type::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "3", "source": "/web", "type": "approval.e-1",
             "data": {"by": "Grace", "approved": true}}'

The server prints, the last line after three seconds::

    e-1: Grace says yes
    e-2: nobody has answered, refused
"""

from __future__ import annotations

from pydantic import BaseModel

from edda import EddaApp, EventTimeoutError, WorkflowContext, activity, subscribe, wait_event, workflow


class Approval(BaseModel):
    by: str
    approved: bool


@activity
async def tell(ctx: WorkflowContext, number: str, what: str) -> None:
    print(f"{number}: {what}", flush=True)


@workflow(event_handler=True)
async def expense(ctx: WorkflowContext, number: str, amount: float, seconds: float = 86400) -> bool:
    answer_type = f"approval.{number}"
    await subscribe(ctx, answer_type)  # before anybody is asked: an answer may come at once
    await tell(ctx, number, f"{amount:.2f}, who approves?")
    try:
        event = await wait_event(ctx, answer_type, timeout_seconds=seconds, model=Approval)
    except EventTimeoutError:
        await tell(ctx, number, "nobody has answered, refused")
        return False
    answer: Approval = event.data
    await tell(ctx, number, f"{answer.by} says {'yes' if answer.approved else 'no'}")
    return answer.approved


app = EddaApp("expenses", "sqlite:///approval.db")
