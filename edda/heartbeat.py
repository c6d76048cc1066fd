"""Progress of a long activity, kept for its next attempt."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from edda.attempts import Attempts
from edda.clock import monotonic
from edda.codec.json import check_size, dumps
from edda.codec.values import Encoded, ValueCodec
from edda.exceptions import StorageError
from edda.run import Run
from edda.storage.writes import WaitsRegistered
from edda.types import JSONObject

# Progress is stored at most this often, however often it is reported.
_INTERVAL_SECONDS = 1.0
_DETAILS = ValueCodec()


class Heartbeat:
    """Takes progress reports of one attempt and stores the newest, without making the activity wait."""

    def __init__(self, run: Run, attempts: Attempts) -> None:
        self._run = run
        self._attempts = attempts
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._stored_at = -_INTERVAL_SECONDS
        self._changed = False
        self._ended = False

    @property
    def details(self) -> Any:
        """The newest details, reported by this attempt or an earlier one; None if there are none."""
        stored = self._attempts.details
        if stored is None:
            return None
        return _DETAILS.load(Encoded(stored["value"], cast("JSONObject | None", stored.get("types"))))

    def report(self, details: Any) -> None:
        """Take new details from any thread; raises ``TypeError`` for what cannot be stored.

        Those of an attempt that is over, by a thread that was left behind, are dropped.
        """
        encoded = _DETAILS.dump(details, "details")
        stored = {"value": encoded.json, **({"types": encoded.types} if encoded.types else {})}
        check_size(dumps(stored), "details", limit=self._run.services.max_payload_bytes)
        if self._ended:
            return
        self._attempts.details = stored
        self._loop.call_soon_threadsafe(self._store_soon)

    def _store_soon(self) -> None:
        self._changed = True
        if self._task is None and self._attempts.durable and not self._ended:
            self._task = self._loop.create_task(self._store())

    async def _store(self) -> None:
        try:
            while self._changed:
                await asyncio.sleep(max(0.0, self._stored_at + _INTERVAL_SECONDS - monotonic()))
                self._changed = False
                self._stored_at = monotonic()
                row = WaitsRegistered(self._run.lease, (self._attempts.row(seconds=None),))
                await self._run.services.storage.submit(row, within=self._run.lease_left())
        except StorageError:
            return  # progress is a convenience: the step itself tells what is wrong
        finally:
            self._task = None

    def end(self) -> None:
        """The attempt is over: what is not stored yet goes with the record of the attempt."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()
