"""Chains of instances that continue each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, or_, select

from edda.app import EddaApp
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.rows import storage_of

_table = workflow_instances.c


async def chain_of(app: EddaApp, first_id: str) -> list[RowMapping]:
    """The rows of the chain that begins with this instance, each one continued by the next."""
    return await stored_chain(storage_of(app), first_id)


async def statuses(app: EddaApp, first_id: str) -> list[str]:
    """How far the instances of the chain are."""
    return [row["status"] for row in await chain_of(app, first_id)]


async def instances_of(app: EddaApp, workflow_name: str) -> Sequence[RowMapping]:
    """The rows of all instances of a workflow."""
    query = select(*_table).where(_table.workflow_name == workflow_name)
    async with storage_of(app).engine.connect() as connection:
        return (await connection.execute(query)).mappings().all()


async def stored_chain(storage: SQLAlchemyStorage, first_id: str) -> list[RowMapping]:
    """As :func:`chain_of`; fails if the instances of the chain are not one line."""
    query = select(*_table).where(or_(_table.instance_id == first_id, _table.chain_id == first_id))
    async with storage.engine.connect() as connection:
        found = (await connection.execute(query)).mappings().all()
    return _in_line(found)


def _in_line(found: Sequence[RowMapping]) -> list[RowMapping]:
    following: dict[Any, RowMapping] = {row["continued_from"]: row for row in found}
    assert len(following) == len(found), "two instances continue the same one"
    line = [following.pop(None)]
    while following:
        line.append(following.pop(line[-1]["instance_id"]))
    return line
