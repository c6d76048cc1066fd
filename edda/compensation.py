"""Sagas: what undoes an activity is registered with it, and executed when the workflow fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edda.activity import Activity
from edda.codec.json import loads_object
from edda.compensation_step import compensate
from edda.compensators import ATTRIBUTE, Compensator
from edda.context import WorkflowContext, current_context
from edda.local_functions import hold_functions
from edda.references import remember
from edda.registrations import Cleared, Registered, is_inside_compensation
from edda.run import Run
from edda.scope import ActivityScope, activity_scope
from edda.steps import StepCall, call_step, perform
from edda.storage.records import HistoryRecord
from edda.types import EventType, JSONObject
from edda.unit_of_work import current_unit

__all__ = [
    "CompensationAction",
    "clear_compensations",
    "compensation",
    "execute_compensations",
    "on_failure",
    "pivot",
    "register_compensation",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(repr=False)
class CompensationAction:
    """A call that compensates, to be executed by hand.

    >>> CompensationAction(print, (), {}, "print")
    CompensationAction(name='print')
    """

    func: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    async def execute(self) -> None:
        """Call the function; what it raises comes through."""
        outcome = self.func(*self.args, **self.kwargs)
        if inspect.isawaitable(outcome):
            await outcome

    def __repr__(self) -> str:
        return f"CompensationAction(name={self.name!r})"


def compensation(func: F) -> F:
    """Let every process that imports its module execute this function as a compensation.

    Needed only for functions that their module does not hold under their own name. Raises
    ``TypeError`` for what is neither a function nor an activity, or has no parameter for
    the context.

    >>> @compensation
    ... async def release(ctx: WorkflowContext, reservation: str) -> None: ...
    >>> release.__name__
    'release'
    """
    _declare(_compensator(func))
    return func


def on_failure(compensation_func: Callable[..., Any]) -> Callable[[F], F]:
    """Register a compensation with each success of an activity; stands above or below ``@activity``.

    The registration commits with the record of the activity. The compensation gets, by
    name and as far as its signature takes them, the arguments of the activity and over
    them the parts of its result, if that is a dict, a model or a dataclass. It is a sync
    or async function or an activity, and is executed when the workflow fails or is
    cancelled. Raises ``TypeError`` for what could never be called like this.

    ::

        async def release(ctx: WorkflowContext, reservation: str) -> None: ...

        @activity
        @on_failure(release)
        async def reserve(ctx: WorkflowContext, item: str) -> dict[str, str]:
            return {"reservation": await book(item)}
    """
    compensator = _compensator(compensation_func)
    compensator.check_takes_names()
    _declare(compensator)

    def register(decorated: F) -> F:
        if isinstance(decorated, Activity):
            decorated.compensators.append(compensator)
        elif inspect.isroutine(decorated):
            setattr(decorated, ATTRIBUTE, (*getattr(decorated, ATTRIBUTE, ()), compensator))
        else:
            raise TypeError(f"@on_failure decorates activities, not {decorated!r}")
        return decorated

    return register


def _compensator(target: Callable[..., Any]) -> Compensator:
    return Compensator(target, func=target.func if isinstance(target, Activity) else target)


def _declare(compensator: Compensator) -> None:
    """Have the function found by its name, unless others have the same one."""
    shared = "<lambda>" in compensator.reference or (
        "<locals>" in compensator.reference and current_context.get() is not None
    )
    if not shared:
        remember(compensator.target)


def register_compensation(
    ctx: WorkflowContext,
    compensation_func: Callable[..., Any],
    *args: Any,
    activity_id: str | None = None,
    **kwargs: Any,
) -> Coroutine[Any, Any, None]:
    """Register a call to be executed if the workflow fails or is cancelled.

    In the body it is a recorded step, ``register_compensation_{function}:{n}``; in an
    activity it commits with the activity. ``activity_id`` is a label for readers of the
    history. Between an activity and a registration that follows it a crash or a
    cancellation may come: use :func:`on_failure` where the effect must not stay.

    Raises ``TypeError`` for what is no function or activity, and for arguments that do not
    fit or cannot be stored. Inside a compensation it does nothing.

    ::

        booking = await book_flight(ctx, trip)
        await register_compensation(ctx, cancel_flight, booking["id"])
    """
    compensator = _compensator(compensation_func)
    compensator.registered(0, args, kwargs)  # wrong arguments are told before anything happens
    scope = activity_scope(ctx.run)
    if scope is not None:
        return _register_in_activity(ctx.run, scope, compensator, args, kwargs)
    call = call_step(ctx.run, f"register_compensation_{compensator.name}")
    number = call.step_id.rpartition(":")[2]
    step = _Registration(
        call.step_id, compensator, args, kwargs, activity_id or f"{compensator.name}:{number}"
    )
    return perform(ctx.run, call, step)


async def _register_in_activity(
    run: Run, scope: ActivityScope, compensator: Compensator, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if is_inside_compensation(scope.step_id):
        return
    number = run.registrations.next_id()
    _unit_of(scope).register(compensator.registered(number, args, kwargs))


def _unit_of(scope: ActivityScope) -> Any:
    unit = current_unit()
    if unit is None:
        raise RuntimeError(
            f"a task that activity {scope.step_id!r} has created cannot register or clear compensations; "
            "the activity itself can"
        )
    return unit


class _Registration:
    """The operation behind :func:`register_compensation` in a body."""

    def __init__(
        self,
        step_id: str,
        compensator: Compensator,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        label: str,
    ) -> None:
        self._step_id = step_id
        self._compensator = compensator
        self._args = args
        self._kwargs = kwargs
        self._label = label

    def describe(self) -> str:
        return f"the registration of compensation {self._compensator.name!r}"

    def matches(self, record: HistoryRecord) -> bool:
        if record.event_type is not EventType.COMPENSATION_REGISTERED:
            return False
        return bool(loads_object(record.event_data)["activity_name"] == self._compensator.name)

    async def restore(self, run: Run, record: HistoryRecord) -> None:
        registered = Registered.from_json(loads_object(record.event_data), self._compensator.target)
        hold_functions(run.instance_id, [registered])

    async def perform(self, run: Run) -> None:
        number = run.registrations.next_id()
        registered = self._compensator.registered(number, self._args, self._kwargs)
        fields: JSONObject = {**registered.to_json(), "activity_id": self._label}
        await run.record(run.step(self._step_id, EventType.COMPENSATION_REGISTERED, fields), [registered])


def clear_compensations(ctx: WorkflowContext) -> Coroutine[Any, Any, None]:
    """Forget what is registered so far: from here on a failure leaves it as it is.

    The step ``clear_compensations:{n}``; in an activity it commits with the activity. It
    has no effect if a request to cancel the instance is stored before it.

    ::

        await confirm_order(ctx, order_id)
        await clear_compensations(ctx)   # the order stands, whatever happens to the mail
    """
    scope = activity_scope(ctx.run)
    if scope is not None:
        return _clear_in_activity(ctx.run, scope)
    call = call_step(ctx.run, "clear_compensations")
    return perform(ctx.run, call, _Clearing(call.step_id, EventType.COMPENSATIONS_CLEARED))


def pivot(ctx: WorkflowContext) -> Coroutine[Any, Any, None]:
    """Pass the point of no return: from here on the workflow goes forward only.

    A failure leaves everything as it is, what is registered later included, and the
    instance cannot be cancelled any more. So the steps that follow should be retried
    until they succeed. It is the step ``pivot:{n}``, in an activity ``{activity}/pivot:{n}``,
    and commits with it. It has no effect if a request to cancel is stored before it.

    ::

        @activity
        async def charge(ctx: WorkflowContext, order_id: str) -> None:
            await card.charge(order_id)
            await pivot(ctx)
    """
    scope = activity_scope(ctx.run)
    call = call_step(ctx.run, "pivot")
    if scope is not None:
        return _pivot_in_activity(ctx.run, scope, call.step_id)
    return perform(ctx.run, call, _Clearing(call.step_id, EventType.PIVOT_PASSED))


async def _pivot_in_activity(run: Run, scope: ActivityScope, step_id: str) -> None:
    if is_inside_compensation(scope.step_id):
        return
    unit = _unit_of(scope)
    passed = Cleared(await _registered_here(run), for_good=True)
    unit.writes.append(run.step(step_id, EventType.PIVOT_PASSED, passed.to_json()))
    unit.changes.append(passed)


async def _clear_in_activity(run: Run, scope: ActivityScope) -> None:
    if not is_inside_compensation(scope.step_id):
        _unit_of(scope).register(Cleared(await _registered_here(run)))


async def _registered_here(run: Run) -> tuple[int, ...]:
    """The numbers of all that is registered, what the open transaction is going to register included."""
    await _learn(run)
    unit = current_unit()
    ids = dict.fromkeys(run.registrations.ids)
    for change in [] if unit is None else unit.uncommitted_changes():
        match change:
            case Registered(compensation_id):
                ids[compensation_id] = None
            case Cleared(compensation_ids):  # a pivot names all there are
                ids = dict.fromkeys(number for number in ids if number not in compensation_ids)
    return tuple(ids)


async def _learn(run: Run) -> None:
    """Ask the history, should a step have been recorded whose caller was cancelled meanwhile."""
    if run.registrations.must_look:
        with run.stopping_on_storage_errors():
            run.registrations.learn(await run.services.storage.load_history(run.instance_id))


class _Clearing:
    """The operation behind :func:`clear_compensations` and :func:`pivot` in a body."""

    def __init__(self, step_id: str, event_type: EventType) -> None:
        self._step_id = step_id
        self._event_type = event_type

    def describe(self) -> str:
        return "the pivot" if self._is_pivot else "clearing the compensations"

    @property
    def _is_pivot(self) -> bool:
        return self._event_type is EventType.PIVOT_PASSED

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is self._event_type

    async def restore(self, run: Run, record: HistoryRecord) -> None:
        """The history says it."""

    async def perform(self, run: Run) -> None:
        await run.turnstile.may_begin()
        cleared = Cleared(await _registered_here(run), for_good=self._is_pivot)
        await run.record(run.step(self._step_id, self._event_type, cleared.to_json()), [cleared])


async def execute_compensations(ctx: WorkflowContext) -> None:
    """Execute now what is registered so far, the last one first, and go on.

    For bodies that catch an error and want to end well all the same. Each compensation
    is a step as in a rollback: retried, recorded, never executed twice; one that fails
    for good is logged and does not stop the others. Raises ``RuntimeError`` inside an
    activity or ``ctx.transaction()``.

    ::

        try:
            await charge_card(ctx, order_id)
        except RetryExhaustedError:
            await execute_compensations(ctx)
            return "cancelled"
    """
    run = ctx.run
    if activity_scope(run) is not None or current_unit() is not None:
        raise RuntimeError("execute_compensations is for the body, outside of ctx.transaction()")
    call = call_step(run, "execute_compensations")
    for number in await perform(run, call, _Beginning(call)):
        registered = run.registrations.find(number)
        if registered is not None:
            await compensate(ctx, registered)


class _Beginning:
    """Records which compensations are to be executed, so that a replay has the same ones."""

    def __init__(self, call: StepCall) -> None:
        self._step_id = call.step_id

    def describe(self) -> str:
        return "the execution of the compensations"

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is EventType.COMPENSATIONS_BEGUN

    async def restore(self, run: Run, record: HistoryRecord) -> list[int]:  # noqa: ARG002 - of every operation
        numbers: list[int] = loads_object(record.event_data)["compensation_ids"]
        return numbers

    async def perform(self, run: Run) -> list[int]:
        await run.turnstile.may_begin()
        await _learn(run)
        numbers = [registered.compensation_id for registered in run.registrations.newest_first]
        await run.record(
            run.step(self._step_id, EventType.COMPENSATIONS_BEGUN, {"compensation_ids": list(numbers)})
        )
        return numbers
