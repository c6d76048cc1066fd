"""A real server with the event endpoint alone, which reports what it took and what it cost."""

from __future__ import annotations

import logging
import socket
import sys
import tracemalloc
from collections.abc import Sequence

import uvicorn

from edda.cloudevent import Event
from edda.endpoints.asgi import Answer, send_json
from edda.endpoints.routes import Endpoint
from edda.types import JSONValue, Receive, Scope, Send
from tests.support.asgi import Limits

MAX_BODY_SIZE = 1_048_576


async def serve(body_seconds: str = "60") -> None:
    """Serve until SIGTERM; the port is the first line written.

    GET /report answers with the ids accepted so far and the largest number of bytes
    in use since the last report, beyond those in use at that time.
    """
    logging.basicConfig(level=logging.INFO)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    sys.stdout.write(f"port {listener.getsockname()[1]}\n")
    tracemalloc.start()
    server = uvicorn.Server(uvicorn.Config(_Application(float(body_seconds)), lifespan="off"))
    await server.serve(sockets=[listener])


class _Application:
    def __init__(self, body_seconds: float) -> None:
        self._accepted: list[JSONValue] = []
        self._baseline = 0
        self._endpoint = Endpoint(self._accept, self._cancel, Limits(MAX_BODY_SIZE, body_seconds))

    async def _accept(self, events: Sequence[Event]) -> None:
        self._accepted.extend(event["id"] for event in events)

    async def _cancel(self, instance_id: str) -> bool:
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/ping":
                await send_json(send, Answer(200, {}))
            case "GET", "/report":
                await send_json(send, Answer(200, self._report()))
            case _:
                await self._endpoint(scope, receive, send)

    def _report(self) -> dict[str, JSONValue]:
        _, peak = tracemalloc.get_traced_memory()
        growth = peak - self._baseline
        tracemalloc.reset_peak()
        self._baseline, _ = tracemalloc.get_traced_memory()
        return {"accepted": self._accepted, "memory_growth": growth}
