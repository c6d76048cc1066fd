"""The waits of edda's public interface, which edda-framework has as well; each brings its own ``edda``."""

# mypy: disable-error-code="import-not-found"
# (arrivals and waking are found beside the script.)

from __future__ import annotations

import json
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

from arrivals import ARRIVALS
from waking import Arguments

from edda import (
    EddaApp,
    WorkflowContext,
    publish,
    receive,
    sleep_until,
    subscribe,
    wait_event,
    workflow,
)

NEWS = "news"


async def read(ctx: WorkflowContext, name: str, channel: str, count: int) -> None:
    await subscribe(ctx, channel)
    for number in range(count):
        message = await receive(ctx, channel)
        ARRIVALS.arrived(f"{name}:{number}", message.data["sent"])


async def await_event(ctx: WorkflowContext, name: str) -> None:
    event = await wait_event(ctx, name)
    ARRIVALS.arrived(f"{name}:0", event.data["sent"])


async def wait_for(ctx: WorkflowContext, name: str, due: float) -> None:
    await sleep_until(ctx, datetime.fromtimestamp(due, UTC))
    ARRIVALS.fired(f"{name}:0", due)


class Edda:
    """An application; the process that only publishes knows no workflow, so that it resumes none."""

    def __init__(self, app: EddaApp, args: Arguments) -> None:
        self._app = app
        if args.publishes:
            return
        self._reader, self._awaiter, self._waiter = (workflow(body) for body in (read, await_event, wait_for))

    async def wait_for_messages(self, name: str, count: int) -> None:
        await self._reader.start(name=name, channel=name, count=count)

    async def wait_for_event(self, name: str) -> None:
        await self._awaiter.start(name=name)

    async def wait_for_news(self, name: str) -> None:
        await self._reader.start(name=name, channel=NEWS, count=1)

    async def wait_until(self, name: str, due: float) -> None:
        await self._waiter.start(name=name, due=due)

    async def publish(self, name: str, sent: float) -> None:
        await publish(self._app.storage, name, {"sent": sent})

    async def broadcast(self, sent: float) -> None:
        await publish(self._app.storage, NEWS, {"sent": sent})

    async def post(self, name: str, sent: float) -> None:
        await post(self._app, name, {"sent": sent})


async def post(app: EddaApp, event_type: str, data: dict[str, Any]) -> None:
    """An HTTP request as a server hands it to the application."""
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": event_type,
        "ce-source": "bench",
        "ce-type": event_type,
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    statuses = []

    async def receive_body() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(data).encode(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive_body, send)
    if statuses not in ([200], [202]):
        raise SystemExit(f"the event was answered with {statuses}")
