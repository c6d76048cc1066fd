"""edda itself on events in and out, through its public interface alone."""

# mypy: disable-error-code="import-not-found"
# (edda_events and event_load are found beside the script.)

from __future__ import annotations

import asyncio
import logging

from edda_events import Edda
from event_load import arguments, measure


async def main() -> None:
    args = arguments()
    await measure(Edda(args.db_url), args)


logging.disable(logging.WARNING)
asyncio.run(main())
