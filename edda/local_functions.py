"""Functions that only this process can find, by the registration that it has seen itself.

Closures and lambdas share one name, and differ in what they hold: which of them an
instance has registered is known to the process alone in which its body ran. Never is
another one of that name executed in its place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from edda.codec.json import dumps
from edda.references import find
from edda.registrations import Change, Registered

logger = logging.getLogger(__name__)

# Instances that end elsewhere are never forgotten, so that there has to be a limit.
_MOST_INSTANCES = 10_000

_held: dict[str, dict[int, Registered]] = {}
_told: set[str] = set()
_lock = threading.Lock()


def hold_functions(instance_id: str, changes: Iterable[Change]) -> None:
    """Keep the functions of these registrations, unless they are found by their names."""
    for change in changes:
        if isinstance(change, Registered) and change.target is not None:
            _hold(instance_id, change)


def _hold(instance_id: str, registered: Registered) -> None:
    found = find(registered.function)
    if found is registered.target:
        return
    with _lock:
        if found is None and registered.function not in _told:
            _told.add(registered.function)
            logger.warning(
                "%s cannot be imported by name: only this process can execute it as a compensation",
                registered.function,
            )
        # The newest instance is the last one to be forgotten.
        of_instance = _held.pop(instance_id, {})
        of_instance[registered.compensation_id] = registered
        _held[instance_id] = of_instance
        if len(_held) > _MOST_INSTANCES:
            del _held[next(iter(_held))]


def function_of(instance_id: str, registered: Registered) -> Callable[..., Any] | None:
    """The very function that was registered, else what has its name, else None."""
    held = _held.get(instance_id, {}).get(registered.compensation_id)
    # Its number may have been given away again, by another worker, if it was never stored.
    if held is not None and dumps(held.to_json()) == dumps(registered.to_json()):
        return held.target
    return find(registered.function)


def forget_functions(instance_id: str) -> None:
    """The instance has nothing to compensate any more."""
    with _lock:
        _held.pop(instance_id, None)
