r"""An order in four durable steps: kill the server in the middle, and the order still completes.

Run it from the top of the repository::

    uvicorn --app-dir examples order_saga:app

Send it an event, in structured mode::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/shop", "type": "order_saga",
             "data": {"order_id": "o-1001", "amount": 99.5}}'

or in binary mode::

    curl -i http://localhost:8000/ -H 'content-type: application/json' \
        -H 'ce-specversion: 1.0' -H 'ce-id: 2' -H 'ce-source: /shop' -H 'ce-type: order_saga' \
        -d '{"order_id": "o-1002", "amount": 12.5}'

or as another system words it, which the handler at the end of this file translates::

    curl -i http://localhost:8000/ -H 'content-type: application/json' \
        -H 'ce-specversion: 1.0' -H 'ce-id: 3' -H 'ce-source: /till' -H 'ce-type: till.checkout' \
        -d '{"cart": "o-1003", "total": "7.25"}'

Each answers ``202 Accepted`` when the event is stored, and the server prints::

    [process 4711] o-1001: reserve_inventory begins
    [process 4711] o-1001: charge_payment begins
    [process 4711] o-1001: book_shipping begins
    [process 4711] o-1001: send_confirmation begins
    [process 4711] o-1001: completed, shipment-o-1001 is on its way

Now kill the server during an order (``kill -9 4711``) and start it again. Within ten seconds
the order goes on at the step that was not recorded yet; the steps before it do not run again.
Sending the same event twice (same source, same id) starts one order.

From the environment: ``EDDA_DB_URL`` (default ``sqlite:///order_saga.db``),
``EDDA_STEP_SECONDS`` (how long each step takes, default 1) and ``EDDA_LEASE_SECONDS`` (after
how long another process takes over the orders of a dead one, default 9).
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pydantic import BaseModel, Field

from edda import EddaApp, HooksBase, WorkflowContext, activity, workflow
from edda.cloudevent import Event

DB_URL = os.environ.get("EDDA_DB_URL", "sqlite:///order_saga.db")
STEP_SECONDS = float(os.environ.get("EDDA_STEP_SECONDS", "1"))
LEASE_SECONDS = int(os.environ.get("EDDA_LEASE_SECONDS", "9"))


class Receipt(BaseModel):
    """What a step leaves behind: its reference, and the process that ran it."""

    reference: str
    process: int = Field(default_factory=os.getpid)


class ShippedOrder(BaseModel):
    """The result of the whole workflow."""

    order_id: str
    payment: Receipt
    shipment: Receipt


# Each step may run again if the process dies before its result is recorded. So what it asks
# of another system carries a reference that is the same each time, and is done there once.


@activity
async def reserve_inventory(ctx: WorkflowContext, order_id: str) -> Receipt:
    say(order_id, "reserve_inventory begins")
    await asyncio.sleep(STEP_SECONDS)
    return Receipt(reference=f"reservation-{order_id}")


@activity
async def charge_payment(ctx: WorkflowContext, order_id: str, amount: float) -> Receipt:
    say(order_id, "charge_payment begins")
    await asyncio.sleep(STEP_SECONDS)
    return Receipt(reference=f"payment-{order_id}-{amount:.2f}")


@activity
async def book_shipping(ctx: WorkflowContext, order_id: str, reservation: Receipt) -> Receipt:
    say(order_id, "book_shipping begins")
    await asyncio.sleep(STEP_SECONDS)
    return Receipt(reference=reservation.reference.replace("reservation", "shipment"))


@activity
def send_confirmation(ctx: WorkflowContext, order_id: str, payment: Receipt, shipment: Receipt) -> Receipt:
    """An activity without ``async`` runs in a thread and may block."""
    say(order_id, "send_confirmation begins")
    time.sleep(STEP_SECONDS)
    return Receipt(reference=f"mail about {payment.reference} and {shipment.reference}")


@workflow(event_handler=True)
async def order_saga(ctx: WorkflowContext, order_id: str, amount: float) -> ShippedOrder:
    """Started by every event of type ``order_saga``; the data of the event are its arguments."""
    reservation = await reserve_inventory(ctx, order_id)
    payment = await charge_payment(ctx, order_id, amount)
    shipment = await book_shipping(ctx, order_id, reservation)
    await send_confirmation(ctx, order_id, payment, shipment)
    return ShippedOrder(order_id=order_id, payment=payment, shipment=shipment)


class Announcer(HooksBase):
    """Says what has become durable: this hook runs after the commit."""

    async def on_workflow_complete(self, instance_id: str, workflow_name: str, result: Any) -> None:
        if isinstance(result, ShippedOrder):
            say(result.order_id, f"completed, {result.shipment.reference} is on its way")


app = EddaApp("shop", DB_URL, hooks=Announcer(), leader_lease_duration=LEASE_SECONDS)


@app.on_event("till.checkout")
async def checkout(event: Event) -> None:
    """Runs from the stored event, again after a crash; even then it starts one order."""
    await order_saga.start(order_id=event.data["cart"], amount=float(event.data["total"]))


def say(order_id: str, what: str) -> None:
    print(f"[process {os.getpid()}] {order_id}: {what}", flush=True)
