"""edda-framework on the message workload; in an environment of its own, where ``edda`` is that library."""

# mypy: disable-error-code="import-not-found"
# (edda_waits and waking are found beside the script.)

from __future__ import annotations

import asyncio
import logging
import os

from edda_waits import Edda
from waking import arguments, measure

from edda import EddaApp


async def main() -> None:
    args = arguments()
    # Connections for 60 of the workflows that run at a time.
    app = EddaApp(service_name="bench", db_url=args.db_url, pool_size=20, max_overflow=40)
    await app.initialize()
    await measure(Edda(app, args), args)
    # The figures are printed. After an error on SQLite its shutdown does not come to an end.
    os._exit(0)


logging.disable(logging.WARNING)
asyncio.run(main())
