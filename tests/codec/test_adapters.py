"""What pydantic writes is taken only if it gives the value back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import TypeAdapter

from edda.codec.adapters import NotRestorableError, model_adapter, read_exactly, write_exactly
from tests.support.kinds import Aliased, Computed, Counting, Hiding, Item, Loose, Order, SpecialItem
from tests.support.naming import case_name


@pytest.mark.parametrize(
    ("annotation", "value", "json"),
    [
        (Item, Item(sku="a"), {"sku": "a", "quantity": 1, "price": "9.99"}),
        (Aliased, Aliased(orderNumber=1, **{"in": "x"}), {"number": 1, "text": "x"}),
        (Computed, Computed(side=2), {"side": 2}),
        (Hiding, Hiding(shown=1), {"shown": 1}),
        (dict[int, Item], {}, {}),
        (tuple[int, str], (1, "a"), [1, "a"]),
    ],
)
def test_what_gives_the_value_back_is_written(annotation: Any, value: Any, json: Any) -> None:
    adapter = TypeAdapter(annotation)

    assert write_exactly(adapter, value) == json
    assert read_exactly(adapter, json) == value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Item, SpecialItem(sku="a")),
        (Item, {"sku": "a"}),
        (Item, Item(sku="\0")),
        (Item, Item(sku="\ud800")),
        (Order, Order.model_construct(id="not an int")),
        (Counting, Counting(count=1)),
        (Loose, Loose(anything=dt.date(2024, 1, 1))),
        (int, True),
        (float, float("nan")),
        (object, object()),
    ],
    ids=case_name,
)
def test_everything_else_is_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(NotRestorableError):
        write_exactly(TypeAdapter(annotation), value)


def test_the_adapter_of_a_model_is_built_once() -> None:
    assert model_adapter(Item) is model_adapter(Item)
