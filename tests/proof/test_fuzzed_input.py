"""Whatever comes in is answered, never with a 500, and is stored wholly or not at all."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from edda.app import EddaApp
from edda.codec.json import dumps, loads
from edda.codec.values import Encoded, ValueCodec
from edda.context import WorkflowContext
from edda.storage.models import workflow_inbox, workflow_instances
from edda.workflow import workflow
from tests.support.asgi import request
from tests.support.rows import storage_of

on_sqlite = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
fuzzed = settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TYPE = "fuzzed_event"
NAMES = ("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data", "data_base64")
VALID = {
    "specversion": st.just("1.0"),
    "id": st.uuids().map(str),
    "source": st.just("/a"),
    "type": st.just(TYPE),
}
DOUBTFUL = {
    "specversion": st.sampled_from(["1.0", "0.3", "", None]) | JSON,
    "id": st.sampled_from(["1", "2", "", None]) | JSON,
    "source": st.sampled_from(["/a", "/b", "", None]) | JSON,
    "type": st.sampled_from([TYPE, "other", "", None]) | JSON,
}
MORE = {
    "time": st.sampled_from(["2024-02-29T12:00:00Z", "yesterday", None]) | JSON,
    "data": st.fixed_dictionaries({"number": st.integers(0, 9)}) | JSON,
    "data_base64": st.text(max_size=8) | JSON,
    "ext": JSON,
}
EVENTS = (
    st.fixed_dictionaries(VALID, optional=MORE)
    | st.fixed_dictionaries(VALID)
    | st.fixed_dictionaries(DOUBTFUL, optional=MORE)
    | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=6), JSON, max_size=6)
)
TEXTS = st.text(st.characters(max_codepoint=255), max_size=12)
CONTENT_TYPES = st.sampled_from(
    [
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/cloudevents+json; charset=utf-16",
        "application/json",
        "text/plain; charset=nonsense",
        "application/octet-stream",
        "",
    ]
)
PROPER = st.sampled_from(
    [
        {"content-type": "application/cloudevents+json"},
        {"content-type": "application/cloudevents-batch+json"},
        {"ce-specversion": "1.0", "ce-source": "/a", "ce-id": "1", "ce-type": TYPE},
    ]
)
HEADERS = PROPER | st.fixed_dictionaries(
    {},
    optional={
        "content-type": CONTENT_TYPES | TEXTS,
        "content-length": st.sampled_from(["0", "7", "-1", "many"]),
        "content-encoding": st.sampled_from(["gzip", "identity", ""]),
        "ce-specversion": st.sampled_from(["1.0", "2.0"]) | TEXTS,
        "ce-id": TEXTS,
        "ce-source": TEXTS,
        "ce-type": st.sampled_from([TYPE, "x"]) | TEXTS,
        "ce-time": TEXTS,
        "ce-ext": TEXTS,
    },
)
BODIES = (
    st.binary(max_size=40)
    | EVENTS.map(lambda event: json.dumps(event).encode())
    | st.lists(EVENTS, max_size=3).map(lambda events: json.dumps(events).encode())
)


@workflow(event_handler=True)
async def fuzzed_event(ctx: WorkflowContext, number: int = 0) -> int:
    return number


async def _stored(app: EddaApp) -> tuple[int, int]:
    """How many events there are, and how many instances they have started."""
    async with storage_of(app).engine.connect() as connection:
        events = await connection.scalar(select(func.count()).select_from(workflow_inbox))
        started = await connection.scalar(select(func.count()).select_from(workflow_instances))
    return events or 0, started or 0


@on_sqlite
@fuzzed
@given(
    method=st.sampled_from(["POST"] * 9 + ["GET", "BREW"]),
    path=st.just("/") | st.sampled_from(["//", "/cancel/x", "/%00", "/x?y=%ff"]),
    headers=HEADERS,
    body=BODIES,
)
async def test_a_request_of_any_kind_is_answered_and_stored_wholly_or_not_at_all(
    app: EddaApp, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    before = await _stored(app)
    response = await request(app, method, path, headers=headers, body=body)
    assert response.status < 500, (response.status, response.body)
    after = await _stored(app)
    if response.status != 202:
        assert after == before


@on_sqlite
@fuzzed
@given(events=st.lists(EVENTS, min_size=1, max_size=3))
async def test_a_batch_is_stored_wholly_or_not_at_all(app: EddaApp, events: list[Any]) -> None:
    before = await _stored(app)
    headers = {"content-type": "application/cloudevents-batch+json"}
    response = await request(app, "POST", "/", headers=headers, body=json.dumps(events).encode())
    assert response.status in (202, 400), (response.status, response.body)
    if response.status == 400:
        assert await _stored(app) == before


VALUES: st.SearchStrategy[Any] = st.recursive(
    JSON
    | st.binary(max_size=8)
    | st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@fuzzed
@given(value=VALUES)
def test_a_value_comes_back_as_it_was_or_is_refused(value: Any) -> None:
    codec = ValueCodec()
    try:
        stored = codec.dump(value, "the value")
        text = dumps(stored.json)
    except (TypeError, ValueError):
        return
    types: Any = None if stored.types is None else loads(dumps(stored.types))
    assert repr(codec.load(Encoded(loads(text), types))) == repr(value)


@fuzzed
@given(value=JSON)
def test_json_that_is_written_is_read_back(value: Any) -> None:
    try:
        text = dumps(value)
    except (TypeError, ValueError):
        return
    assert dumps(loads(text)) == text
