"""Event handlers as durable work: the handlers of one event are the steps of one instance.

So a handler is run again after a crash, retried with back-off, and ends as a failed
instance that can be listed, all by the machinery that every workflow has.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edda.activity import Activity
from edda.cloudevent import Event
from edda.context import WorkflowContext
from edda.ids import handlers_workflow_name
from edda.retry import RetryPolicy
from edda.types import JSONObject
from edda.workflow import Workflow, deriving_start_ids

logger = logging.getLogger(__name__)

Handler = Callable[[Any], Any]


class EventHandlers:
    """The handlers of an app by event type, and the workflow that runs them for a stored event."""

    def __init__(
        self,
        service_name: str,
        handlers: Mapping[str, Sequence[Handler]],
        retry_policy: Callable[[], RetryPolicy | None],
    ) -> None:
        self._handlers = handlers
        self._retry_policy = retry_policy
        self.workflow: Workflow[Any, None] = Workflow(self._handle_event)
        self.workflow.name = handlers_workflow_name(service_name)

    def handles(self, event_type: str) -> bool:
        """Whether anybody registered for events of this type."""
        return bool(self._handlers.get(event_type))

    async def _handle_event(self, ctx: WorkflowContext, event: JSONObject) -> None:
        """Run every handler of the event, each until it succeeds or its retries are exhausted."""
        received = Event.from_json_object(event)
        handlers = self._handlers.get(received["type"], ())
        steps = [self._step(handler, ctx.instance_id, key)(ctx, event) for handler, key in _keyed(handlers)]
        outcomes = await asyncio.gather(*steps, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        for error in errors:
            logger.error("Error handling event %s: %s", received["type"], error, exc_info=error)
        if errors:
            raise errors[0]

    def _step(self, handler: Handler, scope: str, key: str) -> Activity[[JSONObject], None]:
        async def call(_: WorkflowContext, event: JSONObject) -> None:
            with deriving_start_ids(scope, key):
                await _call(handler, Event.from_json_object(event))

        step: Activity[[JSONObject], None] = Activity(call, self._retry_policy())
        step.name = _name_of(handler)
        return step


def _keyed(handlers: Sequence[Handler]) -> Iterator[tuple[Handler, str]]:
    """Each handler with a text that no other handler of the event has, the same in every run."""
    seen: Counter[str] = Counter()
    for handler in handlers:
        key = f"{getattr(handler, '__module__', '')}.{getattr(handler, '__qualname__', _name_of(handler))}"
        seen[key] += 1
        yield handler, f"{key}:{seen[key]}"


def _name_of(handler: Handler) -> str:
    name: str = getattr(handler, "__name__", type(handler).__name__)
    return name


async def _call(handler: Handler, event: Event) -> None:
    if inspect.iscoroutinefunction(handler):
        await handler(event)
        return
    answer = await asyncio.to_thread(handler, event)
    if inspect.isawaitable(answer):  # a callable object or partial that turned out to be async
        await answer
