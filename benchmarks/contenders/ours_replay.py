"""edda itself on the replay workload, through its public interface alone."""

# mypy: disable-error-code="import-not-found"
# (edda_replays and replaying are found beside the script.)

from __future__ import annotations

import asyncio
import logging

from edda_replays import replay
from replaying import arguments

from edda import EddaApp


async def main() -> None:
    args = arguments()
    app = EddaApp(service_name="bench", db_url=args.db_url)
    app.resident_limit = 0  # or the run would go on where it stands, and replay nothing
    try:
        await replay(app, args)
    finally:
        await app.shutdown()


logging.disable(logging.WARNING)
asyncio.run(main())
