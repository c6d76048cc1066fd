r"""A workflow asks another one and waits for the answer: a channel in the mode "direct".

Run it from the top of the repository::

    uvicorn --app-dir examples request_response:app

A clerk begins to work, and a customer asks for the price of two things::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "clerk", "data": {}}'

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "2", "source": "/web", "type": "customer",
             "data": {"things": ["lamp", "unicorn"]}}'

The server prints::

    the clerk looks up: lamp
    the customer hears: lamp costs 25.0
    the clerk looks up: unicorn
    the customer hears: unicorn is not for sale

The question is a job that one clerk takes; the answer goes to the instance that has asked and to no other.
It waits for the customer if the customer is not waiting for it.
"""

from __future__ import annotations

from typing import TypedDict

from edda import EddaApp, WorkflowContext, activity, publish, receive, send_to, subscribe, workflow

PRICES = {"lamp": 25.0, "chair": 40.0}


class Question(TypedDict):
    thing: str
    ask_back: str


@activity
async def look_up(ctx: WorkflowContext, thing: str) -> float | None:
    print(f"the clerk looks up: {thing}", flush=True)
    return PRICES.get(thing)


@activity
async def hear(ctx: WorkflowContext, what: str) -> None:
    print(f"the customer hears: {what}", flush=True)


@workflow(event_handler=True)
async def clerk(ctx: WorkflowContext) -> None:
    await subscribe(ctx, "questions", mode="competing")
    for _ in range(100):
        question: Question = (await receive(ctx, "questions")).data
        price = await look_up(ctx, question["thing"])
        await send_to(ctx, question["ask_back"], {"price": price}, channel="answers")
    await ctx.recur()


@workflow(event_handler=True)
async def customer(ctx: WorkflowContext, things: list[str]) -> None:
    await subscribe(ctx, "answers", mode="direct")
    for thing in things:
        await publish(ctx, "questions", Question(thing=thing, ask_back=ctx.instance_id))
        answer = await receive(ctx, "answers", timeout_seconds=3600)
        price = answer.data["price"]
        await hear(ctx, f"{thing} is not for sale" if price is None else f"{thing} costs {price}")


app = EddaApp("shop", "sqlite:///request_response.db")
