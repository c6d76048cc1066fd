"""edda-framework on the replay workload; in an environment of its own, where ``edda`` is that library."""

# mypy: disable-error-code="import-not-found"
# (edda_replays and replaying are found beside the script.)

from __future__ import annotations

import asyncio
import logging
import os

from edda_replays import replay
from replaying import arguments

from edda import EddaApp


async def main() -> None:
    args = arguments()
    await replay(EddaApp(service_name="bench", db_url=args.db_url), args)
    # The figures are printed. After an error on SQLite its shutdown does not come to an end.
    os._exit(0)


logging.disable(logging.WARNING)
asyncio.run(main())
