# mypy: disable-error-code="import-not-found"
# (The module is found in the folder of the contenders: see conftest.py.)

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from multiply import core_of, multiply, names_of

ID = "order-0123456789abcdef0123456789abcdef"
SCHEMA = """
CREATE TABLE instances (instance_id TEXT PRIMARY KEY, input TEXT, tries INTEGER);
CREATE TABLE steps (id INTEGER PRIMARY KEY, instance_id TEXT, name TEXT);
CREATE TABLE workers (name TEXT PRIMARY KEY);
INSERT INTO workers VALUES ('one');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bench.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        connection.execute("INSERT INTO instances VALUES (?, ?, 3)", (ID, f'{{"self": "{ID}"}}'))
        connection.executemany("INSERT INTO steps VALUES (NULL, ?, ?)", [(ID, "pay"), (ID, "ship")])
    return path


def test_every_row_of_the_instance_is_copied_under_the_id_of_each_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiply.COPIES_PER_TRANSACTION", 2)
    names = multiply(f"sqlite+aiosqlite:///{path}", 5)
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT * FROM instances WHERE instance_id <> ?", (ID,)).fetchall()
        steps = connection.execute("SELECT instance_id, name FROM steps ORDER BY id").fetchall()
        workers = connection.execute("SELECT * FROM workers").fetchall()
    assert len(set(names)) == 5
    assert names == names_of(ID, 5)
    assert sorted(found) == sorted((name, f'{{"self": "{name}"}}', 3) for name in names)
    assert sorted(steps) == sorted((name, step) for name in [ID, *names] for step in ("pay", "ship"))
    assert workers == [("one",)]


def test_a_file_that_nobody_else_has_open_gets_its_journal_back(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    assert len(multiply(f"sqlite:///{path}", 5, alone=True)) == 5
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM instances").fetchone() == (6,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_which_of_several_instances_is_meant_has_to_be_said(path: Path) -> None:
    [other] = multiply(f"sqlite:///{path}", 1)
    with pytest.raises(SystemExit, match="2 instances"):
        multiply(f"sqlite:///{path}", 1)
    assert multiply(f"sqlite:///{path}", 0, other) == []


def test_the_random_part_of_an_id_is_at_its_end() -> None:
    assert core_of(ID) == "0123456789abcdef0123456789abcdef"
    assert core_of("add_up-0c8f1a52-7a77-4c1f-8d29-66b0e4a1f3ce") == "0c8f1a52-7a77-4c1f-8d29-66b0e4a1f3ce"
    assert core_of("long") == "long"
