"""Processes that relay the outbox of a database to a broker."""

from __future__ import annotations

import asyncio
import logging
import sys

from edda.outbox import OutboxRelayer
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage


class HastyRelayer(OutboxRelayer):
    """Its events are free again soon after its death."""

    send_seconds = 1.0
    lease_seconds = 1.5


async def relay(database_url: str, broker_url: str, batch_size: str) -> None:
    """Relay until killed, with short leases."""
    await _relay(HastyRelayer, database_url, broker_url, int(batch_size))


async def relay_in_peace(database_url: str, broker_url: str) -> None:
    """Relay until killed, with leases that no machine is so slow as to lose."""
    await _relay(OutboxRelayer, database_url, broker_url, 4)


async def _relay(kind: type[OutboxRelayer], database_url: str, broker_url: str, batch_size: int) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    relayer = kind(storage, broker_url, poll_interval=0.05, batch_size=batch_size)
    await relayer.start()
    print("ready", flush=True)
    await asyncio.Event().wait()
