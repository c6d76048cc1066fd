"""Cancelling an instance, wherever it is: the request is one write, and whoever runs it obeys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol

from edda.clock import monotonic, now
from edda.context import current_context
from edda.creation import EngineOptions
from edda.exceptions import StorageError
from edda.execution import Execution, Outcome
from edda.run import Services
from edda.storage.records import ClaimedInstance
from edda.storage.writes import CancelRequested, CancelTold, NotCancellable, Parked

# How long a caller waits for the end of an instance that is running.
PATIENCE_SECONDS = 5.0
_FIRST_LOOK = 0.02
_LONGEST_PAUSE = 0.5


class Runner(Protocol):
    """What cancelling needs of the engine."""

    def run_of(self, instance_id: str) -> Execution | None:
        """The execution of this instance that is being driven now."""
        ...

    async def run_claimed(self, claimed: ClaimedInstance) -> Outcome | Parked:
        """Go on with an instance under a fresh lease."""
        ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background."""
        ...


class Cancellation:
    """Requests to cancel, made through one worker."""

    def __init__(self, services: Services, options: EngineOptions, runner: Runner) -> None:
        self._storage = services.storage
        self._worker_id = services.worker_id
        self._lease_seconds = options.lease_seconds
        self._runner = runner

    async def cancel(self, instance_id: str, cancelled_by: str) -> bool:
        """Request it, and see to the end; False if there is nothing to cancel."""
        answer = await self._storage.submit(
            CancelRequested(self._worker_id, instance_id, self._lease_seconds, cancelled_by, now())
        )
        match answer:
            case NotCancellable():
                return False
            case ClaimedInstance():
                # A task of its own: a caller that goes away leaves it running.
                await asyncio.shield(self._runner.spawn(self._runner.run_claimed(answer)))
            case CancelTold():
                await self._tell(instance_id, answer)
        return True

    async def _tell(self, instance_id: str, told: CancelTold) -> None:
        execution = self._runner.run_of(instance_id)
        if execution is None or told.owner != self._worker_id:
            await self._until_ended(instance_id)
            return
        run = execution.run
        if run.lease.token == told.token:
            run.note_cancelled()
        context = current_context.get()
        asks_itself = context is not None and context.run.instance_id == instance_id
        if execution.driver is not None and not asks_itself:
            await asyncio.wait({execution.driver}, timeout=PATIENCE_SECONDS)

    async def _until_ended(self, instance_id: str) -> None:
        """Look now and then, since the worker that runs it may be another process."""
        deadline = monotonic() + PATIENCE_SECONDS
        pause = _FIRST_LOOK
        with contextlib.suppress(
            StorageError
        ):  # the request is stored, whether or not its effect can be seen
            while (left := deadline - monotonic()) > 0:
                record = await self._storage.load_instance(instance_id)
                if record is None or record.status.is_terminal:
                    return
                await asyncio.sleep(min(pause, left))
                pause = min(pause * 2, _LONGEST_PAUSE)
