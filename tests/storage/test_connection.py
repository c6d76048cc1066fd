from __future__ import annotations

import sys

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from edda.exceptions import StorageError
from edda.storage import connection


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite:///edda.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///edda.db", "sqlite+aiosqlite"),
        ("postgresql://u:p@h:1/d", "postgresql+asyncpg"),
        ("postgres://u:p@h:1/d", "postgresql+asyncpg"),
        ("postgresql+asyncpg://u:p@h:1/d", "postgresql+asyncpg"),
        ("mysql://u:p@h:1/d", "mysql+aiomysql"),
        ("mysql+asyncmy://u:p@h:1/d", "mysql+asyncmy"),
        ("mariadb://u:p@h:1/d", "mysql+aiomysql"),
    ],
)
def test_a_url_gets_an_asynchronous_driver_unless_it_names_one(text: str, driver: str) -> None:
    url, dialect = connection.parse(text)
    assert url.drivername == driver
    assert driver.startswith(dialect.name)


@pytest.mark.parametrize("text", ["oracle://h/d", "nonsense", "", "redis://:secret@h"])
def test_an_unknown_scheme_is_refused_in_a_line_that_names_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="known are sqlite://, postgresql://, postgres://") as caught:
        connection.parse(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("scheme", "driver"), [("postgresql", "asyncpg"), ("mysql", "aiomysql")])
def test_a_missing_driver_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, scheme: str, driver: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    url, dialect = connection.parse(f"{scheme}://u:secret@h/d")
    with pytest.raises(StorageError) as caught:
        connection.create_engine(url, dialect, {})
    assert f"pip install 'edda-durable[{scheme}]'" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_driver_is_refused() -> None:
    url, dialect = connection.parse("postgresql+nosuchdriver://h/d")
    with pytest.raises(ValueError, match="nosuchdriver"):
        connection.create_engine(url, dialect, {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@db.example:5433/app", "postgresql at db.example:5433/app"),
        ("mysql://me:secret@db.example/app", "mysql at db.example/app"),
        ("sqlite:///path/edda.db", "sqlite path/edda.db"),
        ("sqlite://", "sqlite :memory:"),
    ],
)
def test_a_database_is_described_without_user_and_password(text: str, shown: str) -> None:
    assert connection.describe(make_url(text)) == shown


async def test_an_engine_tells_its_dialect() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    assert connection.dialect_of(engine).name == "sqlite"
    await engine.dispose()
