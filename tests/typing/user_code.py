"""What a type checker sees of a user's code: parameters and results are those of the decorated functions.

A comment that ignores an error stands where there must be one: both checkers complain of a comment
that is not needed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from edda import (
    ChannelMessage,
    EddaApp,
    ReceivedEvent,
    RetryPolicy,
    WorkflowContext,
    activity,
    compensation,
    create_wsgi_app,
    gather,
    on_failure,
    publish,
    receive,
    register_compensation,
    send_to,
    sleep,
    wait_event,
    workflow,
)
from edda.workflow import Workflow


class Payment(BaseModel):
    reference: str
    amount: float


@compensation
async def give_back(ctx: WorkflowContext, order_id: str) -> None:
    """A compensation stays the function it is."""


@activity
async def reserve(ctx: WorkflowContext, order_id: str, count: int = 1) -> list[str]:
    return [order_id] * count


@activity(retry_policy=RetryPolicy(max_attempts=3))
@on_failure(give_back)
async def pay(ctx: WorkflowContext, order_id: str, amount: float) -> Payment:
    return Payment(reference=order_id, amount=amount)


@activity
def count_letters(ctx: WorkflowContext, text: str) -> int:
    return len(text)


@activity
async def store(ctx: WorkflowContext) -> None:
    assert_type(ctx.session, AsyncSession)


@workflow(event_handler=True)
async def order(ctx: WorkflowContext, order_id: str, amount: float) -> dict[str, str]:
    assert_type(await reserve(ctx, order_id, count=2), list[str])
    assert_type(await reserve(ctx, order_id, activity_id="mine"), list[str])
    assert_type(await count_letters(ctx, "sync"), int)
    payment = await pay(ctx, order_id, amount)
    assert_type(payment, Payment)
    assert_type(await gather(pay(ctx, "a", 1.0), pay(ctx, "b", 2.0)), tuple[Payment, Payment])
    assert_type(await receive(ctx, "parcels"), ChannelMessage)
    assert_type(await wait_event(ctx, "paid", model=Payment), ReceivedEvent)
    assert_type(await publish(ctx, "news", {"order": order_id}), str)
    assert_type(await send_to(ctx, "order-1", [1, 2]), bool)
    assert_type(await sleep(ctx, 0.5), None)
    assert_type(await ctx.now(), datetime)
    await register_compensation(ctx, give_back, order_id)
    return {"reference": payment.reference}


@workflow
async def nothing(ctx: WorkflowContext) -> None:
    await give_back(ctx, "a plain call")


assert_type(nothing, Workflow[[], None])


async def use(app: EddaApp) -> None:
    assert_type(await order.start(order_id="o-1", amount=2.5), str)
    assert_type(await order.resume("order-1"), None)
    assert_type(await app.find_instances(status="failed"), dict[str, Any])
    create_wsgi_app(app)


async def mistakes(ctx: WorkflowContext) -> None:
    await reserve(ctx, 5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await reserve(ctx, "o-1", cuont=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await pay(ctx, "o-1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    count: str = await count_letters(ctx, "sync")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    await receive(ctx)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    order.strat("o-1")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    del count


@workflow  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
def not_async(ctx: WorkflowContext) -> None:
    """A workflow is an async function."""
