"""``POST /cancel/{instance_id}``: what is asked for, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edda.cloudevent import Event
from edda.endpoints.cancel import Cancel
from edda.endpoints.routes import Endpoint
from edda.exceptions import StorageError, StorageUnavailableError
from tests.support.asgi import Limits, Response, request

asked: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    asked.clear()


def answering(answer: bool | Exception) -> Cancel:
    async def cancel(instance_id: str) -> bool:
        asked.append(instance_id)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return cancel


async def accept(events: Sequence[Event]) -> None:
    raise AssertionError(f"taken for events: {events}")


async def post(
    path: str,
    cancel: Cancel,
    *,
    method: str = "POST",
    body: bytes = b"",
    limit: int = 100,
) -> Response:
    return await request(Endpoint(accept, cancel, Limits(limit)), method, path, body=body)


async def test_a_live_instance_is_cancelled() -> None:
    response = await post("/cancel/order-1", answering(True), body=b"ignored {")
    assert (response.status, response.json()) == (200, {"status": "cancelled", "instance_id": "order-1"})
    assert asked == ["order-1"]


async def test_the_id_is_everything_after_the_first_cancel() -> None:
    await post("/cancel/a/cancel/b%20c", answering(True))
    assert asked == ["a/cancel/b c"]


@pytest.mark.parametrize("path", ["/cancel", "/cancel/"])
async def test_without_an_id_nothing_is_asked(path: str) -> None:
    response = await post(path, answering(True))
    assert (response.status, response.json()) == (400, {"error": "Missing instance_id"})
    assert asked == []


async def test_what_is_not_live_is_a_bad_request() -> None:
    response = await post("/cancel/order-1", answering(False))
    assert (response.status, response.json()) == (
        400,
        {"error": "Cannot cancel workflow (not found or already completed/failed/cancelled)"},
    )


async def test_trouble_is_ours(caplog: pytest.LogCaptureFixture) -> None:
    response = await post("/cancel/order-1", answering(StorageError("away")))
    assert (response.status, response.json()) == (500, {"error": "away", "type": "StorageError"})
    assert "Cancelling order-1 failed" in caplog.text


async def test_a_database_that_is_away_is_service_unavailable() -> None:
    response = await post("/cancel/order-1", answering(StorageUnavailableError("away")))
    assert (response.status, response.json()) == (503, {"error": "away", "type": "StorageUnavailableError"})


async def test_other_methods_and_large_bodies_are_refused_as_everywhere() -> None:
    assert (await post("/cancel/order-1", answering(True), method="DELETE")).status == 405
    assert (await post("/cancel/order-1", answering(True), body=b"x" * 101)).status == 413
    assert asked == []


async def test_a_path_that_only_begins_alike_is_an_event() -> None:
    response = await post("/cancelled", answering(True))
    assert response.json()["error_type"] == "MissingRequiredFields"
    assert asked == []
