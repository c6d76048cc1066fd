"""Several durable operations at once, all of them, and not too many at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Coroutine, Generator, Iterable, Sequence
from typing import Any, Literal, TypeVar, overload

from edda.blocked_tasks import EndedTasks
from edda.exceptions import WorkflowSignal
from edda.refusal import retrieve_signal

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


# Like asyncio.gather, the result is typed as a tuple where the branches are of different types.
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    /,
    *,
    limit: int | None = None,
    return_exceptions: Literal[False] = False,
) -> Coroutine[Any, Any, tuple[T1, T2]]: ...
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    /,
    *,
    limit: int | None = None,
    return_exceptions: Literal[False] = False,
) -> Coroutine[Any, Any, tuple[T1, T2, T3]]: ...
@overload
def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    fourth: Awaitable[T4],
    /,
    *,
    limit: int | None = None,
    return_exceptions: Literal[False] = False,
) -> Coroutine[Any, Any, tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    *awaitables: Awaitable[T], limit: int | None = None, return_exceptions: Literal[False] = False
) -> Coroutine[Any, Any, list[T]]: ...
@overload
def gather(
    *awaitables: Awaitable[T], limit: int | None = None, return_exceptions: Literal[True]
) -> Coroutine[Any, Any, list[T | BaseException]]: ...
def gather(
    *awaitables: Awaitable[Any], limit: int | None = None, return_exceptions: bool = False
) -> Coroutine[Any, Any, Any]:
    """All results in the order given, with at most ``limit`` of the operations under way at once.

    They are started in the order given. As with ``asyncio.gather``, the first error is
    raised at once while the others that were started go on, and with
    ``return_exceptions`` errors stand in the list instead. Those that were not started
    by then never are. ``limit`` below 1 raises ``ValueError``.

    ::

        receipts = await gather(*(charge(ctx, order) for order in orders), limit=5)
    """
    if limit is not None and limit < 1:
        close_unstarted(awaitables)
        raise ValueError(f"limit must be at least 1 or None, not {limit!r}")
    gathering = _gather(deque(awaitables), limit or len(awaitables), return_exceptions=return_exceptions)
    return Together(gathering, awaitables)


async def _gather(waiting: deque[Awaitable[Any]], limit: int, *, return_exceptions: bool) -> list[Any]:
    tasks: list[asyncio.Future[Any]] = []
    running: set[asyncio.Future[Any]] = set()
    ended = EndedTasks()
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                started = asyncio.ensure_future(waiting.popleft())
                started.add_done_callback(error_of)
                started.add_done_callback(ended.put_nowait)
                tasks.append(started)
                running.add(started)
            task = await _next_ended(ended, running)
            running.discard(task)
            error = error_of(task)
            if not return_exceptions or isinstance(error, WorkflowSignal):
                task.result()
    except WorkflowSignal:
        retrieve_signal(asyncio.current_task())
        raise
    finally:
        close_unstarted(waiting)
    return [_outcome(task) for task in tasks]


def _outcome(task: asyncio.Future[Any]) -> Any:
    error = error_of(task)
    return task.result() if error is None else error  # an error may be false, as one without items


async def _next_ended(ended: EndedTasks, running: set[asyncio.Future[Any]]) -> asyncio.Future[Any]:
    # Not asyncio.wait: for thousands of branches it would go through all of them at each end.
    try:
        return await ended.get()
    except asyncio.CancelledError:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        raise


def error_of(task: asyncio.Future[Any]) -> BaseException | None:
    """What a branch raised; once asked for, the event loop does not report it as overlooked."""
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def close_unstarted(awaitables: Iterable[Awaitable[Any]]) -> None:
    """Close coroutines that nobody is going to await, so that Python does not warn of them."""
    for awaitable in awaitables:
        if isinstance(awaitable, Coroutine):
            awaitable.close()


class Together(Coroutine[Any, Any, T_co]):
    """A coroutine over branches: one that ends before it began takes them along."""

    def __init__(self, coroutine: Coroutine[Any, Any, T_co], branches: Sequence[Awaitable[Any]]) -> None:
        self._coroutine = coroutine
        self._branches = branches

    def send(self, value: Any) -> Any:
        """Go on."""
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error: so a task is cancelled."""
        self._close_unstarted()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """End it where it is."""
        self._close_unstarted()
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self._coroutine.__await__()

    def _close_unstarted(self) -> None:
        if inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CREATED:
            close_unstarted(self._branches)
