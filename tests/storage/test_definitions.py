from __future__ import annotations

import asyncio

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import DefinitionRegistered
from tests.support.writes import WORKFLOW, run_of

DEFINITION = DefinitionRegistered(WORKFLOW, "hash", "async def order(ctx): ...")


async def test_a_definition_is_shown_with_its_instances(storage: SQLAlchemyStorage) -> None:
    await storage.submit(DEFINITION)
    held = await run_of(storage, source_hash="hash")
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert shown["source_code"] == DEFINITION.source_code


async def test_registering_again_changes_nothing(storage: SQLAlchemyStorage) -> None:
    other = DefinitionRegistered(WORKFLOW, "hash", "something else")
    await storage.submit(DEFINITION)
    await storage.submit(other)
    held = await run_of(storage, source_hash="hash")
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert shown["source_code"] == DEFINITION.source_code


async def test_many_workers_register_one_definition_at_once(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    for version in range(10):
        write = DefinitionRegistered(WORKFLOW, f"hash-{version}", "source")
        answers = await asyncio.gather(*(storage.submit(write) for storage in two_storages for _ in range(5)))
        assert answers == [None] * 10
