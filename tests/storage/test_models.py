from __future__ import annotations

from sqlalchemy import Constraint, Index

from edda.storage.models import OPTIONS, metadata


def test_ids_differ_by_case_on_every_database() -> None:
    """MySQL's default collation would take ``a`` and ``A`` for the same id."""
    for table in metadata.tables.values():
        assert table.dialect_options["mysql"]["collate"] == OPTIONS["mysql_collate"] == "utf8mb4_bin"


def test_every_constraint_and_index_has_a_name_to_migrate_it_by() -> None:
    for table in metadata.tables.values():
        parts: list[Constraint | Index] = [*table.constraints, *table.indexes]
        assert all(part.name for part in parts), table.name
