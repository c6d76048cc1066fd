"""The relayer: sends what is in the outbox to the broker, in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Literal

from edda.outbox.loop import RelayLoop
from edda.outbox.outage import Outage
from edda.outbox.publisher import FORMS, Authorization, HttpPublisher, Publisher
from edda.outbox.sending import KeySender
from edda.outbox.verdicts import RetryRules
from edda.storage.protocol import StorageProtocol
from edda.types import is_number

__all__ = ["OutboxRelayer"]

_STOPPING_SECONDS = 5.0


class OutboxRelayer:
    """Posts the events of the outbox to ``broker_url``, at least once, in order for each key.

    The key of an event is its source and subject; events of different keys are sent side
    by side, ``batch_size`` at a time. An event that fails is tried again after
    ``poll_interval * 2**failures`` seconds, at most 30. Network errors, 429, 502, 503 and
    504 say nothing about the event and are retried for as long as it takes, or until it is
    older than ``max_age_hours``; ``max_retries`` other failures give it up. A commit that
    adds events wakes the relayer of its app; others look every ``poll_interval`` seconds,
    or when ``wake_event`` is set.

    ``mode`` is how CloudEvents are written: ``"structured"`` (one JSON document) or
    ``"binary"`` (attributes as headers). ``headers`` are added to each request,
    ``authorization`` is the value of that header or a function, sync or async, that gives
    it; ``trace_headers`` repeats the extensions ``traceparent`` and ``tracestate`` as
    headers. With a ``publisher`` events go there instead, and ``broker_url`` is a name; see
    :class:`edda.outbox.Publisher`. Raises ``ValueError`` for what cannot work.
    ``send_seconds`` (the longest attempt) and ``lease_seconds`` (after which the events of a
    dead relayer are sent by another one; longer than that) are class attributes that a
    subclass may override.

    ::

        relayer = OutboxRelayer(app.storage, "http://broker-ingress/default/default")
        await relayer.start()
    """

    send_seconds = 30.0
    lease_seconds = 60.0

    def __init__(
        self,
        storage: StorageProtocol,
        broker_url: str,
        poll_interval: float = 1.0,
        max_retries: int = 3,
        batch_size: int = 10,
        max_age_hours: float | None = None,
        wake_event: asyncio.Event | None = None,
        *,
        mode: Literal["structured", "binary"] = "structured",
        headers: Mapping[str, str] | None = None,
        authorization: Authorization | None = None,
        trace_headers: bool = True,
        publisher: Publisher | None = None,
    ) -> None:
        if mode not in FORMS:
            raise ValueError(f"mode must be 'structured' or 'binary', not {mode!r}")
        if publisher is None:
            _check_url(broker_url)
        elif mode != "structured" or headers or authorization is not None or not trace_headers:
            raise ValueError(
                "mode, headers, authorization and trace_headers are about HTTP, not about a publisher"
            )
        _check_number("poll_interval", poll_interval)
        _check_whole("max_retries", max_retries)
        _check_whole("batch_size", batch_size)
        if max_age_hours is not None:
            _check_number("max_age_hours", max_age_hours)
        self.storage = storage
        self.broker_url = broker_url
        self.poll_interval = poll_interval
        self.max_retries = max_retries
        self.batch_size = batch_size
        self.max_age_hours = max_age_hours
        self.wake_event = wake_event
        self._publisher = publisher or HttpPublisher(
            broker_url,
            connections=batch_size,
            seconds=self.send_seconds,
            mode=mode,
            headers=headers or {},
            authorization=authorization,
            trace_headers=trace_headers,
        )
        self._loop: RelayLoop | None = None
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send. Harmless when repeated; the storage has to be open."""
        if self._loop is not None:
            return
        outage = Outage()
        rules = RetryRules(self.poll_interval, self.max_retries, self.max_age_hours)
        loop = self._loop = RelayLoop(
            self.storage,
            make_sender=lambda is_stopping: KeySender(
                self.storage,
                self._publisher,
                rules,
                outage,
                lease_seconds=self.lease_seconds,
                send_seconds=self.send_seconds,
                is_stopping=is_stopping,
            ),
            outage=outage,
            poll_interval=self.poll_interval,
            batch_size=self.batch_size,
            lease_seconds=self.lease_seconds,
        )
        await self._publisher.open()
        loop.start()
        if self.wake_event is not None:
            listening = self._listen(self.wake_event, loop)
            self._listener = asyncio.get_running_loop().create_task(listening, name="edda outbox wake")

    async def _listen(self, wake_event: asyncio.Event, loop: RelayLoop) -> None:
        while True:
            await wake_event.wait()
            wake_event.clear()
            loop.wake()

    def wake(self) -> None:
        """Look for events now. Harmless when the relayer is not running."""
        if self._loop is not None:
            self._loop.wake()

    async def stop(self) -> None:
        """Let what is being sent end, within 5 seconds, and hand the rest back. Harmless when repeated."""
        loop, self._loop = self._loop, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
        if loop is None:
            return
        await loop.stop()
        await loop.finish(_STOPPING_SECONDS)
        await self._publisher.close()


def _check_url(value: object) -> None:
    import httpx2

    try:
        url = httpx2.URL(value if isinstance(value, str) else "")
    except httpx2.InvalidURL as error:
        raise ValueError(f"broker_url is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"broker_url must be an http or https URL, not {value!r}")


def _check_number(name: str, value: object) -> None:
    if not is_number(value) or not value > 0:  # type: ignore[operator]  # is_number looked
        raise ValueError(f"{name} must be a positive number, not {value!r}")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, not {value!r}")
