"""The app below a prefix of somebody else's application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from edda import EddaApp, WorkflowContext, wait_event, workflow
from tests.support.apps import reached
from tests.support.asgi import ASGIApplication, request
from tests.support.eventually import until

HEADERS = {"content-type": "application/cloudevents+json"}


def starlette(app: EddaApp) -> ASGIApplication:
    return Starlette(routes=[Mount("/workflows", app=app)])


def starlette_below_a_root(app: EddaApp) -> ASGIApplication:
    return Starlette(routes=[Mount("/api", routes=[Mount("/workflows", app=app)])])


def fastapi(app: EddaApp) -> ASGIApplication:
    outer = FastAPI()
    outer.mount("/workflows", app)
    return outer


started: list[str] = []


@workflow(event_handler=True)
async def mounted_order(ctx: WorkflowContext) -> None:
    started.append(ctx.instance_id)
    await wait_event(ctx, "never")


@pytest.fixture
async def app() -> AsyncIterator[EddaApp]:
    """Not initialised: an application does not hand its lifespan to what is mounted in it."""
    app = EddaApp("tests", "sqlite:///:memory:")
    yield app
    await app.shutdown()


@pytest.mark.parametrize(
    ("mount", "prefix"),
    [(starlette, "/workflows"), (starlette_below_a_root, "/api/workflows"), (fastapi, "/workflows")],
)
async def test_events_and_cancellations_work_below_a_prefix(
    app: EddaApp, mount: Callable[[EddaApp], ASGIApplication], prefix: str
) -> None:
    outer = mount(app)
    started.clear()

    async def post(path: str, body: Any = None) -> tuple[int, Any]:
        answer = await request(outer, "POST", prefix + path, headers=HEADERS, body=json.dumps(body).encode())
        return answer.status, answer.json()

    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "mounted_order"}
    assert await post("/", event) == (202, {"status": "accepted"})
    assert await post("/events", event | {"id": "2"}) == (202, {"status": "accepted"})
    await until(lambda: len(started) == 2)
    for instance_id in started:
        await reached(app, instance_id, "waiting_for_message")
        assert (await post(f"/cancel/{instance_id}"))[0] == 200
        await reached(app, instance_id, "cancelled")
    assert await post("/cancel/") == (400, {"error": "Missing instance_id"})
    refused = await request(outer, "GET", f"{prefix}/", headers=HEADERS)
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
