"""The lifespan protocol."""

from __future__ import annotations

import logging

import pytest

from edda import WorkflowContext, workflow
from edda.lifespan import serve_lifespan
from edda.types import Message
from tests.support.apps import Apps, result_of

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


class Server:
    """The server's side: messages to hand out, and the answers."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return self._messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def nothing() -> None:
    return


async def failing() -> None:
    raise OSError("no room")


async def test_start_and_stop_are_called_and_confirmed() -> None:
    order: list[str] = []

    async def start() -> None:
        order.append("start")

    async def stop() -> None:
        order.append("stop")

    server = Server(STARTUP, SHUTDOWN)
    await serve_lifespan(server.receive, server.send, start=start, stop=stop)

    assert order == ["start", "stop"]
    assert server.sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_a_failed_start_is_reported_and_ends_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(STARTUP)
    with caplog.at_level(logging.ERROR, logger="edda.lifespan"):
        await serve_lifespan(server.receive, server.send, start=failing, stop=nothing)

    assert server.sent == [{"type": "lifespan.startup.failed", "message": "no room"}]
    assert "Startup failed" in caplog.text


async def test_a_failed_stop_is_reported() -> None:
    server = Server(STARTUP, SHUTDOWN)
    await serve_lifespan(server.receive, server.send, start=nothing, stop=failing)
    assert server.sent[1] == {"type": "lifespan.shutdown.failed", "message": "no room"}


async def test_an_app_is_up_between_startup_and_shutdown(apps: Apps) -> None:
    app = apps.make()
    seen: list[object] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return "done"

    class Watching(Server):
        async def receive(self) -> Message:
            if self.sent:
                seen.append(await result_of(app, await flow.start()))
            return await super().receive()

    server = Watching(STARTUP, SHUTDOWN)
    await app({"type": "lifespan"}, server.receive, server.send)

    assert seen == ["done"]
    assert app.replay_engine is None
    assert [message["type"] for message in server.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
