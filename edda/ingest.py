"""Accepted events: recorded, and their instances created, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from edda.channels.arrivals import message_of
from edda.clock import monotonic
from edda.cloudevent import Event
from edda.creation import AnyWorkflow
from edda.exceptions import InvalidEventError
from edda.handlers import EventHandlers
from edda.ids import derived_instance_id, derived_key, new_key
from edda.replay import ReplayEngine
from edda.storage.protocol import StorageProtocol
from edda.storage.writes import EventsAccepted, InboxEvent, NewInstance

EventWorkflow = Callable[[str], "AnyWorkflow | None"]
_Planned = tuple["AnyWorkflow", NewInstance, dict[str, Any]]


class Ingest:
    """Takes events in: when ``accept`` returns, they and what they start are in the database."""

    def __init__(
        self,
        *,
        storage: StorageProtocol,
        engine: ReplayEngine,
        service_name: str,
        handlers: EventHandlers,
        event_workflow: EventWorkflow,
        within: Callable[[], float],
        concurrency: int,
    ) -> None:
        self._storage = storage
        self._engine = engine
        self._service_name = service_name
        self._handlers = handlers
        self._event_workflow = event_workflow
        self._within = within
        self._concurrency = concurrency

    async def accept(self, events: Sequence[Event]) -> list[asyncio.Task[Any]]:
        """Store the events, all or none, and begin to run what they started.

        Returns the tasks of those runs. An event that was accepted before changes
        nothing. Raises :class:`InvalidEventError` when an event does not fit the workflow
        that it would start, and :class:`StorageUnavailableError` when the database did not
        take it in time. A caller that is cancelled does not undo what is stored: that is
        run all the same.
        """
        return await asyncio.shield(self._engine.spawn(self._accept(events)))

    async def _accept(self, events: Sequence[Event]) -> list[asyncio.Task[Any]]:
        keys = [self._key(event) for event in events]
        planned = [plan for event, key in zip(events, keys, strict=True) for plan in self._plan(event, key)]
        asked_at = monotonic()
        stored = EventsAccepted(
            tuple(self._inbox_event(event, key) for event, key in zip(events, keys, strict=True)),
            tuple(new for _, new, _ in planned),
        )
        storing = self._storage.submit(stored, within=self._within())
        creation = self._engine.creation
        unknown = {
            workflow.name: workflow for workflow, _, _ in planned if not creation.is_registered(workflow)
        }
        if unknown:  # submitted together, so that they share a commit
            registering = asyncio.gather(*map(creation.register_definition, unknown.values()))
            created, _ = await asyncio.gather(storing, registering)
        else:
            created = await storing
        return [
            self._engine.spawn(self._engine.run_new(workflow, new, arguments, asked_at=asked_at))
            for workflow, new, arguments in planned
            if new.instance_id in created and new.lease is not None
        ]

    def _key(self, event: Event) -> str:
        source, event_id = event.get("source"), event.get("id")
        if source is None or event_id is None:  # cannot be recognised when it comes again
            return new_key()
        return derived_key(self._service_name, source, event_id)

    def _inbox_event(self, event: Event, key: str) -> InboxEvent:
        try:
            message = message_of(event)
        except ValueError as error:
            raise InvalidEventError(error) from error
        source, event_id = event.get("source"), event.get("id")
        return InboxEvent(
            key,
            self._service_name,
            source or "",
            event_id or "",
            event["type"],
            publication_key=derived_key(source, event_id)
            if source is not None and event_id is not None
            else None,
            message=message,
        )

    def _plan(self, event: Event, key: str) -> list[_Planned]:
        try:
            return self._plan_checked(event, key)
        except (TypeError, ValueError, ValidationError) as error:
            raise InvalidEventError(error) from error

    def _plan_checked(self, event: Event, key: str) -> list[_Planned]:
        starts: list[tuple[AnyWorkflow, dict[str, Any]]] = []
        if self._handlers.handles(event["type"]):
            starts.append((self._handlers.workflow, {"event": event.to_json_object()}))
        workflow = self._event_workflow(event["type"])
        if workflow is not None:
            starts.append((workflow, arguments_of(workflow, event)))
        leased = self._engine.running < self._concurrency  # else any worker with room takes it
        return [
            (
                workflow,
                *self._engine.creation.prepare(
                    workflow, arguments, leased=leased, instance_id=derived_instance_id(workflow.name, key)
                ),
            )
            for workflow, arguments in starts
        ]


def arguments_of(workflow: AnyWorkflow, event: Event) -> dict[str, Any]:
    """The input of a workflow that an event starts: the keys of an object, or the one parameter."""
    data = event.data
    if isinstance(data, dict):
        trace = {name: event[name] for name in ("traceparent", "tracestate") if name in event}
        return {**data, "_trace_context": trace} if trace else dict(data)
    required = workflow.codec.required_parameters()
    return {required[0]: data} if data is not None and len(required) == 1 else {}
