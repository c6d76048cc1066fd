"""Sending the events of one key, one after the other, under one lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from edda.clock import monotonic
from edda.cloudevent import Event
from edda.codec.json import loads_object
from edda.codec.payloads import load_payload
from edda.exceptions import StorageError
from edda.outbox.answers import Answer, Refused, no_answer
from edda.outbox.outage import Outage
from edda.outbox.publisher import Publisher
from edda.outbox.verdicts import RetryRules, unchanged
from edda.storage.protocol import WriterPort
from edda.storage.records import LeasedEvent
from edda.storage.writes_outbox import BrokerReturned, OutboxMarked
from edda.types import OutboxStatus

# Then other keys have their turn, however many events this one has.
_IN_A_ROW = 50

logger = logging.getLogger(__name__)


class KeySender:
    """Sends the events of keys; one call of :meth:`send` for each lease."""

    def __init__(
        self,
        storage: WriterPort,
        publisher: Publisher,
        rules: RetryRules,
        outage: Outage,
        *,
        lease_seconds: float,
        send_seconds: float,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._publisher = publisher
        self._rules = rules
        self._outage = outage
        self._lease_seconds = lease_seconds
        self._send_seconds = send_seconds
        self._is_stopping = is_stopping

    async def send(self, event: LeasedEvent, *, asked_at: float) -> None:
        """Send this event and those behind it until none is left, one has to wait, or others have a turn.

        ``asked_at`` is the monotonic instant before the lease was asked for: the lease is
        not trusted for longer than the database does. A lease that is lost or cannot be
        used ends the call; the event is then sent by whoever leases it next.
        """
        following: LeasedEvent | None = event
        for remaining in range(_IN_A_ROW - 1, -1, -1):
            if following is None or monotonic() > asked_at + self._lease_seconds - self._send_seconds:
                return
            mark = await self._attempt(following)
            good_until = asked_at + self._lease_seconds
            asked_at = monotonic()
            goes_on = remaining > 0 and not self._is_stopping()
            following = await self._submit(
                replace(mark, next_seconds=self._lease_seconds if goes_on else None), good_until
            )

    async def _attempt(self, leased: LeasedEvent) -> OutboxMarked:
        expired = self._rules.expiry(leased)
        if expired is not None:
            return expired
        try:
            answer = await self._publish(leased)
        except asyncio.CancelledError:
            # Nobody knows whether it has arrived; the next attempt has the same id.
            await self._submit(unchanged(leased, OutboxStatus.PENDING), monotonic())
            raise
        if self._outage.note(answer):
            await self._tell_broker_returned()
        return self._rules.mark(leased, answer)

    async def _publish(self, leased: LeasedEvent) -> Answer:
        try:
            event = event_of(leased)
        except ValueError as error:  # a row that no attempt can make an event of
            return Refused(str(error))
        # Whoever leases the event next must not meet an attempt that is still under way.
        limit = asyncio.timeout(self._send_seconds)
        try:
            async with limit:
                return await self._publisher.publish(event)
        except Exception as error:  # a publisher or a callable of the user: it says nothing about the event
            if limit.expired():
                return no_answer(TimeoutError(f"no answer within {self._send_seconds:g} seconds"))
            # Once it is known that the broker is away, each further attempt is no news.
            level = logging.DEBUG if self._outage.is_on else logging.ERROR
            where = {"event_id": leased.event_id}
            logger.log(level, "Sending event %s failed", leased.event_id, exc_info=error, extra=where)
            return no_answer(error)

    async def _tell_broker_returned(self) -> None:
        try:
            await self._storage.submit(BrokerReturned())
        except StorageError as error:  # they wait for their own time then
            logger.warning("The events that waited for the broker could not be woken: %s", error)

    async def _submit(self, mark: OutboxMarked, good_until: float) -> LeasedEvent | None:
        try:
            return await self._storage.submit(mark, within=max(good_until - monotonic(), 1.0))
        except StorageError as error:
            logger.warning(
                "What became of event %s could not be stored, it will be sent again: %s",
                mark.event.event_id,
                error,
                extra={"event_id": mark.event.event_id},
            )
            return None


def event_of(leased: LeasedEvent) -> Event:
    """The CloudEvent that is sent for a row; its time is that of the recording."""
    extensions = loads_object(leased.extensions) if leased.extensions else {}
    attributes = {
        "specversion": "1.0",
        "id": leased.event_id,
        "source": leased.source,
        "type": leased.event_type,
        "time": leased.created_at,
        "datacontenttype": leased.content_type,
        "subject": leased.subject,
    }
    return Event({**extensions, **attributes}, load_payload(leased.data, leased.form))
