"""Arguments of a function as JSON, by its signature and its type hints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import Parameter
from typing import Any, Optional, cast

from pydantic import BaseModel

from edda.codec.json import loads
from edda.codec.plain import NotPlainError, is_text, snapshot
from edda.codec.signatures import awaited, resolved_hints, signature_of
from edda.codec.values import ArgumentCodec, Encoded, ValueCodec
from edda.types import JSONObject, JSONValue

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class FunctionCodec:
    """Stores the arguments and the result of one function, whose first parameter is the context.

    Signature and type hints are looked at on first use. A hint that cannot be resolved, such
    as a class that is local to another function, counts as no annotation.

    >>> from datetime import date
    >>> async def remind(ctx, due: date, text: str = "") -> None: ...
    >>> codec = FunctionCodec(remind)
    >>> stored = codec.dump_kwargs({"due": "2024-02-29"})
    >>> stored.json
    {'due': '2024-02-29'}
    >>> codec.load_kwargs(stored)
    {'due': datetime.date(2024, 2, 29)}
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func

    @cached_property
    def result(self) -> ValueCodec:
        """The codec of what the function returns, of a coroutine function when awaited."""
        return ValueCodec(awaited(self._hints.get("return", Any)))

    def dump_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Encoded:
        """A call without its context as ``{"args": [...], "kwargs": {...}}``.

        Raises TypeError naming the place of an argument that cannot be stored.
        """
        try:
            return Encoded({"args": snapshot(list(args)), "kwargs": snapshot(dict(kwargs))})
        except NotPlainError:
            pass
        return self._dump_call_typed(args, kwargs)

    def _dump_call_typed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Encoded:
        types: JSONObject = {}
        positions = self._positional_codecs(len(args))
        args_json: list[JSONValue] = []
        for index, (codec, value) in enumerate(zip(positions, args, strict=True)):
            encoded = codec.dump(value, f"args[{index}]")
            args_json.append(encoded.json)
            types.update(_below(f"/args/{index}", encoded))
        kwargs_json, kwargs_types = self._dump_named(kwargs, "kwargs")
        types.update((f"/kwargs{pointer}", note) for pointer, note in kwargs_types.items())
        return Encoded({"args": args_json, "kwargs": kwargs_json}, types or None)

    def dump_kwargs(self, kwargs: Mapping[str, Any]) -> Encoded:
        """Keyword arguments as a JSON object; keys that the function does not name are kept.

        Raises TypeError naming the place of an argument that cannot be stored.
        """
        json, types = self._dump_named(kwargs, "input")
        return Encoded(json, types or None)

    def _dump_named(self, kwargs: Mapping[str, Any], where: str) -> tuple[JSONObject, JSONObject]:
        json: JSONObject = {}
        types: JSONObject = {}
        for name, value in kwargs.items():
            if not is_text(name):
                raise TypeError(f"{where}: the name {name!r} of an argument cannot be stored")
            encoded = self._codec(name).dump(value, f"{where}.{name}")
            json[name] = encoded.json
            types.update(_below(f"/{_escape(name)}", encoded))
        return json, types

    def load_kwargs(self, encoded: Encoded) -> dict[str, Any]:
        """The keyword arguments to call the function with, restored to its type hints.

        Keys that the function does not name are left out, unless it takes ``**kwargs``. If
        a pydantic model is its only parameter and the input has no key of that name, the
        whole input is that model. Raises TypeError for a required parameter without a
        value and pydantic's ``ValidationError`` for a value that does not fit.
        """
        given = _split_types(encoded)
        flat = self._flat_model
        if flat is not None and flat not in given and (given or self._is_required(flat)):
            return {flat: self._codec(flat).load(encoded)}
        for name in self._required:
            if name not in self._named:
                raise TypeError(f"{self._title} takes {name!r} by position only, and inputs have names")
            if name not in given:
                raise TypeError(f"{self._title} is missing the required parameter {name!r}")
        return {name: self._codec(name).load(value) for name, value in given.items() if self._accepts(name)}

    def load_kwargs_text(self, json: str, types: str | None) -> dict[str, Any]:
        """As :meth:`load_kwargs`, from the texts of the JSON object and its notes."""
        notes = None if types is None else cast("JSONObject", loads(types))
        return self.load_kwargs(Encoded(loads(json), notes))

    def load_call(self, encoded: Encoded) -> tuple[list[Any], dict[str, Any]]:
        """The counterpart of :meth:`dump_call`: both kinds of arguments, restored to the type hints.

        Raises pydantic's ``ValidationError`` or :class:`~edda.exceptions.StoredValueError`
        for a value that does not fit.

        >>> from datetime import date
        >>> async def remind(ctx, due: date, text: str) -> None: ...
        >>> codec = FunctionCodec(remind)
        >>> codec.load_call(codec.dump_call([date(2024, 2, 29)], {"text": "pay"}))
        ([datetime.date(2024, 2, 29)], {'text': 'pay'})
        """
        parts = _split_types(encoded)
        args = list(_split_types(parts["args"]).values())
        kwargs = _split_types(parts["kwargs"])
        return (
            [
                codec.load(value)
                for codec, value in zip(self._positional_codecs(len(args)), args, strict=True)
            ],
            {name: self._codec(name).load(value) for name, value in kwargs.items()},
        )

    def accepts(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the function can be called with these arguments, besides the context.

        >>> async def remind(ctx, text: str) -> None: ...
        >>> FunctionCodec(remind).accepts(("hello",), {}), FunctionCodec(remind).accepts((), {})
        (True, False)
        """
        try:
            self.check_call(args, kwargs)
        except TypeError:
            return False
        return True

    def check_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise TypeError if the function cannot be called with these arguments, besides the context."""
        try:
            signature_of(self._func).bind(None, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._title}: {error}") from None

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by the names of their parameters, defaults included.

        >>> async def reserve(ctx, item, count=1, **more): ...
        >>> FunctionCodec(reserve).bound(["book"], {"gift": True})
        {'item': 'book', 'count': 1, 'gift': True}
        """
        bound = signature_of(self._func).bind(None, *args, **kwargs)
        bound.apply_defaults()
        named = dict(list(bound.arguments.items())[1:])
        rest = self._of_kind(Parameter.VAR_KEYWORD)
        more = {} if rest is None else named.pop(rest.name)
        return {**named, **more}

    def select(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of these arguments that the function takes by name.

        >>> async def release(ctx, item): ...
        >>> FunctionCodec(release).select({"item": "book", "count": 1})
        {'item': 'book'}
        """
        return {name: value for name, value in arguments.items() if self._accepts(name)}

    def required_parameters(self) -> tuple[str, ...]:
        """The parameters, besides the context, that have no default."""
        return self._required

    # What is known about the function.

    @cached_property
    def _title(self) -> str:
        return f"{getattr(self._func, '__name__', self._func)}()"

    @cached_property
    def _context(self) -> str | None:
        """The name under which an argument would be another value for the context."""
        first = next(iter(signature_of(self._func).parameters.values()), None)
        return first.name if first is not None and first.kind in _NAMED else None

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return tuple(signature_of(self._func).parameters.values())[1:]

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return resolved_hints(self._func)

    @cached_property
    def _codecs(self) -> dict[str, ValueCodec]:
        return {}

    def _codec(self, name: str) -> ValueCodec:
        """The codec of the parameter that takes the argument of this name."""
        codec = self._codecs.get(name)
        if codec is None:
            parameter = self._named.get(name) or self._of_kind(Parameter.VAR_KEYWORD)
            codec = ArgumentCodec(Any if parameter is None else self._annotation(parameter))
            # Names of the input that the function does not know may be of any number.
            if name in self._named:
                self._codecs[name] = codec
        return codec

    def _positional_codecs(self, count: int) -> Iterator[ValueCodec]:
        """The codecs of positional arguments; what is beyond the signature is not annotated."""
        kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        positional = [parameter for parameter in self._parameters if parameter.kind in kinds]
        rest = self._of_kind(Parameter.VAR_POSITIONAL)
        for index in range(count):
            parameter = positional[index] if index < len(positional) else rest
            if parameter is None:
                yield ValueCodec()
            elif parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
                yield self._codec(parameter.name)
            else:
                yield ArgumentCodec(self._annotation(parameter))

    def _of_kind(self, kind: Any) -> Parameter | None:
        return next((parameter for parameter in self._parameters if parameter.kind is kind), None)

    def _annotation(self, parameter: Parameter) -> Any:
        hint = self._hints.get(parameter.name, Any)
        if parameter.default is not None:
            return hint
        try:
            return Optional[hint]  # noqa: UP045 - a hint may be no class
        except TypeError:  # nor any other type
            return Any

    @cached_property
    def _named(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self._parameters if parameter.kind in _NAMED}

    @cached_property
    def _required(self) -> tuple[str, ...]:
        variadic = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        return tuple(
            parameter.name
            for parameter in self._parameters
            if parameter.default is Parameter.empty and parameter.kind not in variadic
        )

    def _is_required(self, name: str) -> bool:
        return name in self._required

    def _accepts(self, name: str) -> bool:
        if name in self._named:
            return True
        return name != self._context and self._of_kind(Parameter.VAR_KEYWORD) is not None

    @cached_property
    def _flat_model(self) -> str | None:
        """The only parameter, if it is annotated with a model."""
        if len(self._parameters) != 1 or not self._named:
            return None
        (name,) = self._named
        hint = self._hints.get(name)
        return name if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _below(pointer: str, encoded: Encoded) -> JSONObject:
    return {pointer + place: note for place, note in (encoded.types or {}).items()}


def _split_types(encoded: Encoded) -> dict[str, Encoded]:
    """The values of an object or an array by key, each with the notes that stand below it."""
    json = encoded.json
    items = json.items() if isinstance(json, dict) else _numbered(cast("list[JSONValue]", json))
    notes: dict[str, JSONObject] = {}
    for pointer, note in (encoded.types or {}).items():
        _, name, *rest = pointer.split("/", 2)
        name = name.replace("~1", "/").replace("~0", "~")
        notes.setdefault(name, {})["".join(f"/{part}" for part in rest)] = note
    return {name: Encoded(value, notes.get(name)) for name, value in items}


def _numbered(values: list[JSONValue]) -> Iterator[tuple[str, JSONValue]]:
    return ((str(index), value) for index, value in enumerate(values))
