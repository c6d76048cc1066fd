"""Keeps a database and the histories of the present version: ``python -m tests.kept``, once for a release.

All times in it lie at the beginning of 2025, so that what waits for a time is due whenever it is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import edda
from edda import clock
from edda.app import EddaApp
from tests.kept import workflows
from tests.kept.workflows import Item, Reachable
from tests.support.apps import engine_of, instance, reached
from tests.support.eventually import eventually

WAITING = {
    "kept_timer": "waiting_for_timer",
    "kept_message": "waiting_for_message",
    "kept_event": "waiting_for_message",
    "kept_attempts": "waiting_for_timer",
    "kept_failed": "failed",
    "kept_compensating": "compensating",
}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    writer.close()


@contextlib.asynccontextmanager
async def _broker() -> AsyncIterator[None]:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    Reachable.broker = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield
    finally:
        server.close()


async def _play(app: EddaApp) -> None:
    engine = engine_of(app)

    async def begin(name: str, **arguments: Any) -> None:
        flow = getattr(workflows, name)
        with contextlib.suppress(LookupError):
            await engine.start(flow, arguments, None, instance_id=name)

    async with _broker():
        await begin("kept_operations", item=Item("chair", Decimal("9.50")))
        await reached(app, "kept_operations")
    for name, status in WAITING.items():
        await begin(name)
        row = await instance(app, name)
        assert row["status"] == status, row
    await begin("kept_undone")
    await begin("kept_loop", number=1)
    await begin("kept_cancelled")
    await engine.cancel_workflow("kept_cancelled", "test")
    asyncio.get_running_loop().call_later(30, workflows.gate.set)  # should what follows fail


async def _keep(folder: Path, path: Path) -> None:
    async with EddaApp("kept", f"sqlite:///{path}") as app:
        await _play(app)
        running = asyncio.create_task(
            engine_of(app).start(workflows.kept_running, {}, None, instance_id="kept_running")
        )

        def is_in_flight() -> None:
            assert ("kept_running", "in flight") in workflows.calls

        await eventually(is_in_flight)
        _dump(path, folder)
        workflows.gate.set()
        await running


def _dump(path: Path, folder: Path) -> None:
    """As a process leaves it that is killed at this moment."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    folder.mkdir(exist_ok=True)
    _write(folder / "database.sql", "\n".join(connection.iterdump()))
    kept = [_history(connection, dict(row)) for row in connection.execute("SELECT * FROM workflow_instances")]
    connection.close()
    _write(folder / "histories.json", json.dumps(kept, indent=1))


def _write(path: Path, text: str) -> None:
    """Without the place of the code, which stack traces name."""
    path.write_text(text.replace(str(Path(__file__).parents[2]), "/app") + "\n")


def _history(connection: sqlite3.Connection, row: dict[str, Any]) -> dict[str, Any]:
    columns = "activity_id, event_type, event_data"
    found = [
        dict(step)
        for table in ("workflow_history_archive", "workflow_history")
        for step in connection.execute(
            f"SELECT {columns} FROM {table} WHERE instance_id = ? ORDER BY id", (row["instance_id"],)
        )
    ]
    names = ("instance_id", "workflow_name", "status", "input_data", "input_types", "output_data")
    kept = {name: row[name] for name in names}
    return {**kept, "history": [{**step, "event_data": json.loads(step["event_data"])} for step in found]}


def main() -> None:
    """Write the files of this version."""
    Reachable.now = False
    right, began = clock.now, clock.now()
    clock.now = lambda: datetime(2025, 1, 1, tzinfo=UTC) + (right() - began)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_keep(Path(__file__).parent / edda.__version__, Path(directory) / "kept.db"))


if __name__ == "__main__":
    main()
