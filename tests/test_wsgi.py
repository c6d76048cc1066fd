"""An app behind a WSGI server, in one process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from edda import WorkflowContext, sleep, workflow
from edda.app import EddaApp
from edda.wsgi import WSGIApplication, create_wsgi_app
from tests.support.eventually import eventually
from tests.support.wsgi import Answer, request

EVENT = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "wsgi_order", "data": {"name": "a"}}
STRUCTURED = "application/cloudevents+json"


@workflow(event_handler=True)
async def wsgi_order(ctx: WorkflowContext, name: str) -> str:
    await sleep(ctx, 0.01)
    return name


@pytest.fixture
def app(tmp_path: Path) -> EddaApp:
    return EddaApp("wsgi", f"sqlite:///{tmp_path}/wsgi.db")


@pytest.fixture
async def application(app: EddaApp) -> AsyncIterator[WSGIApplication]:
    application = create_wsgi_app(app)
    yield application
    await asyncio.to_thread(application.close)


def instances(tmp_path: Path) -> list[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(tmp_path / "wsgi.db")) as connection:
        query = "SELECT status, output_data, lease_owner FROM workflow_instances"
        return connection.execute(query).fetchall()


def is_up() -> bool:
    return "edda-wsgi" in [thread.name for thread in threading.enumerate()]


async def test_a_workflow_that_a_request_starts_goes_on_by_itself(
    application: WSGIApplication, tmp_path: Path
) -> None:
    assert not is_up()
    body = json.dumps(EVENT).encode()
    answer = await asyncio.to_thread(request, application, body, CONTENT_TYPE=STRUCTURED)
    assert (answer.status, answer.json()) == ("202 Accepted", {"status": "accepted"})
    assert is_up()

    def check() -> None:
        assert instances(tmp_path) == [("completed", '{"result":"a"}', None)]

    await eventually(check)
    await asyncio.to_thread(application.close)
    assert not is_up()


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda app: request(app, b"{", CONTENT_TYPE=STRUCTURED), "400 Bad Request"),
        (lambda app: request(app, REQUEST_METHOD="GET"), "405 Method Not Allowed"),
        (lambda app: request(app, b"x" * 2_000_000, CONTENT_TYPE=STRUCTURED), "413 "),
        (
            lambda app: request(app, b"x", CONTENT_TYPE="application/cloudevents+avro"),
            "415 ",
        ),
        (lambda app: request(app, PATH_INFO="/cancel/none"), "400 Bad Request"),
    ],
    ids=["400", "405", "413", "415", "cancel"],
)
async def test_errors_are_answered_as_over_asgi(
    application: WSGIApplication, ask: Callable[[WSGIApplication], Answer], status: str
) -> None:
    answer = await asyncio.to_thread(ask, application)
    assert answer.status.startswith(status)
    assert answer.json()["error"]


async def test_without_its_database_it_answers_and_begins_when_it_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    app = EddaApp("wsgi", f"sqlite:///{folder}/wsgi.db")
    application = create_wsgi_app(app)
    body = json.dumps(EVENT).encode()
    try:
        answer = await asyncio.to_thread(request, application, body, CONTENT_TYPE=STRUCTURED)
        assert answer.status.startswith("503")
        folder.mkdir()
        answer = await asyncio.to_thread(request, application, body, CONTENT_TYPE=STRUCTURED)
        assert answer.status == "202 Accepted"
    finally:
        await asyncio.to_thread(application.close)


async def test_it_can_begin_again(app: EddaApp, application: WSGIApplication) -> None:
    first = await asyncio.to_thread(request, application, b"{", CONTENT_TYPE=STRUCTURED)
    await asyncio.to_thread(application.close)
    await asyncio.to_thread(application.close)
    again = await asyncio.to_thread(request, application, b"{", CONTENT_TYPE=STRUCTURED)
    assert first.status == again.status == "400 Bad Request"
