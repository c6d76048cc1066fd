"""What a new connection is asked; the rest is tested behind a real proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from edda.storage.dialects import pooling
from edda.storage.dialects.base import Failure
from edda.storage.dialects.postgresql import PostgreSQLDialect


class _Silent:
    """A connection, and all that SQLAlchemy knows of connecting, that breaks when it is asked."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.terminated = False

    def connect(self, **_options: object) -> _Silent:
        return self

    def run_async(self, _ask: object) -> bool:
        raise self.error

    def terminate(self) -> None:
        self.terminated = True


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        TimeoutError(),
        asyncpg.PostgresError("too many clients"),
    ],
)
def test_a_connection_that_breaks_at_once_is_one_that_could_not_be_made(error: Exception) -> None:
    silent: Any = _Silent(error)
    with pytest.raises(ConnectionError) as caught:
        pooling._connect(silent, None, (), {})
    assert PostgreSQLDialect().classify(caught.value) is Failure.UNREACHABLE
    assert silent.terminated


def test_whoever_is_cancelled_meanwhile_leaves_no_connection() -> None:
    silent: Any = _Silent(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        pooling._connect(silent, None, (), {})
    assert silent.terminated


def test_whoever_names_statements_himself_is_not_asked() -> None:
    silent: Any = _Silent(LookupError())
    assert pooling._connect(silent, None, (), {"prepared_statement_name_func": str}) is None
