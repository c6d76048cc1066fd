from __future__ import annotations

import json

import pytest

from edda.types import Message, Receive, Scope, Send
from tests.support.asgi import IncompleteResponseError, LifespanFailedError, lifespan, request


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what arrived."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
        "messages": [(message["type"], message.get("body", b"").decode()) for message in messages],
    }
    await send({"type": "http.response.start", "status": 207, "headers": [(b"X-Seen", b"yes")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


async def test_the_application_sees_the_request_and_its_answer_comes_back() -> None:
    response = await request(echo, "POST", "/a%20b?c=d", headers={"Content-Type": "text/x"}, body=b"hello")
    assert response.status == 207
    assert response.headers == {"x-seen": "yes"}
    assert response.json() == {
        "method": "POST",
        "path": "/a b",
        "query": "c=d",
        "headers": {"content-type": "text/x"},
        "messages": [["http.request", "hello"]],
    }


async def test_a_body_can_arrive_in_chunks() -> None:
    response = await request(echo, "POST", "/", body=[b"one", b"two"])
    assert response.json()["messages"] == [["http.request", "one"], ["http.request", "two"]]


async def test_the_client_can_go_away_in_the_middle_of_the_body() -> None:
    response = await request(echo, "POST", "/", body=[b"one"], disconnect=True)
    assert response.json()["messages"] == [["http.request", "one"], ["http.disconnect", ""]]


async def test_an_application_that_sends_nothing_is_reported() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(IncompleteResponseError, match="no response was started"):
        await request(silent, "GET", "/")


async def test_a_response_without_end_is_reported() -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    with pytest.raises(IncompleteResponseError, match="not finished"):
        await request(endless, "GET", "/")


class LifespanApp:
    """Answers each lifespan event, with a failure where it was told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.events: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for event in ("lifespan.startup", "lifespan.shutdown"):
            message = await receive()
            assert message["type"] == event
            self.events.append(event)
            if event == self.failing:
                await send({"type": f"{event}.failed", "message": "no database"})
                return
            await send({"type": f"{event}.complete"})


async def test_startup_runs_before_the_block_and_shutdown_after_it() -> None:
    app = LifespanApp()
    async with lifespan(app):
        assert app.events == ["lifespan.startup"]
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("event", ["lifespan.startup", "lifespan.shutdown"])
async def test_a_failure_is_raised_with_the_message_of_the_application(event: str) -> None:
    with pytest.raises(LifespanFailedError, match="no database"):
        async with lifespan(LifespanApp(failing=event)):
            pass


async def test_an_application_that_raises_shows_its_own_error() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken before it answered")

    with pytest.raises(ValueError, match="broken before it answered"):
        async with lifespan(broken):
            pass


async def test_an_application_that_returns_early_is_reported() -> None:
    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(LifespanFailedError, match=r"did not answer lifespan\.startup"):
        async with lifespan(deaf):
            pass
