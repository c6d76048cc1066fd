"""Parked bodies that move on by themselves: before the next operation they need their lease again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from edda.clock import monotonic
from edda.execution import Execution
from edda.residents import Residents
from edda.run import Run
from edda.storage.records import ClaimedInstance
from edda.storage.writes import NotClaimable


class Engine(Protocol):
    """What regaining needs of the engine."""

    async def claim(self, instance_id: str, *, token: int | None = None) -> ClaimedInstance | NotClaimable:
        """Lease this instance, with a ``token`` only while that is the last one."""
        ...

    async def load_waits(self, run: Run) -> None:
        """Learn which of its waits are over, as far as the database knows."""
        ...

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background."""
        ...

    async def drive(self, execution: Execution) -> object:
        """Run it to its outcome, and settle that."""
        ...

    def dismiss(self, execution: Execution) -> None:
        """End an execution that another run replaces."""
        ...


async def take_lease_again(execution: Execution, residents: Residents, engine: Engine) -> None:
    """Take the lease for a parked execution and drive it, unless it has gone on or ended meanwhile."""
    run = execution.run
    while execution.undecided is not None:
        await asyncio.wait({execution.undecided})
    if execution.driver is not None and not run.leased:
        await asyncio.wait({execution.driver})
    if run.leased or run.ended:
        return
    residents.take(run.instance_id)  # from here on nobody else wakes it, or has it make room
    asked_at = monotonic()
    try:
        answer = await engine.claim(run.instance_id, token=run.lease.token)
        if isinstance(answer, NotClaimable):
            engine.dismiss(execution)
            return
        run.take_lease(answer.lease)
        run.trust_lease_from(asked_at)
        await engine.load_waits(run)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run needs a driver or an end
        run.stop(error)
    if run.has_lease():
        engine.spawn(engine.drive(execution))
    else:
        engine.dismiss(execution)
