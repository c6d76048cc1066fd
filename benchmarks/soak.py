"""``python -m benchmarks.soak``: a hundred thousand events through relayers that are killed again and again.

No measurement but a proof: it fails unless every event arrives, in the order of its key, and
what arrives twice is the same event. The tests do the same with a few hundred.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import Database
from benchmarks.databases import Databases
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.outbox_soak import Figures, Load, Soak
from tests.support.reaper import Reaper
from tests.support.sink import running_sink
from tests.support.workers import Workers

WITHIN = 3600.0


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(argv)
    load = Load(options.events, options.keys, options.relayers, options.kills, WITHIN)
    reaper = Reaper()
    try:
        for name in options.only or Database:
            with tempfile.TemporaryDirectory() as directory:
                figures = asyncio.run(
                    soak(Database(name), load, reaper, options.directory or Path(directory))
                )
            print(described(name, load, figures), flush=True)
    finally:
        reaper.close()


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description="Events through relayers that are killed."
    )
    parser.add_argument("--only", action="append", choices=[*Database], help="this database; may be repeated")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=500, help="so many sources, each in order")
    parser.add_argument("--relayers", type=int, default=2, help="processes at the same time")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--directory", type=Path, help="where the SQLite file goes")
    return parser.parse_args(argv)


async def soak(database: Database, load: Load, reaper: Reaper, directory: Path) -> Figures:
    """One soak on an empty database."""
    databases, workers = Databases(reaper, directory), Workers(reaper)
    try:
        async with databases.fresh(database) as url, running_sink() as sink:
            storage = SQLAlchemyStorage(url)
            await storage.open(migrate=True)
            try:
                return await Soak(storage, workers, sink, load).run()
            finally:
                await workers.close()
                await storage.close()
    finally:
        await databases.close()


def described(name: str, load: Load, figures: Figures) -> str:
    return (
        f"{name}: {load.events:,} events of {load.keys} keys through {load.relayers} relayers, "
        f"{figures.kills} killed: all arrived in order, {figures.repeated} posts were repetitions, "
        f"{figures.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
