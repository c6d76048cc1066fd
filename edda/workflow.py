"""Workflows: the decorator, the registry, and which engine a bare ``start()`` uses."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from edda.codec.binding import FunctionCodec
from edda.context import WorkflowContext
from edda.exceptions import RecurException as RecurException
from edda.ids import derived_instance_id
from edda.types import is_number
from edda.variables import Setting

__all__ = ["RecurException", "Workflow", "get_all_workflows", "set_replay_engine", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")


class EnginePort(Protocol):
    """What a workflow needs of the engine that runs it."""

    @property
    def db_url(self) -> str:
        """The database of the engine: engines of one database can stand in for each other."""
        ...

    async def start(
        self,
        workflow: Workflow[Any, Any],
        arguments: dict[str, Any],
        lock_timeout: float | None,
        *,
        instance_id: str | None = None,
    ) -> str:
        """Start an instance and return its id when it completed or parked.

        If an instance of the given id exists already, nothing is started.
        """
        ...

    async def resume(self, workflow: Workflow[Any, Any], instance_id: str) -> None:
        """Run an instance now."""
        ...


class Workflow(Generic[P, R]):
    """A durable function: each call by ``start()`` is an instance that survives its process."""

    def __init__(
        self,
        func: Callable[..., Any],
        event_handler: bool = False,  # noqa: FBT001, FBT002 - the published signature
        lock_timeout_seconds: float | None = None,
    ) -> None:
        name = getattr(func, "__name__", repr(func))
        if not inspect.iscoroutinefunction(func):
            raise TypeError(f"Workflow {name} must be an async function")
        check_lock_timeout(lock_timeout_seconds)
        self.func = func
        self.name: str = name
        self.event_handler = event_handler
        self.lock_timeout_seconds = lock_timeout_seconds
        self.codec = FunctionCodec(func)
        functools.update_wrapper(self, func)

    async def __call__(self, ctx: WorkflowContext, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the plain function; durable runs begin with :meth:`start`."""
        result: R = await self.func(ctx, *args, **kwargs)
        return result

    async def start(self, lock_timeout_seconds: float | None = None, **kwargs: Any) -> str:
        """Start an instance with these arguments; returns its id when it has completed or parked.

        Raises the error of the workflow if it fails (``error.instance_id`` names the
        instance), ``TypeError`` or pydantic's ``ValidationError`` for wrong arguments
        before anything is stored, and ``RuntimeError`` when no app is initialized. A
        caller that is cancelled leaves the workflow running in the background.
        """
        check_lock_timeout(lock_timeout_seconds)
        engine = current_engine("starting")
        return await engine.start(self, kwargs, lock_timeout_seconds, instance_id=next_start_id(self.name))

    async def resume(self, instance_id: str, event: object = None) -> None:  # noqa: ARG002 - published
        """Run the instance now, from its history; ``event`` is ignored.

        Raises ``ValueError`` for an unknown or ended instance or one of another
        workflow, :class:`~edda.exceptions.LockNotAcquiredError` while another worker
        runs it, and the error of the workflow if it fails.
        """
        await current_engine("resuming").resume(self, instance_id)

    @functools.cached_property
    def source_code(self) -> str:
        """The text of the function, or its name where the text cannot be had."""
        try:
            return inspect.getsource(self.func)
        except (OSError, TypeError):
            return f"{self.func.__module__}.{self.func.__qualname__}"

    @functools.cached_property
    def source_hash(self) -> str:
        """SHA-256 of the text, 64 hex digits."""
        return hashlib.sha256(self.source_code.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"


def check_lock_timeout(seconds: float | None) -> None:
    """Reject what cannot be the length of a lease."""
    if seconds is None:
        return
    if not is_number(seconds) or not seconds > 0:
        raise ValueError(
            f"lock_timeout_seconds must be a positive number of seconds or None, not {seconds!r}"
        )


_registry: dict[str, Workflow[Any, Any]] = {}


def get_all_workflows() -> dict[str, Workflow[Any, Any]]:
    """All decorated workflows of this process by name; a new dict each time."""
    return dict(_registry)


def find_workflow(name: str) -> Workflow[Any, Any] | None:
    """The workflow of this name, if this process knows it."""
    return _registry.get(name)


def _register(new: Workflow[Any, Any]) -> None:
    known = _registry.get(new.name)
    if known is not None and _is_another_definition(known.func, new.func):
        place = f"{known.func.__module__}.{known.func.__qualname__}"
        raise ValueError(f"Workflow {new.name!r} is already defined as {place}")
    _registry[new.name] = new


def _is_another_definition(known: Callable[..., Any], new: Callable[..., Any]) -> bool:
    if "<locals>" in known.__qualname__ or "<locals>" in new.__qualname__:
        return False
    return (known.__module__, known.__qualname__) != (new.__module__, new.__qualname__)


class _WorkflowDecorator(Protocol):
    def __call__(self, func: Callable[Concatenate[WorkflowContext, P], Awaitable[R]]) -> Workflow[P, R]: ...


@overload
def workflow(
    func: Callable[Concatenate[WorkflowContext, P], Awaitable[R]],
    *,
    event_handler: bool = False,
    lock_timeout_seconds: float | None = None,
) -> Workflow[P, R]: ...
@overload
def workflow(
    func: None = None, *, event_handler: bool = False, lock_timeout_seconds: float | None = None
) -> _WorkflowDecorator: ...
def workflow(
    func: Callable[..., Any] | None = None,
    *,
    event_handler: bool = False,
    lock_timeout_seconds: float | None = None,
) -> Any:
    """Make an async function a workflow.

    Its first parameter is the :class:`~edda.WorkflowContext`; the others are the input
    of an instance. With ``event_handler`` every CloudEvent whose type is the name of
    the function starts an instance. ``lock_timeout_seconds`` bounds the lease of its
    instances (default 300).

    Raises ``TypeError`` for anything but an async function, and ``ValueError`` when
    another function of the same name is a workflow already.

    >>> @workflow
    ... async def greeting(ctx: WorkflowContext, name: str) -> str:
    ...     return f"hello {name}"
    >>> greeting.name
    'greeting'
    """
    if func is None:
        return functools.partial(
            workflow, event_handler=event_handler, lock_timeout_seconds=lock_timeout_seconds
        )
    made: Workflow[Any, Any] = Workflow(func, event_handler, lock_timeout_seconds)
    _register(made)
    return made


class StartIds:
    """Ids of instances started by code that may be run again for the same cause."""

    def __init__(self, *cause: str) -> None:
        self._cause = cause
        self._count = 0

    def next(self, workflow_name: str) -> str:
        """The id of the next start: the same whenever the code is run again."""
        self._count += 1
        return derived_instance_id(workflow_name, *self._cause, str(self._count))


_start_ids: ContextVar[StartIds | None] = ContextVar("edda_start_ids", default=None)


def deriving_start_ids(*cause: str) -> Setting[StartIds | None]:
    """Instances started in this block get ids that follow from the cause and their count in it."""
    return Setting(_start_ids, StartIds(*cause))


def forget_start_ids() -> None:
    """Code from here on is no longer run again for that cause: it is a workflow of its own."""
    _start_ids.set(None)


def next_start_id(workflow_name: str) -> str | None:
    """The id that the surrounding code prescribes for the next start, if it does."""
    ids = _start_ids.get()
    return None if ids is None else ids.next(workflow_name)


_active: ContextVar[EnginePort | None] = ContextVar("edda_active_engine", default=None)
_initialized: list[EnginePort] = []
_explicit: list[EnginePort] = []


def set_replay_engine(engine: EnginePort | None) -> None:
    """Choose the engine for workflows started outside any app; None takes the choice back."""
    _explicit[:] = [] if engine is None else [engine]


def activated(engine: EnginePort) -> Setting[EnginePort | None]:
    """Workflows started in this block, and in tasks made in it, belong to this engine."""
    return Setting(_active, engine)


def announce_engine(engine: EnginePort) -> None:
    """An app was initialized: its engine can be used by a bare ``start()``."""
    _initialized.append(engine)


def withdraw_engine(engine: EnginePort) -> None:
    """An app was shut down; harmless if it was not announced."""
    if engine in _initialized:
        _initialized.remove(engine)


def current_engine(doing: str) -> EnginePort:
    """The engine to use here; raises ``RuntimeError`` when there is none or no single one."""
    chosen = _active.get()
    if chosen is not None:
        return chosen
    if _explicit:
        return _explicit[0]
    if not _initialized:
        raise RuntimeError(
            f"Replay engine not initialized. Ensure EddaApp is properly initialized before {doing} workflows."
        )
    if len({engine.db_url for engine in _initialized}) > 1:
        raise RuntimeError("More than one EddaApp is initialized; use app.activate() to choose one")
    return _initialized[0]
