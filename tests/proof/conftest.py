"""The fixture with which a scenario is played again and again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edda.storage.dialects import sqlite
from tests.support.crashing import Crashes


@pytest.fixture
def crashes(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crashes]:
    """Plays scenarios on an empty database, once on each kind."""
    set_up = sqlite._set_up

    def set_up_without_sync(connection: Any, record: object) -> None:
        """What a process has written is there whether or not it is killed: nothing need reach the disk."""
        set_up(connection, record)
        connection.cursor().execute("PRAGMA synchronous = OFF")

    monkeypatch.setattr(sqlite, "_set_up", set_up_without_sync)
    # Not the file that is checked for being closed: a worker may die while it connects, and keep it open.
    in_file = empty_database_url.startswith("sqlite")
    crashes = Crashes(f"sqlite:///{tmp_path / 'proof.db'}" if in_file else empty_database_url)
    crashes.open()
    yield crashes
    crashes.close()
