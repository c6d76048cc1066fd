"""Databases that hold finished instances before a measurement: filled once, and copied for each round."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from benchmarks.cells import Cell, Load
from benchmarks.databases import Databases
from benchmarks.measurement import CONTENDERS, Failure, complaint, measure, run, url_for


class Filled:
    """Hands out a database for each cell: an empty one, or one with the finished instances of its load."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._sources: dict[Cell, str | Failure] = {}

    @contextlib.asynccontextmanager
    async def database(self, cell: Cell, script: str, python: Path) -> AsyncIterator[str | Failure]:
        """The URL of a database that goes away at the end, or why it could not be filled."""
        if not cell.load.finished:
            async with self._databases.fresh(cell.database) as url:
                yield url
            return
        if cell not in self._sources:
            self._sources[cell] = await self._fill(cell, script, python)
        source = self._sources[cell]
        if isinstance(source, Failure):
            yield source
            return
        async with self._databases.copy(cell.database, source) as url:
            yield url

    async def _fill(self, cell: Cell, script: str, python: Path) -> str | Failure:
        """The contender's script warms up with one workflow and gets no other; the rest are its copies."""
        url = await self._databases.kept(cell.database)
        steps, clients, *_ = cell.load.arguments
        by_one_process = replace(cell, load=Load(cell.load.name, (steps, clients)))
        one = await measure(by_one_process, script, python=python, url=url, size=0)
        if isinstance(one, Failure):
            return one
        copies = cell.load.finished - 1
        ended = await run(sys.executable, CONTENDERS / "multiply.py", url_for(cell, url), copies)
        if isinstance(ended, Failure):
            return ended
        code, _, complaints = ended
        return Failure(complaint(code, complaints)) if code else url
