"""What a run knows of the cancellation of its instance, and whom it interrupts for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edda.exceptions import WorkflowCancelledException


class CancelNotice:
    """Given once; from then on every further step of the body is refused."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._interruptible: set[asyncio.Timeout] = set()
        self.given = False

    def give(self) -> None:
        """Interrupt the blocks that have asked for it."""
        self.given = True
        for limit in self._interruptible:
            with suppress(RuntimeError):  # its own time has run out at the same moment
                limit.reschedule(asyncio.get_running_loop().time())

    def error(self) -> WorkflowCancelledException:
        """What every further step of the body raises."""
        return WorkflowCancelledException(f"Workflow {self._instance_id} has been cancelled")

    @contextmanager
    def interrupts(self, limit: asyncio.Timeout) -> Iterator[None]:
        """End this block, which ``limit`` is watching, as soon as the notice is given."""
        if self.given:
            raise self.error()
        self._interruptible.add(limit)
        try:
            yield
        finally:
            self._interruptible.discard(limit)
