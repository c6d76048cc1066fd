"""edda-framework on events in and out; in an environment of its own, where ``edda`` is that library."""

# mypy: disable-error-code="import-not-found"
# (edda_events and event_load are found beside the script.)

from __future__ import annotations

import asyncio
import logging
import os

from edda_events import Edda
from event_load import arguments, measure


async def main() -> None:
    args = arguments()
    await measure(Edda(args.db_url, pool_size=20, max_overflow=40), args)
    # The figures are printed. After an error on SQLite its shutdown does not come to an end.
    os._exit(0)


logging.disable(logging.WARNING)
asyncio.run(main())
