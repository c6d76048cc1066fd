"""Counts what is sent to databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Engine, event

from edda.storage.dialects.base import Row, RowsQuery
from edda.storage.dialects.sqlite import SQLiteDialect, question


@dataclass
class Statements:
    """The statements executed and the transactions committed while this was watching."""

    texts: list[str] = field(default_factory=list)
    commits: int = 0

    def containing(self, *parts: str) -> list[str]:
        """The statements in which all these parts occur."""
        return [text for text in self.texts if all(part in text for part in parts)]


@contextmanager
def counted() -> Iterator[Statements]:
    """Watch all engines of this process."""
    seen = Statements()

    def note_statement(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.texts.append(" ".join(statement.split()))

    def note_commit(_: Any) -> None:
        seen.commits += 1

    event.listen(Engine, "before_cursor_execute", note_statement)
    event.listen(Engine, "commit", note_commit)
    try:
        with questions_of_sqlite(lambda _, text, __: note_statement(None, None, text)):
            yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note_statement)
        event.remove(Engine, "commit", note_commit)


@contextmanager
def questions_of_sqlite(note: Callable[[Connection, str, Row], None]) -> Iterator[None]:
    """Have noted what goes past SQLAlchemy: one text, with its values, for each row that is asked about."""
    ask = SQLiteDialect.ask

    def noting(
        self: SQLiteDialect, connection: Connection, query: RowsQuery, rows: Sequence[Row]
    ) -> list[Any]:
        text, arrange, _ = question(query)
        for row in rows:
            note(connection, text, arrange(row))
        return ask(self, connection, query, rows)

    with patch.object(SQLiteDialect, "ask", noting):
        yield
