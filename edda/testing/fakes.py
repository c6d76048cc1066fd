"""Activities replaced by fakes, which record how they are called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edda.activity import Activity, known_activities
from edda.codec.signatures import signature_of
from edda.context import WorkflowContext
from edda.testing.mortal_worker import check_alive


class _Unset:
    def __repr__(self) -> str:
        return "(the activity itself)"


UNSET = _Unset()


@dataclass(frozen=True)
class Call:
    """One attempt of an activity: by which instance, and its arguments by name, defaults included."""

    instance_id: str
    arguments: dict[str, Any]


class FakeActivity:
    """What stands in for an activity. ``calls`` are its attempts so far, the oldest first."""

    def __init__(
        self,
        target: Activity[Any, Any],
        *,
        returns: Any,
        does: Callable[..., Any] | None,
        raises: Any,
        times: int | None,
    ) -> None:
        if returns is not UNSET and does is not None:
            raise TypeError("a fake has either returns or does")
        if times is not None and raises is None:
            raise TypeError("times says how many calls raise: give raises as well")
        self.calls: list[Call] = []
        self._target = target
        self._func, self._is_async = target.func, target.is_async
        self._signature = signature_of(target.func)
        self._returns, self._does, self._raises, self._times = returns, does, raises, times

    def install(self) -> None:
        """Have the activity do this instead."""
        # A thread only where the activity has one: what is sync may open a session there.
        is_async = self._is_async or self._returns is not UNSET or inspect.iscoroutinefunction(self._does)
        self._target.func, self._target.is_async = self._wrapper(is_async=is_async), is_async

    @property
    def name(self) -> str:
        """The name of the activity."""
        return self._target.name

    def remove(self) -> None:
        """Have it do what it did before."""
        self._target.func, self._target.is_async = self._func, self._is_async

    def _wrapper(self, *, is_async: bool) -> Callable[..., Any]:
        @functools.wraps(self._func)
        async def call_async(ctx: WorkflowContext, *args: Any, **kwargs: Any) -> Any:
            outcome = self._call(ctx, args, kwargs)
            return await outcome if inspect.isawaitable(outcome) else outcome

        @functools.wraps(self._func)
        def call_sync(ctx: WorkflowContext, *args: Any, **kwargs: Any) -> Any:
            return self._call(ctx, args, kwargs)

        return call_async if is_async else call_sync

    def _call(self, ctx: WorkflowContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        check_alive()
        bound = self._signature.bind(ctx, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        self.calls.append(Call(ctx.instance_id, arguments))
        if self._raises is not None and (self._times is None or len(self.calls) <= self._times):
            raise self._raises
        if self._returns is not UNSET:
            return self._returns
        return (self._does or self._func)(*bound.args, **bound.kwargs)

    def __repr__(self) -> str:
        return f"<fake of {self._target.name}, called {len(self.calls)} times>"


def activity_of(target: Activity[Any, Any] | str) -> Activity[Any, Any]:
    """The activity: given, or by its name, alone or with its module before it.

    Raises ``LookupError`` for an unknown name and for one that several have, ``TypeError``
    for what is no activity.
    """
    if isinstance(target, Activity):
        return target
    if not isinstance(target, str):
        raise TypeError(f"only activities can be replaced, not {target!r}")
    known = {_full_name(each): each for each in known_activities()}
    found = [name for name in known if name == target or known[name].name == target]
    if len(found) == 1:
        return known[found[0]]
    if found:
        raise LookupError(f"Several activities are named {target!r}: {', '.join(sorted(found))}")
    names = ", ".join(sorted({each.name for each in known.values()}))
    raise LookupError(f"No activity is named {target!r}. Known are: {names or 'none'}")


def _full_name(activity: Activity[Any, Any]) -> str:
    return f"{activity.func.__module__}.{activity.func.__qualname__}"
