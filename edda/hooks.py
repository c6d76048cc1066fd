"""Observation of workflows: what users implement, and the one place that calls it."""

from __future__ import annotations

import inspect
import logging
from abc import ABC
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

from edda.types import JSONObject

__all__ = ["HooksBase", "WorkflowHooks"]

logger = logging.getLogger(__name__)


@runtime_checkable
class WorkflowHooks(Protocol):
    """What an observer may implement; any subset will do, and each method may be sync or async.

    A hook never changes an outcome: what it raises is logged. Hooks that report a fact
    are called after the commit that made it one. After a crash a hook may be missing or
    be repeated: hooks are observation, not delivery.
    """

    async def on_workflow_start(self, instance_id: str, workflow_name: str, input_data: JSONObject) -> None:
        """A fresh instance begins; not called when one is resumed."""

    async def on_workflow_complete(self, instance_id: str, workflow_name: str, result: Any) -> None:
        """An instance completed."""

    async def on_workflow_failed(self, instance_id: str, workflow_name: str, error: BaseException) -> None:
        """An instance failed, and its compensations have run."""

    async def on_workflow_cancelled(self, instance_id: str, workflow_name: str) -> None:
        """An instance was cancelled, and its compensations have run."""

    async def on_activity_start(
        self, instance_id: str, activity_id: str, activity_name: str, is_replaying: bool
    ) -> None:
        """An activity is about to run, or (``is_replaying``) its recorded outcome to be returned."""

    async def on_activity_complete(
        self, instance_id: str, activity_id: str, activity_name: str, result: Any, cache_hit: bool
    ) -> None:
        """An activity succeeded, now or (``cache_hit``) in an earlier run."""

    async def on_activity_failed(
        self, instance_id: str, activity_id: str, activity_name: str, error: BaseException
    ) -> None:
        """An activity failed for good, now or in an earlier run; ``error`` is what it raised."""

    async def on_activity_retry(
        self,
        instance_id: str,
        activity_id: str,
        activity_name: str,
        error: BaseException,
        attempt: int,
        delay: float,
    ) -> None:
        """Attempt number ``attempt`` (from 1) failed; the next follows after ``delay`` seconds."""

    async def on_event_sent(self, event_type: str, event_source: str, event_data: Any) -> None:
        """An event was recorded in the outbox; ``event_data`` as JSON or bytes."""

    async def on_event_received(self, instance_id: str, event_type: str, event_data: Any) -> None:
        """``wait_event`` is about to return an event that was just taken; not called on a replay."""


class HooksBase(WorkflowHooks, ABC):
    """Every hook as a method that does nothing, to derive observers from.

    >>> class Printer(HooksBase):
    ...     async def on_workflow_start(self, instance_id, workflow_name, input_data):
    ...         print("started", workflow_name)
    """

    # Written out, because type checkers take a method of a Protocol without a body for abstract.

    async def on_workflow_start(self, instance_id: str, workflow_name: str, input_data: JSONObject) -> None:
        pass

    async def on_workflow_complete(self, instance_id: str, workflow_name: str, result: Any) -> None:
        pass

    async def on_workflow_failed(self, instance_id: str, workflow_name: str, error: BaseException) -> None:
        pass

    async def on_workflow_cancelled(self, instance_id: str, workflow_name: str) -> None:
        pass

    async def on_activity_start(
        self, instance_id: str, activity_id: str, activity_name: str, is_replaying: bool
    ) -> None:
        pass

    async def on_activity_complete(
        self, instance_id: str, activity_id: str, activity_name: str, result: Any, cache_hit: bool
    ) -> None:
        pass

    async def on_activity_failed(
        self, instance_id: str, activity_id: str, activity_name: str, error: BaseException
    ) -> None:
        pass

    async def on_activity_retry(
        self,
        instance_id: str,
        activity_id: str,
        activity_name: str,
        error: BaseException,
        attempt: int,
        delay: float,
    ) -> None:
        pass

    async def on_event_sent(self, event_type: str, event_source: str, event_data: Any) -> None:
        pass

    async def on_event_received(self, instance_id: str, event_type: str, event_data: Any) -> None:
        pass


class HookDispatcher:
    """Calls the hooks of an observer, and keeps what goes wrong in them away from the run."""

    def __init__(self, observer: object | None) -> None:
        self.observer = observer

    async def call(self, name: str, *arguments: object) -> None:
        """Call the hook of this name, if the observer has one."""
        if self.observer is None:
            return
        method = getattr(self.observer, name, None)
        if method is None:
            return
        token = _is_observing.set(True)
        try:
            answer = method(*arguments)
            if inspect.isawaitable(answer):
                await answer
        except Exception:  # the user's code: whatever it raises must not change the outcome of the run
            logger.exception("Hook %s failed", name, extra={"hook": name})
        finally:
            _is_observing.reset(token)


_is_observing: ContextVar[bool] = ContextVar("edda_is_observing", default=False)


def is_observing() -> bool:
    """Whether the caller is a hook: what it does is no part of the run that it observes."""
    return _is_observing.get()


def stop_observing() -> None:
    """What runs in this context is no hook, although one has started it."""
    _is_observing.set(False)
