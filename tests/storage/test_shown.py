"""Finding instances: the same answers on every database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from edda.codec.json import dumps
from edda.searching import Place, Search
from edda.storage import shown
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import Status
from tests.storage.plans import plan_of
from tests.support.naming import case_name
from tests.support.searching import search
from tests.support.writes import finished, run_of, step, unleased


async def found(storage: SQLAlchemyStorage, **criteria: Any) -> list[str]:
    page = await storage.find_instances(search(**criteria))
    return [instance["instance_id"] for instance in page["instances"]]


async def add(storage: SQLAlchemyStorage, instance_id: str, **fields: Any) -> None:
    assert await storage.submit(unleased(instance_id, **fields))


async def add_with(storage: SQLAlchemyStorage, inputs: dict[str, Any]) -> None:
    for instance_id, data in inputs.items():
        await add(storage, instance_id, input_data=dumps(data))


INPUTS: dict[str, Any] = {
    "number": {"order": {"id": 5}},
    "float": {"order": {"id": 5.0}},
    "fraction": {"order": {"id": 5.25}},
    "text": {"order": {"id": "5"}},
    "true": {"order": {"id": True}},
    "one": {"order": {"id": 1}},
    "null": {"order": {"id": None}},
    "missing": {"order": {}},
    "list": {"order": [5]},
    "huge": {"order": {"id": 2**70}},
    "lower": {"order": {"id": "straße"}},
    "upper": {"order": {"id": "STRASSE"}},
    "signs": {"order": {"id": '50%_\\"/\n\0'}},
    "not a number": {"order": {"id": 5}, "rate": float("nan")},
    "lone surrogate": {"order": {"id": "straße"}, "text": "\ud800"},
    "elsewhere": {"id": 5, "x": {"order": {"id": 5}}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, {"number", "float", "not a number"}),
        (5.0, {"number", "float", "not a number"}),
        (5.25, {"fraction"}),
        ("5", {"text"}),
        (True, {"true"}),
        (1, {"one"}),
        (None, {"null", "missing", "list", "elsewhere"}),
        (2**70, {"huge"}),
        ("straße", {"lower", "lone surrogate"}),
        ('50%_\\"/\n\0', {"signs"}),
        ("5' OR '1'='1", set()),
        ("x" * 2000, set()),
    ],
    ids=lambda value: case_name(value)[:20],
)
async def test_inputs_are_found_by_value_and_type(
    storage: SQLAlchemyStorage, value: Any, expected: set[str]
) -> None:
    await add_with(storage, INPUTS)
    assert set(await found(storage, input_filters={"order.id": value})) == expected


async def test_all_criteria_must_hold(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, workflow_name="Order_Saga", input_data='{"a":1,"b":"x"}')
    await storage.submit(finished(held, Status.FAILED))
    other = await run_of(storage, workflow_name="OrderXSaga", input_data='{"a":1,"b":"y"}')

    assert set(await found(storage, workflow_name="ORDER")) == {held.instance_id, other.instance_id}
    assert await found(storage, workflow_name="r_s") == [held.instance_id]
    assert await found(storage, workflow_name="%") == []
    assert await found(storage, status="failed") == [held.instance_id]
    assert await found(storage, status="running") == [other.instance_id]
    assert await found(storage, status="running", input_filters={"b": "x"}) == []
    assert await found(storage, input_filters={"a": 1, "b": "y"}) == [other.instance_id]
    assert await found(storage, instance_id=other.instance_id[3:].upper()) == [other.instance_id]


async def test_an_instance_is_found_as_it_is_shown_alone(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "pay:1"))
    page = await storage.find_instances(search())
    assert page["instances"] == [await storage.get_instance(held.instance_id)]
    assert page["instances"][0]["current_activity_id"] == "pay:1"


async def test_times_are_inclusive_in_any_zone(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    shown_one = await storage.get_instance(held.instance_id)
    assert shown_one is not None
    at = datetime.fromisoformat(str(shown_one["started_at"]))
    for moment in (at, at.replace(tzinfo=None), at.astimezone()):
        assert await found(storage, started_after=moment, started_before=moment) == [held.instance_id]
    later, earlier = at + timedelta(microseconds=1), at - timedelta(microseconds=1)
    assert await found(storage, started_after=later) == []
    assert await found(storage, started_before=earlier) == []


async def pages(storage: SQLAlchemyStorage, **criteria: Any) -> list[list[str]]:
    result: list[list[str]] = []
    token = None
    while True:
        page = await storage.find_instances(search(page_token=token, **criteria))
        result.append([instance["instance_id"] for instance in page["instances"]])
        token = page["next_page_token"]
        assert page["has_more"] == (token is not None)
        if token is None:
            return result
        # What comes in between belongs to no page: it is newer than all of them.
        await run_of(storage, input_data='{"even":true}')


async def test_pages_neither_repeat_nor_omit_at_equal_times(storage: SQLAlchemyStorage) -> None:
    ids = [f"i{number:02}" for number in range(7)]
    for instance_id in ids:
        await add(storage, instance_id)
    await _at_one_time(storage)
    assert await pages(storage, limit=3) == [ids[:-4:-1], ids[-4:-7:-1], ids[:1]]


async def test_pages_of_what_had_to_be_read_are_whole(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "CHUNK", 4)
    for number in range(12):
        await add(storage, f"i{number:02}", input_data=dumps({"even": number % 2 == 0 or None}))
    await _at_one_time(storage)
    odd = [f"i{number:02}" for number in range(11, 0, -2)]
    assert await pages(storage, limit=2, input_filters={"even": None}) == [odd[:2], odd[2:4], odd[4:]]
    assert await pages(storage, limit=6, input_filters={"even": None}) == [odd]


async def _at_one_time(storage: SQLAlchemyStorage) -> None:
    async with storage.engine.begin() as connection:
        long_ago = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
        await connection.execute(update(workflow_instances).values(started_at=long_ago))


async def test_a_page_is_read_in_the_order_of_the_index(storage: SQLAlchemyStorage) -> None:
    for criteria in ({}, {"status": "failed"}, {"workflow_name": "x"}, {"page": True}):
        plan = await plan_of(storage, shown.candidates(_search(criteria), _search(criteria).after, 50), {})
        assert "ix_workflow_instances_started_at_instance_id" in plan, plan
        assert "sort" not in plan, plan
        assert "temp b-tree" not in plan, plan


def _search(criteria: dict[str, Any]) -> Search:
    if not criteria.pop("page", False):
        return search(**criteria)
    place = Place(datetime.fromisoformat("2020-01-01T00:00:00+00:00"), "x")
    return search(page_token=place.token)
