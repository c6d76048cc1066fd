"""Durable operations under way: while there are any, a run neither parks nor ends."""

from __future__ import annotations

from edda.run import Run


class InFlight:
    """A block that counts a durable operation as in flight, under a lease that is held.

    Raises the signal if the run has ended. A class, because every step goes through it: a
    generator costs several times as much.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    async def __aenter__(self) -> None:
        run = self._run
        if run.ended:
            await run.check()
        run.in_flight += 1
        try:
            if not run.leased and run.regain_lease is not None:
                await run.regain_lease()
                await run.check()
        except BaseException:
            self._end()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        run = self._run
        run.in_flight -= 1
        if run.waits.pending or run.ended:  # else nobody waits for it: the body just goes on
            run.changed.set()
