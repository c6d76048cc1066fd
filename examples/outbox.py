r"""A shop that announces its orders: the event leaves if, and only if, the order is stored.

Start something that takes events, for instance another EddaApp, and run the shop from the
top of the repository::

    EDDA_BROKER_URL=http://localhost:8001/ uvicorn --app-dir examples outbox:app

Send it an order::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "place_order",
             "data": {"order_id": "o-1001", "amount": 99.5}}'

The broker gets ``order.placed`` and then ``order.paid``, both with the subject ``o-1001``. Stop
the broker, send more orders, start it again: it gets them all, in order for each subject.
"""

from __future__ import annotations

import os

from pydantic import BaseModel, Field
from sqlalchemy import text

from edda import EddaApp, WorkflowContext, activity, send_event_transactional, workflow

DB_URL = os.environ.get("EDDA_DB_URL", "sqlite:///outbox.db")
BROKER_URL = os.environ.get("EDDA_BROKER_URL", "http://localhost:8001/")

app = EddaApp("shop", DB_URL, outbox_enabled=True, broker_url=BROKER_URL)


class OrderPlaced(BaseModel):
    """What other systems learn about an order."""

    order_id: str
    amount: float = Field(gt=0)


@activity
async def store_order(ctx: WorkflowContext, order_id: str, amount: float) -> None:
    """The row of the shop and the event, in one transaction."""
    await ctx.session.execute(text("CREATE TABLE IF NOT EXISTS shop_orders (id TEXT, amount FLOAT)"))
    row = {"id": order_id, "amount": amount}
    await ctx.session.execute(text("INSERT INTO shop_orders VALUES (:id, :amount)"), row)
    placed = OrderPlaced(order_id=order_id, amount=amount)
    await send_event_transactional(ctx, "order.placed", "/shop", placed, subject=order_id)


@activity
async def charge(ctx: WorkflowContext, order_id: str, amount: float) -> str:
    """Pays; the event is announced only if the payment is recorded."""
    receipt = f"payment-{order_id}-{amount:.2f}"
    await send_event_transactional(ctx, "order.paid", "/shop", {"receipt": receipt}, subject=order_id)
    return receipt


@workflow(event_handler=True)
async def place_order(ctx: WorkflowContext, order_id: str, amount: float) -> str:
    await store_order(ctx, order_id, amount)
    return await charge(ctx, order_id, amount)
