"""Counts what is sent to databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event


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
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note_statement)
        event.remove(Engine, "commit", note_commit)
