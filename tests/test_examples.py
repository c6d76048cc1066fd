"""Every example runs: its app starts, takes its events, and its workflow completes."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.asgi import Response, lifespan, request
from tests.support.eventually import eventually
from tests.support.loading import load
from tests.support.served import completed, steps
from tests.support.sink import running_sink
from tests.support.stories import STORIES
from tests.support.workers import PROJECT, Workers

EXAMPLES = PROJECT / "examples"
TESTED = {
    "order_saga.py": "here",
    "outbox.py": "here",
    "travel_booking.py": "here",
    "demo.py": "tests/acceptance/test_demo.py",
    "two_workers.py": "tests/acceptance/test_two_workers_example.py",
    **{f"{name}.py": "tests/acceptance/test_example_stories.py" for name in STORIES},
}


@dataclass
class _Shop:
    module: ModuleType
    database: Path

    async def post(self, event_type: str, data: dict[str, Any], event_id: str = "1") -> Response:
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "/test",
            "type": event_type,
            "data": data,
        }
        return await request(
            self.module.app,
            "POST",
            "/",
            headers={"content-type": "application/cloudevents+json"},
            body=json.dumps(event).encode(),
        )

    async def shipped(self, count: int = 1) -> dict[str, Any]:
        """The results of the orders by instance, as soon as so many have completed."""

        def check() -> dict[str, Any]:
            results = completed(self.database, "order_saga")
            assert len(results) == count
            return results

        return await eventually(check)


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Shop]:
    """The example, freshly loaded, with an empty database and steps that take no time."""
    monkeypatch.setenv("EDDA_DB_URL", f"sqlite:///{tmp_path}/shop.db")
    monkeypatch.setenv("EDDA_STEP_SECONDS", "0")
    monkeypatch.setattr(importlib.import_module("edda.workflow"), "_registry", {})
    module = load(EXAMPLES / "order_saga.py", monkeypatch)
    async with lifespan(module.app):
        yield _Shop(module, tmp_path / "shop.db")


def test_every_example_is_run_by_a_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(TESTED)


def test_every_example_is_in_the_list() -> None:
    listed = re.findall(r"^\| \[(\w+\.py)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(TESTED)


async def test_an_event_of_its_name_takes_an_order_through_all_steps(shop: _Shop) -> None:
    response = await shop.post("order_saga", {"order_id": "o-1", "amount": 12.5})
    assert (response.status, response.json()) == (202, {"status": "accepted"})
    [(instance_id, result)] = (await shop.shipped()).items()
    assert result == {
        "order_id": "o-1",
        "payment": {"reference": "payment-o-1-12.50", "process": os.getpid()},
        "shipment": {"reference": "shipment-o-1", "process": os.getpid()},
    }
    assert [
        (step["activity_name"], step["result"]["process"]) for step in steps(shop.database, instance_id)
    ] == [
        ("reserve_inventory", os.getpid()),
        ("charge_payment", os.getpid()),
        ("book_shipping", os.getpid()),
        ("send_confirmation", os.getpid()),
    ]


async def test_the_event_of_another_system_is_translated_into_one_order(shop: _Shop) -> None:
    for _ in range(2):
        response = await shop.post("till.checkout", {"cart": "o-2", "total": "7.25"})
        assert response.status == 202
    [result] = (await shop.shipped()).values()
    assert result["payment"]["reference"] == "payment-o-2-7.25"


async def test_the_same_event_twice_makes_one_order(shop: _Shop) -> None:
    for event_id in ("1", "1", "2"):
        await shop.post("order_saga", {"order_id": f"o-{event_id}", "amount": 1}, event_id)
    results = await shop.shipped(2)
    assert sorted(result["order_id"] for result in results.values()) == ["o-1", "o-2"]


async def test_an_event_without_the_arguments_is_refused(shop: _Shop) -> None:
    response = await shop.post("order_saga", {"order_id": "o-1"})
    assert (response.status, response.json()["retryable"]) == (400, False)
    assert completed(shop.database, "order_saga") == {}


async def test_a_completed_order_is_announced(shop: _Shop, capsys: pytest.CaptureFixture[str]) -> None:
    await shop.post("order_saga", {"order_id": "o-1", "amount": 1})
    said: list[str] = []

    def check() -> None:
        said.extend(capsys.readouterr().out.splitlines())
        assert said[-1].endswith("o-1: completed, shipment-o-1 is on its way")

    await eventually(check, retry_on=(AssertionError, IndexError))
    assert [line.split(": ")[1] for line in said[:-1]] == [
        "reserve_inventory begins",
        "charge_payment begins",
        "book_shipping begins",
        "send_confirmation begins",
    ]


async def test_an_order_is_announced_to_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDDA_DB_URL", f"sqlite:///{tmp_path}/outbox.db")
    monkeypatch.setattr(importlib.import_module("edda.workflow"), "_registry", {})
    async with running_sink() as sink:
        monkeypatch.setenv("EDDA_BROKER_URL", sink.url)
        module = load(EXAMPLES / "outbox.py", monkeypatch)
        async with lifespan(module.app):
            shop = _Shop(module, tmp_path / "outbox.db")
            response = await shop.post("place_order", {"order_id": "o-1", "amount": 12.5})
            assert response.status == 202
            placed, paid = (received.event for received in await sink.takes(2))
    assert (placed["type"], placed["data"]) == ("order.placed", {"order_id": "o-1", "amount": 12.5})
    assert (paid["type"], paid["subject"]) == ("order.paid", "o-1")
    assert paid["data"] == {"receipt": "payment-o-1-12.50"}


async def test_the_trips_are_told_as_the_example_says(workers: Workers) -> None:
    process = await workers.start(EXAMPLES / "travel_booking.py")
    assert await process.wait() == 0, process.output
    docstring = ast.get_docstring(ast.parse((EXAMPLES / "travel_booking.py").read_text())) or ""
    story = re.findall(r"^    ((?:Ada|Bob|Cleo) .*)$", docstring, re.MULTILINE)
    assert [line for line in process.lines if line] == story
    assert len(story) > 15
