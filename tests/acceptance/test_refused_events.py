"""503: what cannot be stored now is not taken, and can be sent again later."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from sqlalchemy import make_url

from edda import WorkflowContext, activity, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, hears_others
from tests.support.asgi import Response, lifespan, request
from tests.support.databases import Databases
from tests.support.eventually import until
from tests.support.proxy import proxy_to

handled: list[str] = []
held = asyncio.Event()


@pytest.fixture(autouse=True)
def _forget() -> None:
    handled.clear()
    held.clear()


@activity
async def hold(ctx: WorkflowContext) -> None:
    handled.append("held")
    await held.wait()


@workflow
async def holding(ctx: WorkflowContext) -> None:
    await hold(ctx)


async def post(app: EddaApp, path: str = "/", event_id: str = "1") -> Response:
    headers = {"ce-id": event_id, "ce-source": "/s", "ce-type": "ordered", "ce-specversion": "1.0"}
    return await request(app, "POST", path, headers=headers)


async def test_a_stopping_app_takes_nothing_more(apps: Apps) -> None:
    app = apps.make()
    async with lifespan(app):
        running = asyncio.create_task(holding.start())
        await until(lambda: handled == ["held"])
        stopping = asyncio.create_task(app.shutdown())
        await until(lambda: app._stopping is not None)
        answers = [await post(app), await post(app, "/cancel/order-1")]
        held.set()
        await stopping
        await asyncio.gather(running, return_exceptions=True)
    assert [answer.status for answer in answers] == [503, 503]
    assert answers[0].json() == {
        "error": "EddaApp is shutting down",
        "error_type": "ShuttingDownError",
        "retryable": True,
    }


@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
async def test_while_the_database_is_away_events_are_refused_and_taken_later(
    databases: Databases, database_url: str
) -> None:
    url = make_url(database_url)
    kind: Literal["postgresql", "mysql"] = "mysql" if "mysql" in url.drivername else "postgresql"
    async with proxy_to(await databases.shared_server(kind)) as proxy:
        app = EddaApp("tests", proxy.url_for(url.database or ""))

        @app.on_event("ordered")
        async def handle(event: Any) -> None:
            handled.append(event["id"])

        proxy.refuse()
        early = await post(app)  # the app is not even initialised
        proxy.accept()
        async with app:
            await hears_others(app)
            assert (await post(app, event_id="0")).status == 202
            proxy.refuse()
            app.accept_seconds = 0.3
            refused = await asyncio.gather(*(post(app, event_id=str(number)) for number in range(1, 4)))
            app.accept_seconds = 60.0
            proxy.accept()
            for number in range(1, 4):
                assert (await post(app, event_id=str(number))).status == 202
            await until(lambda: sorted(handled) == ["0", "1", "2", "3"])
    for answer in (early, *refused):
        assert (answer.status, answer.json()["retryable"]) == (503, True)
        assert answer.json()["error_type"] == "StorageUnavailableError"
