r"""Pydantic models as input, arguments, results and events: what goes in as a model comes out as one.

Run it from the top of the repository::

    uvicorn --app-dir examples models_everywhere:app

The data of the event are the fields of the one model that the workflow takes::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "basket",
             "data": {"customer": "Ada", "lines": [{"thing": "lamp", "count": 2, "price": "12.50"},
                                                   {"thing": "chair", "count": 1, "price": "40.00"}]}}'

The server prints::

    Ada: a bill of 65.00 due on a Monday

The payment is an event with a model of its own::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "2", "source": "/bank", "type": "paid.Ada",
             "data": {"amount": "65.00", "by": "card"}}'

The server prints::

    Ada: paid 65.00 by Method.CARD

Data that do not fit are refused with 400 before anything is stored::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "3", "source": "/web", "type": "basket",
             "data": {"customer": "Bob", "lines": [{"thing": "lamp", "count": 0, "price": "12.50"}]}}'
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum

from pydantic import BaseModel, Field

from edda import EddaApp, WorkflowContext, activity, subscribe, wait_event, workflow


class Method(Enum):
    CARD = "card"
    CASH = "cash"


class Line(BaseModel):
    thing: str
    count: int = Field(gt=0)
    price: Decimal


class Basket(BaseModel):
    customer: str
    lines: list[Line]


class Bill(BaseModel):
    total: Decimal
    due: date


class Payment(BaseModel):
    amount: Decimal
    by: Method


@activity
async def write_bill(ctx: WorkflowContext, lines: list[Line]) -> Bill:
    """Gets models and returns one, in the first run and in each replay."""
    return Bill(total=sum((line.count * line.price for line in lines), Decimal()), due=date(2030, 7, 1))


@activity
async def tell(ctx: WorkflowContext, customer: str, what: str) -> None:
    print(f"{customer}: {what}", flush=True)


@workflow(event_handler=True)
async def basket(ctx: WorkflowContext, basket: Basket) -> Bill:
    await subscribe(ctx, f"paid.{basket.customer}")  # before the bill is out: a payment may come at once
    bill = await write_bill(ctx, basket.lines)
    await tell(ctx, basket.customer, f"a bill of {bill.total} due on a {bill.due:%A}")
    event = await wait_event(ctx, f"paid.{basket.customer}", model=Payment)
    payment: Payment = event.data
    await tell(ctx, basket.customer, f"paid {payment.amount} by {payment.by}")
    return bill


app = EddaApp("shop", "sqlite:///models_everywhere.db")
