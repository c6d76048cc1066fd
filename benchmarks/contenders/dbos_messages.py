"""DBOS Transact on the message workload; runs in an environment of its own.

A message goes to one workflow. Nothing is broadcast, and HTTP is left to the application.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator"
# (arrivals, dbos_configured and waking are found beside the script, dbos in an environment of its own.)

from __future__ import annotations

import asyncio
import time

from arrivals import ARRIVALS
from dbos import DBOS, DBOSClient, SetWorkflowID
from dbos_configured import configure
from waking import ARRIVAL_LIMIT, Arguments, arguments, measure


async def read(name: str, count: int) -> None:
    for number in range(count):
        sent = await DBOS.recv_async(timeout_seconds=ARRIVAL_LIMIT)
        ARRIVALS.arrived(f"{name}:{number}", sent)


async def wait_for(name: str, due: float) -> None:
    await DBOS.sleep_async(due - time.time())
    ARRIVALS.fired(f"{name}:0", due)


class Dbos:
    """A process with workflows; each of them gets what is sent to its id."""

    def __init__(self) -> None:
        self._reader, self._waiter = DBOS.workflow()(read), DBOS.workflow()(wait_for)

    async def wait_for_messages(self, name: str, count: int) -> None:
        with SetWorkflowID(name):
            await DBOS.start_workflow_async(self._reader, name, count)

    async def wait_until(self, name: str, due: float) -> None:
        await DBOS.start_workflow_async(self._waiter, name, due)

    async def publish(self, name: str, sent: float) -> None:
        await DBOS.send_async(name, sent)


class Client:
    """The other process, which only sends."""

    def __init__(self, args: Arguments) -> None:
        self._client = DBOSClient(system_database_url=args.db_url)

    async def publish(self, name: str, sent: float) -> None:
        await self._client.send_async(name, sent)


async def main() -> None:
    args = arguments()
    if args.publishes:
        await measure(Client(args), args)
        return
    configure(args.db_url)
    contender = Dbos()
    DBOS.launch()
    try:
        await measure(contender, args)
    finally:
        DBOS.destroy()


asyncio.run(main())
