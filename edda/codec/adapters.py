"""Pydantic's adapters, and the one way in which this library writes and reads with them.

Fields go by their names, whatever aliases a model declares: what is written can always be
read. Computed fields are left out, since they are computed again.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import from_json, to_json

from edda.codec.classes import per_class
from edda.codec.sameness import same
from edda.types import JSONValue


class NotRestorableError(Exception):
    """The JSON form of a value does not give the value back."""


def write_exactly(adapter: TypeAdapter[Any], value: Any) -> JSONValue:
    """The JSON form of a value, if reading it gives the same value; else :class:`NotRestorableError`."""
    try:
        text = adapter.dump_json(value, by_alias=False, round_trip=True, warnings="none")
        restored = adapter.validate_json(text, by_alias=False, by_name=True)
        exact = same(value, restored) and rb"\u0000" not in text
    except Exception as error:  # validators and serializers are user code
        raise NotRestorableError from error
    if not exact:
        raise NotRestorableError
    json: JSONValue = from_json(text)
    return json


def read_exactly(adapter: TypeAdapter[Any], json: JSONValue) -> Any:
    """The value of a JSON form that :func:`write_exactly` returned."""
    return adapter.validate_json(to_json(json), by_alias=False, by_name=True)


@per_class
def model_adapter(cls: type[BaseModel]) -> TypeAdapter[Any]:
    """The adapter of a model class, built once."""
    return TypeAdapter(cls)
