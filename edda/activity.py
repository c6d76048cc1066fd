"""Activities: the functions with effects, run at least once and recorded exactly once."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload
from weakref import WeakValueDictionary

from edda.activity_step import ActivityStep
from edda.codec.binding import FunctionCodec
from edda.compensators import ATTRIBUTE, Compensator
from edda.context import WorkflowContext
from edda.retry import RetryPolicy
from edda.run import Run
from edda.steps import StepCall, call_step, perform
from edda.storage.threads import run_in_thread
from edda.types import is_number
from edda.unit_of_work import current_unit

__all__ = ["Activity", "activity"]

P = ParamSpec("P")
R = TypeVar("R")

_known: WeakValueDictionary[str, Activity[Any, Any]] = WeakValueDictionary()


def known_activities() -> list[Activity[Any, Any]]:
    """The decorated activities of this process; of those with one module and name the latest."""
    return list(_known.values())


class Activity(Generic[P, R]):
    """A function whose outcome is recorded, so that a replay returns it instead of running it again."""

    def __init__(
        self,
        func: Callable[..., Any],
        retry_policy: RetryPolicy | None = None,
        *,
        timeout_seconds: float | None = None,
        cancellable: bool = False,
    ) -> None:
        if not inspect.isroutine(func):
            raise TypeError(f"@activity decorates functions, not {func!r}")
        self.func: Callable[..., Any] = func
        self.name: str = func.__name__
        self.is_async = inspect.iscoroutinefunction(func)
        if timeout_seconds is not None and not (is_number(timeout_seconds) and timeout_seconds > 0):
            raise ValueError(f"timeout_seconds must be a positive number or None, not {timeout_seconds!r}")
        if cancellable and not self.is_async:
            raise ValueError(f"{self.name}() runs in a thread, which cannot be interrupted: not cancellable")
        self.retry_policy = retry_policy
        self.timeout_seconds = timeout_seconds
        self.cancellable = cancellable
        self.codec = FunctionCodec(func)
        self.compensators: list[Compensator] = list(getattr(func, ATTRIBUTE, ()))
        functools.update_wrapper(self, func)
        _known[f"{func.__module__}.{func.__qualname__}"] = self

    @overload
    def __call__(self, ctx: WorkflowContext, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    # The type system has no way to add a keyword to a ParamSpec: with an id the arguments are not checked.
    @overload
    def __call__(
        self, ctx: WorkflowContext, *args: Any, activity_id: str | None, **kwargs: Any
    ) -> Coroutine[Any, Any, R]: ...
    def __call__(self, ctx: WorkflowContext, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, R]:
        """Run the activity as a durable step, or return what is recorded for it.

        Its id is taken now, when it is called, so that ``asyncio.gather`` is the same
        on every replay. Awaiting it raises what the activity raised: a
        :class:`~edda.TerminalError` as itself, anything else as
        :class:`~edda.RetryExhaustedError` with the last error as its cause.
        """
        activity_id = kwargs.pop("activity_id", None)
        return self._step(ctx, call_step(ctx.run, self.name, activity_id), args, kwargs)

    async def _step(
        self, ctx: WorkflowContext, call: StepCall, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> R:
        step = ActivityStep(
            call.step_id,
            name=self.name,
            codec=self.codec,
            args=args,
            kwargs=kwargs,
            retry_policy=self.retry_policy,
            attempt=self.attempt(ctx, args, kwargs),
            compensators=self.compensators,
        )
        outcome: R = await perform(ctx.run, call, step)
        return outcome

    def attempt(
        self, ctx: WorkflowContext, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Callable[[Run], Awaitable[Any]]:
        """The function that makes one attempt with these arguments; for internal use."""
        if self.timeout_seconds is None and not self.cancellable:
            return lambda run: self._invoke(ctx, run, args, kwargs)

        async def attempt(run: Run) -> Any:
            limit = asyncio.timeout(self.timeout_seconds)
            try:
                async with limit:
                    with run.cancel_notice.interrupts(limit) if self.cancellable else nullcontext():
                        return await self._invoke(ctx, run, args, kwargs)
            except TimeoutError:
                if not limit.expired():  # it is the function's own
                    raise
                if self.cancellable and run.cancelled:
                    raise run.cancel_notice.error() from None
                message = f"Activity {self.name} did not finish within {self.timeout_seconds} seconds"
                raise TimeoutError(message) from None

        return attempt

    async def _invoke(
        self, ctx: WorkflowContext, run: Run, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if self.is_async:
            return await self.func(ctx, *args, **kwargs)
        unit = current_unit()

        def call() -> Any:
            if unit is not None:
                unit.move_to_this_thread()
            return self.func(ctx, *args, **kwargs)

        variables = contextvars.copy_context()
        return await run_in_thread(run.services.threads, functools.partial(variables.run, call))

    def __repr__(self) -> str:
        return f"<activity {self.name}>"


@overload
def activity(
    func: Callable[Concatenate[WorkflowContext, P], Awaitable[R]],
    *,
    retry_policy: RetryPolicy | None = None,
    timeout_seconds: float | None = None,
    cancellable: bool = False,
) -> Activity[P, R]: ...
@overload
def activity(
    func: Callable[Concatenate[WorkflowContext, P], R],
    *,
    retry_policy: RetryPolicy | None = None,
    timeout_seconds: float | None = None,
    cancellable: bool = False,
) -> Activity[P, R]: ...
@overload
def activity(
    func: None = None,
    *,
    retry_policy: RetryPolicy | None = None,
    timeout_seconds: float | None = None,
    cancellable: bool = False,
) -> _ActivityDecorator: ...
def activity(
    func: Callable[..., Any] | None = None,
    *,
    retry_policy: RetryPolicy | None = None,
    timeout_seconds: float | None = None,
    cancellable: bool = False,
) -> Any:
    """Make a sync or async function a durable step of workflows.

    The first parameter of the function is the :class:`~edda.WorkflowContext`. Arguments
    and result may be JSON values, pydantic models, dataclasses, enums, times, decimals,
    UUIDs, bytes, tuples, sets and nestings of these. Sync functions run in a thread.

    An attempt that raises is repeated as ``retry_policy`` says (default: the app's, else
    five attempts); one that takes longer than ``timeout_seconds`` counts as failed with
    ``TimeoutError``. The thread of a sync function cannot be stopped: its session refuses
    further statements, and what it returns is ignored.

    When the workflow is cancelled, a running activity is finished, recorded, and then
    compensated. A ``cancellable`` one, which must be async, gets ``asyncio.CancelledError``
    at once instead: nothing of it is recorded, and it undoes what it has done itself.

    Raises ``TypeError`` for what is no function, ``ValueError`` for a timeout that is no
    positive number and for a sync function that is to be cancellable.

    >>> @activity
    ... async def reserve(ctx: WorkflowContext, item: str, count: int = 1) -> dict[str, str]:
    ...     return {"reservation": f"{item} x {count}"}
    >>> reserve.name
    'reserve'
    """
    if func is None:
        return functools.partial(
            Activity, retry_policy=retry_policy, timeout_seconds=timeout_seconds, cancellable=cancellable
        )
    return Activity(func, retry_policy, timeout_seconds=timeout_seconds, cancellable=cancellable)


class _ActivityDecorator(Protocol):
    """The type of ``activity(...)`` with options, so that it keeps the types of the function."""

    @overload
    def __call__(self, func: Callable[Concatenate[WorkflowContext, P], Awaitable[R]]) -> Activity[P, R]: ...
    @overload
    def __call__(self, func: Callable[Concatenate[WorkflowContext, P], R]) -> Activity[P, R]: ...
