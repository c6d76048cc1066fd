"""One value as plain JSON, and back as it was.

With an annotation that gives the value back, the JSON stands alone. Otherwise ``types``
stands beside it and says what plain JSON has lost; then the annotation is not asked. A
value comes back equal and of the same type, all through, apart from this:

* a field that a model excludes from its dump is not stored and comes back as its default;
  computed fields and cached properties are computed again; ``model_fields_set`` names all
  fields; private attributes are kept where they can be stored;
* a model is validated when it is read. If that does not give the same model at once (a
  validator that changes what it has already changed), its fields are kept without
  validation. A validator whose verdict changes later, with the clock for instance, can
  make a stored model unreadable;
* subclasses of list, tuple, dict and set, and of times, ids and decimals, come back as the
  built-in class, which is equal; a model's times in UTC may carry another tzinfo class.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from edda.codec.adapters import NotRestorableError, read_exactly, write_exactly
from edda.codec.hints import build_adapter, for_arguments, is_better_noted, is_checked, is_json
from edda.codec.plain import NotPlainError, snapshot
from edda.codec.readers import read
from edda.codec.writers import write
from edda.exceptions import StoredValueError
from edda.types import JSONObject, JSONValue

logger = logging.getLogger(__name__)

_AS_IT_IS: JSONObject = {"": "json"}


class Encoded(NamedTuple):
    """A value as plain JSON; ``types`` maps JSON pointers to notes, None: the annotation tells."""

    json: JSONValue
    types: JSONObject | None = None


class ValueCodec:
    """Stores values of one annotation; ``Any`` is none.

    >>> from datetime import date
    >>> ValueCodec(date).dump(date(2024, 2, 29), "result")
    Encoded(json='2024-02-29', types=None)
    >>> ValueCodec().dump({"due": date(2024, 2, 29)}, "result")
    Encoded(json={'due': '2024-02-29'}, types={'/due': 'date'})
    >>> ValueCodec().load(Encoded({"due": "2024-02-29"}, {"/due": "date"}))
    {'due': datetime.date(2024, 2, 29)}
    """

    def __init__(self, annotation: Any = Any) -> None:
        self.annotation = annotation

    def dump(self, value: Any, where: str) -> Encoded:
        """The value as it is stored: a copy, which later changes of the value do not reach.

        A value that does not match the annotation is stored as it is. Raises TypeError
        naming the place if it cannot be stored, e.g. ``result.items[3].socket: a value of
        type socket.socket cannot be stored``.
        """
        try:
            if self._writing_adapter is None:
                return Encoded(snapshot(value), self._unnoted)
            return Encoded(write_exactly(self._writing_adapter, value))
        except NotPlainError:
            pass
        except NotRestorableError as error:
            logger.debug("%s does not match %r: %s", where, self.annotation, error.__cause__)
        json, notes = write(value, where)
        return Encoded(json, notes or self._unnoted)

    def load(self, encoded: Encoded) -> Any:
        """The value that was dumped.

        Raises :class:`edda.exceptions.StoredValueError` if the classes involved are gone or
        no longer accept it.
        """
        json, types = encoded
        if types:
            return read(json, types)
        adapter = self._reading_adapter
        if adapter is None:
            return json
        try:
            return read_exactly(adapter, json)
        except Exception as error:  # validators are user code
            raise StoredValueError(
                f"the stored value no longer matches {self.annotation!r}: {error}"
            ) from error

    @cached_property
    def _reading_adapter(self) -> TypeAdapter[Any] | None:
        return None if is_json(self.annotation) else build_adapter(self.annotation)

    @cached_property
    def _writing_adapter(self) -> TypeAdapter[Any] | None:
        return None if is_better_noted(self.annotation) else self._reading_adapter

    @cached_property
    def _unnoted(self) -> JSONObject | None:
        """What stands beside plain JSON: nothing, unless the annotation would change it on reading."""
        return None if self._reading_adapter is None else _AS_IT_IS


class ArgumentCodec(ValueCodec):
    """Stores arguments of one parameter, which may come from outside as plain JSON.

    Plain JSON is stored as it is, without a note, and restored to the annotation.

    >>> from datetime import date
    >>> codec = ArgumentCodec(date)
    >>> codec.load(codec.dump("2024-02-29", "input.due"))
    datetime.date(2024, 2, 29)
    """

    def dump(self, value: Any, where: str) -> Encoded:
        """The argument as it is stored; raises TypeError naming the place if it cannot be."""
        try:
            return Encoded(snapshot(value))
        except NotPlainError:
            pass
        encoded = super().dump(value, where)
        return Encoded(encoded.json) if encoded.types is _AS_IT_IS else encoded

    def load(self, encoded: Encoded) -> Any:
        """The argument, restored to the annotation.

        What does not match stays as it is, with a line in the log; but if the annotation
        names a model, dataclass, typed dict, enum or constraint, pydantic's
        ``ValidationError`` is raised.
        """
        json, types = encoded
        value = read(json, types) if types else json
        adapter = self._lenient_adapter
        if adapter is None:
            return value
        try:
            if types:
                return adapter.validate_python(value, by_alias=True, by_name=True)
            return adapter.validate_json(to_json(json), by_alias=True, by_name=True)
        except ValidationError as error:
            if is_checked(self.annotation):
                raise
            logger.debug("An argument does not match %r and stays as it is: %s", self.annotation, error)
            return value

    @cached_property
    def _lenient_adapter(self) -> TypeAdapter[Any] | None:
        return None if is_json(self.annotation) else build_adapter(for_arguments(self.annotation))
