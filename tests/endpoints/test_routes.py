"""Requests and their answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from edda.cloudevent import Event
from edda.endpoints.asgi import relative_path
from edda.endpoints.routes import Endpoint
from edda.exceptions import InvalidEventError, ShuttingDownError, StorageError, StorageUnavailableError
from edda.types import Message, Scope
from tests.support.asgi import Limits, Response, request
from tests.support.eventually import PATIENCE

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
COMPLETE: dict[str, Any] = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created"}
BINARY = {f"ce-{name}": value for name, value in COMPLETE.items()}
LIMIT = 1000


async def never_live(instance_id: str) -> bool:
    return False


class _Ingest:
    """Remembers what it accepted, or fails."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error
        self.accepted: list[Event] = []

    async def accept(self, events: Sequence[Event]) -> None:
        if self._error is not None:
            raise self._error
        self.accepted.extend(events)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.accept, never_live, Limits(LIMIT))


async def _post(
    ingest: _Ingest, body: object = COMPLETE, *, content_type: str = STRUCTURED, path: str = "/"
) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await request(ingest.endpoint, "POST", path, headers={"content-type": content_type}, body=raw)


@pytest.mark.parametrize("path", ["/", "", "/events", "/a/b/c"])
async def test_a_posted_event_is_accepted_at_every_path(path: str) -> None:
    ingest = _Ingest()
    response = await _post(ingest, path=path)
    assert (response.status, response.json()) == (202, {"status": "accepted"})
    assert response.headers["content-type"] == "application/json"
    assert ingest.accepted == [Event(COMPLETE)]


async def test_nothing_is_answered_before_the_event_is_stored() -> None:
    stored, sent = asyncio.Event(), asyncio.Event()
    called = asyncio.Event()

    async def accept(events: Sequence[Event]) -> None:
        called.set()
        await stored.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(COMPLETE).encode()}

    async def send(message: Message) -> None:
        sent.set()

    scope: Scope = {"method": "POST", "path": "/", "headers": [(b"content-type", STRUCTURED.encode())]}
    answering = asyncio.create_task(Endpoint(accept, never_live, Limits(LIMIT))(scope, receive, send))
    await asyncio.wait_for(called.wait(), PATIENCE)
    assert not sent.is_set()
    stored.set()
    await answering
    assert sent.is_set()


async def test_a_batch_is_accepted_as_one() -> None:
    calls: list[list[str]] = []

    async def accept(events: Sequence[Event]) -> None:
        calls.append([event["id"] for event in events])

    endpoint = Endpoint(accept, never_live, Limits(LIMIT))
    body = json.dumps([{**COMPLETE, "id": str(n)} for n in range(5)]).encode()
    response = await request(endpoint, "POST", "/", headers={"content-type": BATCH}, body=body)
    assert response.status == 202
    assert calls == [["0", "1", "2", "3", "4"]]


async def test_an_empty_batch_is_accepted() -> None:
    ingest = _Ingest()
    assert (await _post(ingest, [], content_type=BATCH)).status == 202
    assert ingest.accepted == []


async def test_a_batch_with_one_bad_event_stores_none() -> None:
    ingest = _Ingest()
    elements = [{**COMPLETE, "id": str(n)} for n in range(5)]
    del elements[2]["type"]
    response = await _post(ingest, elements, content_type=BATCH)
    assert response.status == 400
    assert response.json() == {
        "error": "[2]: Missing required attribute 'type'",
        "error_type": "MissingRequiredFields",
        "retryable": False,
    }
    assert ingest.accepted == []


class _Order(BaseModel):
    total: int


def _validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        _Order.model_validate({"total": "many"})
    return caught.value


@pytest.mark.parametrize(
    ("cause", "error_type"),
    [
        (_validation_error(), "ValidationError"),
        (TypeError("unexpected argument 'x'"), "TypeError"),
        (ValueError("no such thing"), "ValueError"),
    ],
)
async def test_input_that_a_workflow_cannot_take_is_the_fault_of_the_sender(
    cause: Exception, error_type: str
) -> None:
    response = await _post(_Ingest(InvalidEventError(cause)))
    assert response.status == 400
    assert response.json() == {"error": str(cause), "error_type": error_type, "retryable": False}


@pytest.mark.parametrize(
    "error",
    [ShuttingDownError(), StorageUnavailableError("the database is away")],
    ids=lambda error: type(error).__name__,
)
async def test_what_passes_by_itself_is_service_unavailable_and_one_line_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = await _post(_Ingest(error))
    assert response.status == 503
    assert response.json() == {"error": str(error), "error_type": type(error).__name__, "retryable": True}
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.WARNING, None)]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"content-type": "application/cloudevents+avro"}, "event format 'application/cloudevents+avro'"),
        ({**BINARY, "content-type": "image/png", "content-encoding": "GZIP"}, "content encoding 'gzip'"),
    ],
)
async def test_a_body_in_a_form_that_nobody_can_read_is_unsupported(
    headers: dict[str, str], text: str
) -> None:
    ingest = _Ingest()
    response = await request(ingest.endpoint, "POST", "/", headers=headers, body=b"\x1f\x8b")
    assert response.status == 415
    assert response.json() == {
        "error": f"Unsupported {text}",
        "error_type": "UnsupportedMediaType",
        "retryable": False,
    }
    assert ingest.accepted == []


async def test_a_body_that_says_it_is_not_compressed_is_taken() -> None:
    ingest = _Ingest()
    headers = {**BINARY, "content-encoding": "identity"}
    assert (await request(ingest.endpoint, "POST", "/", headers=headers)).status == 202


@pytest.mark.parametrize(
    "error",
    [StorageError("the database refused it"), TypeError("a defect"), ValueError("\ud800"), RecursionError()],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_failure_is_ours_and_worth_another_try(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    response = await _post(_Ingest(error))
    assert response.status == 500
    assert response.json() == {"error": str(error), "error_type": type(error).__name__, "retryable": True}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_cancelled_request_is_not_answered() -> None:
    with pytest.raises(asyncio.CancelledError):
        await _post(_Ingest(asyncio.CancelledError()))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "BREW"])
async def test_only_post_is_allowed(method: str) -> None:
    ingest = _Ingest()
    response = await request(
        ingest.endpoint, method, "/", headers={"content-type": STRUCTURED}, body=json.dumps(COMPLETE).encode()
    )
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert response.json() == {
        "error": f"Method {method} not allowed",
        "error_type": "MethodNotAllowed",
        "retryable": False,
    }
    assert ingest.accepted == []


@pytest.mark.parametrize("announce", [True, False], ids=["announced", "unannounced"])
async def test_a_body_over_the_limit_is_refused(announce: bool) -> None:
    ingest = _Ingest()
    headers = {"content-type": STRUCTURED} | ({"content-length": str(LIMIT + 1)} if announce else {})
    response = await request(ingest.endpoint, "POST", "/", headers=headers, body=[b" " * LIMIT, b" "])
    assert response.status == 413
    assert response.json() == {
        "error": f"Request body exceeds {LIMIT} bytes",
        "error_type": "PayloadTooLarge",
        "retryable": False,
    }


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    ingest = _Ingest()
    body = json.dumps(COMPLETE).encode().ljust(LIMIT)
    assert (await _post(ingest, body)).status == 202


async def test_the_limit_is_asked_for_each_request() -> None:
    limits = Limits(10)
    endpoint = Endpoint(_Ingest().accept, never_live, limits)
    headers, body = {"content-type": STRUCTURED}, json.dumps(COMPLETE).encode()
    refused = await request(endpoint, "POST", "/", headers=headers, body=body)
    limits.max_body_size = LIMIT
    accepted = await request(endpoint, "POST", "/", headers=headers, body=body)
    assert (refused.status, accepted.status) == (413, 202)


async def test_a_client_that_never_ends_its_body_is_told_so() -> None:
    ingest = _Ingest()
    sent: list[Message] = []
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    endpoint = Endpoint(ingest.accept, never_live, Limits(LIMIT, body_seconds=0.01))
    await endpoint({"method": "POST", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert json.loads(sent[1]["body"]) == {
        "error": "No whole request body within 0.01 seconds",
        "error_type": "RequestTimeout",
        "retryable": True,
    }
    assert ingest.accepted == []


async def test_a_client_that_disconnects_gets_no_answer_and_stores_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ingest = _Ingest()
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError("nothing may be sent")

    scope: Scope = {"method": "POST", "path": "/", "headers": [(b"content-type", STRUCTURED.encode())]}
    with caplog.at_level(logging.DEBUG, logger="edda"):
        await ingest.endpoint(scope, receive, send)
    assert ingest.accepted == []
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


async def test_a_failure_while_reading_is_answered() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        raise RuntimeError("broken server")

    async def send(message: Message) -> None:
        sent.append(message)

    await _Ingest().endpoint({"method": "POST", "path": "/", "headers": []}, receive, send)
    assert [message.get("status") for message in sent] == [500, None]


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/x", "", "/x"),
        ("/x", None, "/x"),
        ("/workflows/x", "/workflows", "/x"),
        ("/x", "/workflows", "/x"),
        ("/workflows", "/workflows", "/"),
        ("/workflows/", "/workflows/", "/"),
        ("/workflowsx", "/workflows", "/workflowsx"),
        ("/a/workflows/x", "/workflows", "/a/workflows/x"),
        ("", "", "/"),
    ],
)
def test_paths_are_relative_to_the_mount_point_in_either_convention(
    path: str, root_path: str | None, expected: str
) -> None:
    scope: Scope = {"path": path} | ({} if root_path is None else {"root_path": root_path})
    assert relative_path(scope) == expected


_CONTENT_TYPES = st.sampled_from([STRUCTURED, BATCH, "application/json", "text/plain", ""]) | st.text(
    st.characters(codec="latin-1"), max_size=40
)
_JUNK_VALUES = (
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
_ALMOST_EVENTS = st.builds(
    lambda base, changes: {**base, **changes},
    st.sampled_from([COMPLETE, {}]),
    st.dictionaries(
        st.sampled_from([*COMPLETE, "data", "data_base64", "time", "subject", "ext"]) | st.text(max_size=5),
        _JUNK_VALUES,
        max_size=3,
    ),
)
_BODIES = st.binary(max_size=60) | (_ALMOST_EVENTS | st.lists(_ALMOST_EVENTS, max_size=3) | _JUNK_VALUES).map(
    lambda value: json.dumps(value).encode()
)
_HEADERS = st.dictionaries(
    st.sampled_from([*BINARY, "ce-time", "ce-ext", "content-length"])
    | st.text(st.characters(codec="latin-1"), max_size=8).map("ce-{}".format),
    st.sampled_from([*BINARY.values(), "%ff", '"', "2024-01-01T00:00:00Z"])
    | st.text(st.characters(codec="latin-1"), max_size=20),
)


@given(content_type=_CONTENT_TYPES, body=_BODIES, headers=_HEADERS, complete=st.booleans())
async def test_whatever_is_sent_is_accepted_whole_or_refused_with_a_reason(
    content_type: str, body: bytes, headers: dict[str, str], complete: bool
) -> None:
    ingest = _Ingest()
    sent = {**(BINARY if complete else {}), **headers, "content-type": content_type}
    response = await request(ingest.endpoint, "POST", "/", headers=sent, body=body)

    assert response.status in {202, 400, 413, 415}
    if response.status == 202:
        for event in ingest.accepted:
            assert all(isinstance(event[name], str) and event[name] for name in COMPLETE)
            assert Event.from_json_object(json.loads(json.dumps(event.to_json_object()))) == event
    else:
        assert ingest.accepted == []
        assert set(response.json()) == {"error", "error_type", "retryable"}
        assert response.json()["error_type"] in {
            "MissingRequiredFields",
            "InvalidRequiredFields",
            "ValueError",
            "PayloadTooLarge",
            "UnsupportedMediaType",
        }
