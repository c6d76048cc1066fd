r"""Workflows inside a FastAPI application: started by its routes, and by events under a prefix.

Run it from the top of the repository::

    uvicorn --app-dir examples fastapi_mount:app

A route of your own starts an order and answers with its number::

    curl -i http://localhost:8000/orders -H 'content-type: application/json' -d '{"lamps": 2}'

The server prints, when the order is packed::

    2 lamps are packed

Events go to the prefix::

    curl -i http://localhost:8000/workflows/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/web", "type": "order", "data": {"lamps": 3}}'

and the server prints::

    3 lamps are packed

``GET /orders`` lists the orders and where they are; ``POST /workflows/cancel/{instance_id}`` cancels one::

    curl -i http://localhost:8000/orders
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from edda import EddaApp, WorkflowContext, activity, workflow


class Order(BaseModel):
    lamps: int = Field(gt=0)


@activity
async def pack(ctx: WorkflowContext, lamps: int) -> None:
    print(f"{lamps} lamps are packed", flush=True)


@workflow(event_handler=True)
async def order(ctx: WorkflowContext, lamps: int) -> str:
    await pack(ctx, lamps)
    return f"{lamps} lamps"


workflows = EddaApp("shop", "sqlite:///fastapi_mount.db")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """What is mounted is not told of start and end; this is where the workers of edda live."""
    async with workflows:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=202)
async def place_order(new: Order) -> dict[str, str]:
    """``start()`` returns when the workflow has ended or waits; what it returned for is stored."""
    return {"instance_id": await order.start(lamps=new.lamps)}


@app.get("/orders")
async def list_orders() -> list[dict[str, Any]]:
    found = await workflows.find_instances(workflow_name="order")
    return [{key: one[key] for key in ("instance_id", "status", "input_data")} for one in found["instances"]]


app.mount("/workflows", workflows)
