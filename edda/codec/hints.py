"""What an annotation says about JSON: nothing, something to restore, something to check."""

from __future__ import annotations

import dataclasses
import logging
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import typing_extensions
from pydantic import BaseModel, BeforeValidator, TypeAdapter

logger = logging.getLogger(__name__)

# Annotations to which JSON as it is conforms; what does not conform stays as it is all the same.
_JSON_TYPES: Final = frozenset(
    {Any, object, str, int, float, bool, None, type(None), list, dict, Sequence, Mapping}
)
# Pydantic writes these in its own alphabet or in an order of chance; the notes do it better.
_NOTED_TYPES: Final = (bytes, bytearray, set, frozenset)


def is_json(annotation: Any) -> bool:
    """Whether plain JSON needs nothing to conform to the annotation.

    >>> is_json(dict[str, list[int]]), is_json(dict[int, str]), is_json(tuple[int, ...])
    (True, False, False)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return _is_member(annotation, _JSON_TYPES)
    if origin is Literal:
        return not any(isinstance(argument, (Enum, bytes)) for argument in arguments)
    if origin is dict or origin is Mapping:
        return arguments[0] is str and is_json(arguments[1])
    return origin in {list, Sequence, Union, types.UnionType} and all(map(is_json, arguments))


def _is_member(annotation: Any, collection: frozenset[Any]) -> bool:
    try:
        return annotation in collection
    except TypeError:
        return False


def is_better_noted(annotation: Any) -> bool:
    """Whether values of the annotation are stored with notes although it would restore them."""
    return any(isinstance(leaf, type) and issubclass(leaf, _NOTED_TYPES) for leaf in _leaves(annotation))


def is_checked(annotation: Any) -> bool:
    """Whether an argument that does not match is an error: it describes a shape, or a constraint.

    >>> is_checked(BaseModel), is_checked(int)
    (True, False)
    """
    return any(map(_describes, _leaves(annotation)))


def _describes(leaf: Any) -> bool:
    if get_origin(leaf) is Annotated or is_typeddict(leaf):
        return True
    return isinstance(leaf, type) and (issubclass(leaf, (BaseModel, Enum)) or dataclasses.is_dataclass(leaf))


def _leaves(annotation: Any) -> Iterator[Any]:
    """The annotation and all it is made of."""
    yield annotation
    origin = get_origin(annotation)
    if origin is None or origin is Literal:
        return
    yield origin
    for argument in get_args(annotation):
        yield from _leaves(argument)


def build_adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """Pydantic's adapter for an annotation; None, with a line in the log, if it cannot make one."""
    try:
        return TypeAdapter(_for_pydantic(annotation))
    except Exception as error:  # noqa: BLE001 - building may run code of the annotated classes
        logger.debug("Values annotated %r are treated as not annotated: %s", annotation, error)
        return None


def for_arguments(annotation: Any) -> Any:
    """The annotation for input from outside: an enum takes the name of a member too, in any case."""
    return _rewrite(annotation, _lenient_enum)


def _for_pydantic(annotation: Any) -> Any:
    """The annotation in terms that pydantic takes on this version of Python."""
    return annotation if sys.version_info >= (3, 12) else _rewrite(annotation, _extended_typed_dict)


def _rewrite(annotation: Any, change: Callable[[Any], Any]) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return change(annotation)
    if origin is Literal or origin is Annotated:
        return annotation
    changed = tuple(_rewrite(argument, change) for argument in arguments)
    if changed == arguments:
        return annotation
    if origin is types.UnionType or origin is Union:
        return Union[changed]  # noqa: UP007 - made of a tuple
    return origin[changed]


def _lenient_enum(leaf: Any) -> Any:
    if isinstance(leaf, type) and issubclass(leaf, Enum):
        return Annotated[leaf, BeforeValidator(lambda value: _member(leaf, value))]
    return leaf


def _member(cls: type[Enum], value: Any) -> Any:
    """A member by value, then by name, then by upper-cased name; else the value, for pydantic to refuse."""
    if not isinstance(value, str) or any(member.value == value for member in cls):
        return value
    return cls.__members__.get(value) or cls.__members__.get(value.upper(), value)


def _extended_typed_dict(leaf: Any) -> Any:
    if not is_typeddict(leaf) or type(leaf) is not _PLAIN_TYPED_DICT:
        return leaf
    hints = get_type_hints(leaf, include_extras=True)
    fields = {name: _field(hint, name in leaf.__required_keys__) for name, hint in hints.items()}
    make: Any = typing_extensions.TypedDict
    return make(leaf.__name__, fields)


def _field(hint: Any, required: bool) -> Any:  # noqa: FBT001 - one of the two forms
    # A marker inside a hint that was text is known only now that the hint is resolved.
    marker = get_origin(hint)
    if marker in {typing.Required, typing.NotRequired}:
        (hint,) = get_args(hint)
        required = marker is typing.Required
    hint = _for_pydantic(hint)
    return typing.Required[hint] if required else typing.NotRequired[hint]


class _Plain(typing.TypedDict):
    """Shows which class makes the typed dicts of this version of Python."""


_PLAIN_TYPED_DICT: Final = type(_Plain)
