"""Functions by the name under which another process finds them.

What is registered as a compensation is stored by name. A function of a module is imported
by it; one that is local to another function is known to its own process only.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

_remembered: dict[str, Callable[..., Any]] = {}


def reference_of(function: Callable[..., Any]) -> str:
    """The name of a function, ``module:qualified.name``.

    The method of an object gets a name that finds nothing: the object is not to be had.

    >>> reference_of(reference_of)
    'edda.references:reference_of'
    """
    name = f"{function.__module__}:{function.__qualname__}"
    bound = inspect.ismethod(function) and not inspect.isclass(function.__self__)
    return f"{name}.<bound>" if bound else name


def remember(function: Callable[..., Any]) -> None:
    """Have :func:`find` know this function; of several that share a name, the newest."""
    _remembered[reference_of(function)] = function


def find(reference: str) -> Callable[..., Any] | None:
    """What has this name in its module, else a remembered function, else None.

    >>> find("edda.references:find") is find, find("edda.references:lost")
    (True, None)
    """
    return _imported(reference) or _remembered.get(reference)


def _imported(reference: str) -> Callable[..., Any] | None:
    module, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ModuleNotFoundError, AttributeError):
        return None
    except Exception:  # a module of the user: whatever it raises, the function cannot be had
        logger.exception("Cannot import %s", module)
        return None
    return found if callable(found) else None
