"""Parked runs of this process that go on with a message in the very commit that brings it.

Whoever publishes makes parked instances due, and workers look for what is due, lease it, and take
its message: three commits from the message to the line that waits for it. What waits for a message
alone, and is in memory here, goes a shorter way: lease and message are asked for in one write,
which shares the commit of the publication. It is a shortcut and no promise. Where it leads nowhere
the instance is due like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import replace
from typing import Any, Protocol

from edda.clock import monotonic
from edda.execution import Execution
from edda.places import Places
from edda.residents import Residents
from edda.storage.message_writes import (
    MessagePublished,
    MessageTaken,
    NoMessage,
    RunResumed,
    Taken,
    published_by,
)
from edda.storage.protocol import StorageProtocol
from edda.storage.records import under_next_token
from edda.storage.writes import Write

logger = logging.getLogger(__name__)

# Whoever publishes to a crowd does not wait for all of it: the others are due, and claimed by many.
_AT_ONCE = 16


class Engine(Protocol):
    """What resuming needs of the engine."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background."""
        ...

    async def drive(self, execution: Execution) -> object:
        """Run it to its outcome, and settle that."""
        ...

    def keep(self, execution: Execution) -> None:
        """Keep a parked execution in memory."""
        ...

    def dismiss(self, execution: Execution) -> None:
        """End an execution that another run replaces."""
        ...


class Resuming:
    """Has parked runs go on with messages, for one worker, as long as it has places for them."""

    def __init__(
        self,
        storage: StorageProtocol,
        residents: Residents,
        *,
        places: Places,
        lease_seconds: float,
        engine: Engine,
        wake_in: Callable[[float], None],
    ) -> None:
        self._storage = storage
        self._residents = residents
        self._places = places
        self._lease_seconds = lease_seconds
        self._engine = engine
        self._wake_in = wake_in

    def accompany(self, write: Write[Any]) -> None:
        """This write is about to be submitted: those whom its messages concern go on in the same commit."""
        if self._residents:
            for message in published_by(write):
                for execution in self._concerned(message):
                    self._begin(execution)

    def hear(self, woken: Collection[str]) -> bool:
        """These instances were made due by messages; say whether all of them are being resumed here."""
        resumed = [self._is_resumed(instance_id) for instance_id in woken]
        return all(resumed)

    def _is_resumed(self, instance_id: str) -> bool:
        execution = self._residents.waiting_alone(instance_id)
        return execution is not None and self._begin(execution)

    def _concerned(self, message: MessagePublished) -> Iterator[Execution]:
        if message.target is not None:
            execution = self._residents.waiting_alone(message.target)
            if execution is not None:
                yield execution
            return
        for place, execution in enumerate(self._residents.waiting(message.channel)[:_AT_ONCE]):
            yield execution
            if place == 0 and execution.run.subscriptions.competes_for(message.channel):
                return

    def _begin(self, execution: Execution) -> bool:
        run, waiting = execution.run, execution.only_message()
        if waiting is None or not self._places.take_unless_awaited():
            return False
        self._residents.take(run.instance_id)
        seconds = min(self._lease_seconds, run.lock_timeout_seconds or self._lease_seconds)
        lease = replace(under_next_token(run.lease), seconds=seconds)
        execution.doubt()
        # A task begins in the order of its making. So this one submits before the writer, which the
        # publication wakes, takes up what there is.
        task = self._engine.spawn(self._resume(execution, replace(waiting, lease=lease)))
        task.add_done_callback(self._places.give_back)
        return True

    async def _resume(self, execution: Execution, message: MessageTaken) -> None:
        run, asked_at = execution.run, monotonic()
        try:
            answer: Any = await self._storage.submit(RunResumed(message))
        except Exception:
            logger.debug("Resuming %s with a message failed", run.instance_id, exc_info=True)
            answer = None
        if isinstance(answer, Taken):
            run.take_lease(message.lease)
            run.trust_lease_from(asked_at)
            run.waits.hand_over(message.activity_id, answer)
        execution.decide()
        if isinstance(answer, Taken):
            await self._engine.drive(execution)
            return
        if isinstance(answer, NoMessage):
            self._engine.keep(execution)
        else:
            self._engine.dismiss(execution)
        self._wake_in(0.0)  # it may be due by now, and nobody has looked
