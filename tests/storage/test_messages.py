from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from edda.storage import messages
from edda.storage.dialects.base import Row
from edda.storage.messages import EVERYBODY
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.storage.plans import plans_of

MANY = 100_000


def _row(number: int, channel: str = "news", target: str = EVERYBODY) -> Row:
    return (channel, target, number, f"id-{number}", str(number), None, "{}")


async def _insert(storage: SQLAlchemyStorage, rows: Sequence[Row]) -> None:
    assert storage._writer is not None
    await storage._writer._committer.commit(
        lambda connection: messages.insert(connection, storage.dialect, rows)
    )


async def test_each_reader_is_given_the_first_messages_after_its_position(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None
    rows = [_row(number, target="me" if number % 5 == 0 else EVERYBODY) for number in range(1, 101)]
    await _insert(storage, [*rows, _row(1, "other")])
    readings = {
        ("news", "me", 0): 2,
        ("news", EVERYBODY, 50): 1,
        ("news", EVERYBODY, 3): 3,
        ("news", "nobody", 0): 5,
        **{("news", EVERYBODY, number): 1 for number in range(60, 99)},
    }
    found = await storage._writer._committer.commit(
        lambda connection: messages.next_of(connection, storage.dialect, readings)
    )
    assert [row.position for row in found["news", "me"]] == [5, 10]
    public = [row.position for row in found["news", EVERYBODY]]
    assert public == sorted({4, 6, 7, 51, *(n for n in range(61, 100) if n % 5)})
    assert [row.data for row in found["news", "me"]] == ["5", "10"]


async def test_counting_ends_where_enough_is_there(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None
    await _insert(storage, [*(_row(number) for number in range(1, 21)), _row(21, target="me")])
    wanted = {"news": 7, "other": 3}
    found = await storage._writer._committer.commit(
        lambda connection: messages.count(connection, storage.dialect, wanted)
    )
    assert found == {"news": 7, "other": 0}
    everything = await storage._writer._committer.commit(
        lambda connection: messages.count(connection, storage.dialect, {"news": 100})
    )
    assert everything == {"news": 20}


async def test_the_next_message_is_read_however_many_there_are_and_were(storage: SQLAlchemyStorage) -> None:
    """One row is read at each position of a long queue, also by a reader who has read most of it."""
    await _insert(storage, [_row(number) for number in range(1, MANY + 1)])
    for position in (0, MANY - 100):
        read = partial(_read_next, storage, position)
        for plan in await plans_of(storage, read):
            _check_plan(storage, plan)
    if storage.dialect.name == "mysql":
        assert await _rows_read(storage, MANY - 100) < 50


def _read_next(storage: SQLAlchemyStorage, position: int, connection: Connection) -> None:
    readings = {("news", EVERYBODY, position): 1, ("news", "me", 0): 1}
    messages.next_of(connection, storage.dialect, readings)


def _check_plan(storage: SQLAlchemyStorage, plan: str) -> None:
    used = {
        "sqlite": "(channel=? and target=? and position>?)",
        "postgresql": "index scan using pk_workflow_messages",
        "mysql": "'primary'",
    }
    assert used[storage.dialect.name] in plan
    for sorting in ("sort", "temp b-tree", "seq scan", "scan workflow_messages"):
        assert sorting not in plan
    if storage.dialect.name == "postgresql":
        assert "position" in plan.split("index cond")[1]


async def _rows_read(storage: SQLAlchemyStorage, position: int) -> int:
    """How many rows the server touches to find the next message; its plans do not say."""
    assert storage._writer is not None

    def read(connection: Connection) -> int:
        status = "SHOW SESSION STATUS LIKE 'Handler_read%%'"
        before = sum(int(row[1]) for row in connection.exec_driver_sql(status))
        messages.next_of(connection, storage.dialect, {("news", EVERYBODY, position): 1})
        return sum(int(row[1]) for row in connection.exec_driver_sql(status)) - before

    return await storage._writer._committer.commit(read)
