"""Classes by name: how a note says which class a value had, and how it is found again.

Names come out of the database and are not trusted. A name is only ever looked up, never
evaluated; attributes are read from the namespaces of modules and classes, so no property
and no lazy import runs. What is found is used only by callers that check its kind.

A module that is not loaded is imported only if it is inside a package which the
application has loaded already and which is not the standard library's. So a row can make
a worker load a sibling of its own modules, but not any module of the installation.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel

logger = logging.getLogger(__name__)

# Classes that no other process can find by name, kept so that this one still can.
_LOCAL_LIMIT = 4096
_local: dict[str, type] = {}
_CACHED_CLASSES = 4096
_PARAMETERS = (BaseModel, Enum, str, int, float, bytes, date, datetime, time, timedelta, Decimal, UUID)


R = TypeVar("R")


def per_class(func: Callable[[Any], R]) -> Callable[[Any], R]:
    """Remember what a function of a class returns, for the classes that were asked for last."""
    return cast("Callable[[Any], R]", lru_cache(maxsize=_CACHED_CLASSES)(func))


def class_name(cls: type) -> str:
    """``module:QualName``, by which :func:`find_class` finds the class again.

    A parametrised generic model is named with its parameters:
    ``app.models:Page[app.models:Item]``. A class that cannot be imported by name (defined
    inside a function, or hidden by another object) is remembered by this process, and
    only this process can restore it.

    >>> class_name(Decimal)
    'decimal:Decimal'
    """
    name = _importable_name(cls)
    if name is not None:
        return name
    name = f"{cls.__module__}:{cls.__qualname__}"
    if _local.get(name) is not cls:
        _remember(name, cls)
    return name


@per_class
def _importable_name(cls: type) -> str | None:
    origin, parameters = _generic_parts(cls)
    if origin is None:
        name = f"{cls.__module__}:{cls.__qualname__}"
    elif all(isinstance(parameter, type) for parameter in parameters):
        name = f"{class_name(origin)}[{','.join(map(class_name, parameters))}]"
    else:
        return None
    return name if _import_class(name) is cls else None


def _generic_parts(cls: type) -> tuple[type | None, tuple[Any, ...]]:
    metadata = cls.__dict__.get("__pydantic_generic_metadata__") or {}
    return metadata.get("origin"), metadata.get("args", ())


def _remember(name: str, cls: type) -> None:
    logger.warning("%s cannot be imported by name: only this process can restore it", name)
    _local.pop(name, None)
    _local[name] = cls
    while len(_local) > _LOCAL_LIMIT:
        del _local[next(iter(_local))]


def find_class(name: str) -> type | None:
    """The class of that name, or None; see the module about what is never done to find it.

    >>> find_class("decimal:Decimal")
    <class 'decimal.Decimal'>
    >>> find_class("no.such.module:Thing") is None
    True
    """
    local = _local.get(name)
    return _import_class(name) if local is None else local


def _import_class(name: str) -> type | None:
    if name.endswith("]"):
        return _import_generic(name)
    module_name, _, qualname = name.partition(":")
    module = _module(module_name)
    if module is None:
        return None
    found: Any = module
    for part in qualname.split("."):
        found = vars(found).get(part)
        if not isinstance(found, type):
            return None
    return cast("type", found)


def _import_generic(name: str) -> type | None:
    origin_name, _, rest = name[:-1].partition("[")
    origin = find_class(origin_name)
    parameters = [find_class(part) for part in _split(rest)]
    if origin is None or not issubclass(origin, BaseModel) or not all(map(_is_parameter, parameters)):
        return None
    try:
        found = origin[tuple(parameters)]  # type: ignore[index]  # a generic model, or TypeError
    except TypeError:
        return None
    return found if isinstance(found, type) else None


def _is_parameter(cls: type | None) -> bool:
    return cls is not None and (issubclass(cls, _PARAMETERS) or dataclasses.is_dataclass(cls))


def _split(parameters: str) -> Iterator[str]:
    depth, start = 0, 0
    for index, char in enumerate(parameters):
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            yield parameters[start:index]
            start = index + 1
    yield parameters[start:]


def _module(name: str) -> ModuleType | None:
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    parts = name.split(".")
    package = parts[0]
    if package not in sys.modules or package in sys.stdlib_module_names:
        return None
    # Running a program is not loading a class.
    if "__main__" in parts or not all(part.isidentifier() for part in parts):
        return None
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything while it loads
        logger.debug("Module %s could not be imported: %s", name, error)
        return None
