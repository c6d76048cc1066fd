"""edda itself on the message workload, through its public interface alone."""

# mypy: disable-error-code="import-not-found"
# (edda_waits and waking are found beside the script.)

from __future__ import annotations

import asyncio
import logging

from edda_waits import Edda
from waking import arguments, measure

from edda import EddaApp


async def main() -> None:
    args = arguments()
    async with EddaApp(service_name="bench", db_url=args.db_url) as app:
        await measure(Edda(app, args), args)


logging.disable(logging.WARNING)
asyncio.run(main())
