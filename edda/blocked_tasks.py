"""Whether the tasks of a run can still get on by themselves, or all wait for steps that are held back.

The answer is certain only in one direction. What a task waits for is known in a few cases: it is a
step that is held back, another task of the run, or something of the standard library that only
the end of such a task resolves, as ``gather`` and task groups do. Everything else, a
thread, a socket, an event, may happen at any moment.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import Context
from types import FunctionType, MethodType
from typing import Any

Task = asyncio.Task[Any]
Future = asyncio.Future[Any]
Owns = Callable[[Context], bool]


class EndedTasks(asyncio.Queue[Future]):
    """A queue that nothing fills but the end of tasks."""


def waiting_for(tasks: Iterable[Task]) -> dict[Task, Future] | None:
    """What each of these tasks waits for; None if one of them is about to go on."""
    found: dict[Task, Future] = {}
    for task in tasks:
        waiter: Future | None = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return None
        found[task] = waiter
    return found


def wait_for_each_other(waiting: dict[Task, Future], held: Collection[Future], owns: Owns) -> bool:
    """Whether each of these tasks waits for what is held, or for another one of them.

    ``owns`` says whether a context is one of the run: nothing else may be pending to which
    anything of the run listens.
    """
    known = {*held, *waiting, *_resolved_by(waiting)}
    if not known.issuperset(waiting.values()):
        return False
    return not any(_listens(future, owns) for future in _all_futures() if future not in known)


def has_timers(loop: asyncio.AbstractEventLoop, owns: Owns, *, but_timeouts_of: Task | None) -> bool | None:
    """Whether anything of the run happens by itself after some time; None if this loop does not say.

    ``asyncio.timeout`` does nothing but cancel its task: those of the given one are left out.
    """
    timers = _timers(loop)
    if timers is None:
        return None
    return any(
        (context is None or owns(context))
        and (but_timeouts_of is None or _task_timed_out_by(callback) is not but_timeouts_of)
        for context, callback in timers
    )


def _resolved_by(tasks: Iterable[Future]) -> set[Future]:
    """What the end of these tasks resolves, and what the end of that resolves."""
    found: set[Future] = set()
    left = list(tasks)
    while left:
        for callback in _callbacks(left.pop()):
            new = [future for future in _behind(callback) if future not in found]
            found.update(new)
            left.extend(new)
    return found


def _callbacks(future: Future) -> list[Any]:
    return [callback for callback, _ in getattr(future, "_callbacks", None) or ()]


def _behind(callback: Any) -> Iterator[Future]:
    """The futures that this callback resolves, if it is one that is known."""
    if isinstance(callback, MethodType):
        owner = callback.__self__
        if isinstance(owner, asyncio.TaskGroup):
            yield from _futures_in([getattr(owner, "_on_completed_fut", None)])
        elif isinstance(owner, EndedTasks):
            yield from _futures_in(getattr(owner, "_getters", ()))
    elif isinstance(callback, FunctionType) and callback.__module__ in _CLOSURES:
        yield from _futures_in(cell.cell_contents for cell in callback.__closure__ or () if _is_full(cell))


# gather, wait, shield; and the race.
_CLOSURES = ("asyncio.tasks", "edda.races")


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not assigned yet
        return False


def _futures_in(values: Iterable[Any]) -> Iterator[Future]:
    return (value for value in values if isinstance(value, asyncio.Future))


def _all_futures() -> Iterator[Future]:
    # By their classes: asking some other object what it is might run code of the user.
    return (thing for thing in gc.get_objects() if issubclass(type(thing), asyncio.Future))


def _listens(future: Future, owns: Owns) -> bool:
    """Whether it is pending, and something of the run is called when it is not any more."""
    if future.done():
        return False
    return any(owns(context) for _, context in getattr(future, "_callbacks", None) or ())


def _timers(loop: asyncio.AbstractEventLoop) -> list[tuple[Context | None, Any]] | None:
    """Context and callback of each timer; None for a loop of an unknown kind."""
    scheduled = getattr(loop, "_scheduled", None)
    if scheduled is not None:
        timers = [handle for handle in scheduled if not handle.cancelled()]
        return [(getattr(timer, "_context", None), getattr(timer, "_callback", None)) for timer in timers]
    if type(loop).__module__.partition(".")[0] == "uvloop":
        return [_inside(thing) for thing in gc.get_objects() if _is_timer_of_uvloop(thing)]
    return None


def _is_timer_of_uvloop(thing: Any) -> bool:
    kind = type(thing)
    if kind.__name__ != "TimerHandle" or not kind.__module__.startswith("uvloop"):
        return False
    # One that is over has let go of its timer.
    return any(type(held).__name__ == "UVTimer" for held in gc.get_referents(thing))


def _inside(handle: Any) -> tuple[Context | None, Any]:
    held = gc.get_referents(handle)
    context = next((one for one in held if isinstance(one, Context)), None)
    return context, next((one for one in held if isinstance(one, MethodType)), None)


def _task_timed_out_by(callback: Any) -> Task | None:
    owner = getattr(callback, "__self__", None)
    return getattr(owner, "_task", None) if isinstance(owner, asyncio.Timeout) else None
