"""``python -m tests.chaos.large``: what workers ask, beside 10,000 and beside 1,000,000 instances.

Prints how long each write and query takes, the median of several, and exits with 1 if one of them
reads a table as a whole.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from edda.clock import monotonic
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.databases import Databases
from tests.support.large import fill
from tests.support.questions import readings_of_whole_tables, reads, writes
from tests.support.reaper import Reaper

KINDS = ("sqlite", "postgresql", "mysql")
TIMES = 7
SMALL = 10_000


async def measure(url: str, rows: int) -> tuple[dict[str, float], list[str]]:
    """Milliseconds of each question beside so many instances, and the plans that read all of a table."""
    storage = SQLAlchemyStorage(url)
    await storage.open(migrate=True)
    assert storage._writer is not None
    assert storage._reads is not None
    await storage._writer._committer.commit(lambda connection: fill(connection, storage.dialect, rows))
    found = await readings_of_whole_tables(storage)
    seconds = defaultdict(list)
    for _ in range(TIMES):
        for name, write in (await writes(storage)).items():
            began = monotonic()
            await storage.submit(write)
            seconds[name].append(monotonic() - began)
        async with storage._reads.connect() as connection:
            for name, (query, parameters) in reads(storage).items():
                began = monotonic()
                (await connection.execute(query, parameters)).all()
                seconds[name].append(monotonic() - began)
    began = monotonic()
    await storage.get_dead_letters(100)
    seconds["dead letters"].append(monotonic() - began)
    await storage.close()
    return {name: 1000 * median(each) for name, each in seconds.items()}, found


async def _run(kind: str, rows: int) -> bool:
    reaper = Reaper()
    databases = Databases(reaper)
    tables, found = [], []
    try:
        for size in (SMALL, rows):
            with tempfile.TemporaryDirectory() as directory:
                async with databases.fresh(kind, Path(directory)) as url:  # type: ignore[arg-type]
                    took, whole = await measure(url, size)
                    tables.append(took)
                    found += whole
    finally:
        await databases.close()
        reaper.close()
    print(f"{kind + ', ms':28} {SMALL:>10,} {rows:>10,}")
    for name in tables[0]:
        print(f"{name:28} {tables[0][name]:10.2f} {tables[1][name]:10.2f}")
    print("\n\n".join(found) or "every table is read by index", end="\n\n", flush=True)
    return bool(found)


def main() -> int:
    """Measure on each chosen database."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.large", description=__doc__)
    parser.add_argument("--database", action="append", choices=KINDS, help="default: all of them")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    found = [asyncio.run(_run(kind, arguments.rows)) for kind in arguments.database or KINDS]
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())
