"""Waiting for events: an event is a message on the channel that is named like its type."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from pydantic import BaseModel

from edda.channels.messages import ChannelMessage, ReceivedEvent, as_event, check_channel
from edda.channels.receiving import ReceiveStep, check_timeout
from edda.context import WorkflowContext
from edda.exceptions import EventTimeoutError
from edda.run import Run
from edda.steps import StepCall, call_step, perform


class _WaitEventStep(ReceiveStep):
    """A receive that subscribes on the way and has a timeout error of its own."""

    def __init__(self, step_id: str, event_type: str, timeout: float | None) -> None:
        super().__init__(step_id, event_type, timeout, subscribe=True)
        self._event_type = event_type
        self._seconds = timeout

    def describe(self) -> str:
        return f"wait_event({self._event_type!r})"

    def timeout_error(self) -> TimeoutError:
        return EventTimeoutError(self._event_type, self._seconds or 0)

    async def perform(self, run: Run) -> ChannelMessage:
        message = await super().perform(run)
        if self.is_new:
            arguments = (run.instance_id, self._event_type, message.data)
            await run.services.hooks.call("on_event_received", *arguments)
        return message


def wait_event(
    ctx: WorkflowContext,
    event_type: str,
    timeout_seconds: float | None = None,
    model: type[BaseModel] | None = None,
    event_id: str | None = None,
) -> Coroutine[Any, Any, ReceivedEvent]:
    """The next event of this type, as soon as it arrives.

    Events that arrive from the first ``wait_event`` of this type on are kept for the
    workflow until it takes them. An existing subscription to a channel of that name is
    used as it is. With ``model``, data that is a JSON object is validated into it; a
    ``ValidationError`` is raised in the body, and the event is consumed. After
    ``timeout_seconds`` :class:`~edda.exceptions.EventTimeoutError` is raised, which is a
    ``TimeoutError``. ``event_id`` replaces the automatic id ``receive_{event_type}:{n}``
    of the step.

    ::

        event = await wait_event(ctx, "payment.completed", timeout_seconds=86400)
        amount = event.data["amount"]
    """
    check_channel(event_type)
    timeout = check_timeout(timeout_seconds)
    call = call_step(ctx.run, f"receive_{event_type}", event_id)
    return _wait_event(ctx.run, call, event_type, timeout, model)


async def _wait_event(
    run: Run, call: StepCall, event_type: str, timeout: float | None, model: type[BaseModel] | None
) -> ReceivedEvent:
    message = await perform(run, call, _WaitEventStep(call.step_id, event_type, timeout))
    data = message.data
    if model is not None and isinstance(data, dict):
        data = model.model_validate(data)
    return as_event(message, event_type, data)
