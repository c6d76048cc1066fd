"""The state of models and dataclasses as a dict, and objects made from it without their constructors."""

from __future__ import annotations

import dataclasses
from copy import deepcopy
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from pydantic.fields import ModelPrivateAttr
from pydantic_core import PydanticUndefined

from edda.codec.classes import per_class

_HEAP_TYPE = 1 << 9


@per_class
def has_state(cls: type) -> bool:
    """Whether the class is a model, or a dataclass that is not also a list, an exception or the like."""
    if issubclass(cls, BaseModel):
        return True
    return dataclasses.is_dataclass(cls) and all(base.__flags__ & _HEAP_TYPE for base in cls.__mro__[:-1])


def take_state(value: Any) -> dict[str, Any]:
    """Everything a model or dataclass instance holds, by name.

    Left out are fields a model excludes from its dump, and cached properties, which are
    computed again. Private attributes of a model are part of it.
    """
    if isinstance(value, BaseModel):
        return _take_model(value)
    cls = type(value)
    state = {name: getattr(value, name) for name in _field_names(cls) if hasattr(value, name)}
    more = getattr(value, "__dict__", {})
    if len(more) > len(state):
        cached = _cached_names(cls)
        state.update((name, item) for name, item in more.items() if name not in cached)
    return state


def _take_model(value: BaseModel) -> dict[str, Any]:
    held, extra, private = value.__dict__, value.__pydantic_extra__, value.__pydantic_private__
    state = {name: held[name] for name in kept_fields(type(value)) if name in held}
    if extra:
        state.update(extra)
    if private:
        state.update(private)
    return state


@per_class
def kept_fields(cls: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a model that it does not exclude from its dump."""
    return tuple(name for name, field in cls.model_fields.items() if not field.exclude)


@per_class
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


@per_class
def _cached_names(cls: type) -> frozenset[str]:
    found = {name: item for base in reversed(cls.__mro__) for name, item in vars(base).items()}
    return frozenset(name for name, item in found.items() if isinstance(item, cached_property))


def from_state(cls: type, state: dict[str, Any]) -> Any:
    """A new object of a model or dataclass with this state; neither constructor nor validator runs.

    A field that the state does not have gets its default. Raises ValueError if it has none.
    """
    if issubclass(cls, BaseModel):
        return _build_model(cls, state)
    value = object.__new__(cls)
    for name, item in (_default_fields(cls, state) | state).items():
        object.__setattr__(value, name, item)
    return value


def _default_fields(cls: Any, state: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in state:
            continue
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
        elif field.init:
            raise ValueError(f"no value is stored for the field {field.name!r} of {cls.__qualname__}")
    return defaults


def _build_model(cls: type[BaseModel], state: dict[str, Any]) -> BaseModel:
    fields, private_names = cls.model_fields, cls.__private_attributes__
    held: dict[str, Any] = {}
    for name, field in fields.items():
        if name in state:
            held[name] = state[name]
        elif field.is_required():
            raise ValueError(f"no value is stored for the field {name!r} of {cls.__qualname__}")
        else:
            held[name] = field.get_default(call_default_factory=True, validated_data=held)
    extra = {name: item for name, item in state.items() if name not in fields and name not in private_names}
    value = cls.__new__(cls)
    object.__setattr__(value, "__dict__", held)
    object.__setattr__(value, "__pydantic_fields_set__", set(held))
    object.__setattr__(
        value, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None
    )
    object.__setattr__(value, "__pydantic_private__", _private(cls, state, held))
    return value


def _private(cls: type[BaseModel], state: dict[str, Any], held: dict[str, Any]) -> dict[str, Any] | None:
    # A model without private attributes has None there, and compares unequal to one with {}.
    private: dict[str, Any] = {}
    for name, attribute in cls.__private_attributes__.items():
        item = state[name] if name in state else _private_default(attribute, held | private)
        if item is not PydanticUndefined:
            private[name] = item
    return private if cls.__private_attributes__ else None


def _private_default(attribute: ModelPrivateAttr, validated: dict[str, Any]) -> Any:
    # The method for this differs between the versions of pydantic, what it does is the same.
    factory: Any = attribute.default_factory
    if factory is None:
        return deepcopy(attribute.default)
    return (
        factory(validated) if getattr(attribute, "default_factory_takes_validated_data", False) else factory()
    )
