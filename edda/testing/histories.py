"""Histories as they are taken out of a database, and as files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edda.codec.json import loads
from edda.ids import HANDLERS_SUFFIX
from edda.searching import Search
from edda.storage import instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import Status

_PAGE = 100


@dataclass(frozen=True)
class StoredHistory:
    """One instance with its history, as ``get_instance`` and ``get_history`` return them.

    ``input_types`` is what ``input_data`` has lost by becoming JSON; None if nothing.
    """

    instance: dict[str, Any]
    history: list[dict[str, Any]]
    input_types: dict[str, Any] | None = None

    @property
    def instance_id(self) -> str:
        """The instance."""
        return str(self.instance["instance_id"])


class _Histories(SQLAlchemyStorage):
    """Reads instances together with what is not shown of them."""

    async def load(self, instance: dict[str, Any]) -> StoredHistory:
        instance_id = instance["instance_id"]
        recurred = instance["status"] == Status.RECURRED
        rows = await (self.get_archived_history if recurred else self.get_history)(instance_id)
        types = await self._read(lambda connection: instances.load_input_types(connection, instance_id))
        notes: Any = None if types is None else loads(types)
        return StoredHistory(instance, list(rows), notes)


async def export_histories(
    db_url: str,
    directory: str | Path,
    *,
    workflow_name: str | None = None,
    status: str | None = None,
    limit: int | None = None,
) -> list[Path]:
    """Write the histories of instances, the newest first, to JSON files named after them.

    ``workflow_name``: any part of it, ``limit``: at most so many. The directory is made if
    need be, and files of the same name are replaced. Returns the files. Raises
    ``StorageError`` for a database that cannot be read. Mind that inputs and results are
    in there as they are.

    ::

        await export_histories("postgresql://…", "tests/histories", workflow_name="order_saga", limit=50)
    """
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    files = []
    source = histories_in_database(db_url, workflow_name=workflow_name, status=status, limit=limit)
    async for stored in source:
        file = target / f"{stored.instance_id}.json"
        file.write_text(json.dumps(asdict(stored), indent=1, ensure_ascii=False) + "\n")
        files.append(file)
    return files


async def histories_in_database(
    db_url: str, *, workflow_name: str | None = None, status: str | None = None, limit: int | None = None
) -> AsyncIterator[StoredHistory]:
    """The histories of the instances that match, the newest first; those of event handlers are left out."""
    count, token = 0, None
    async with _opened(db_url) as storage:
        while True:
            page = await storage.find_instances(_search(workflow_name, status, token))
            for instance in page["instances"]:
                if instance["workflow_name"].endswith(HANDLERS_SUFFIX):
                    continue
                if count == limit:
                    return
                count += 1
                yield await storage.load(instance)
            token = page["next_page_token"]
            if not page["has_more"]:
                return


def _search(workflow_name: str | None, status: str | None, token: str | None) -> Search:
    return Search.of(
        input_filters=None,
        status=status,
        workflow_name=workflow_name,
        instance_id=None,
        started_after=None,
        started_before=None,
        limit=_PAGE,
        page_token=token,
    )


@asynccontextmanager
async def _opened(db_url: str) -> AsyncIterator[_Histories]:
    storage = _Histories(db_url)
    await storage.open(migrate=False)
    try:
        yield storage
    finally:
        await storage.close()


async def histories_in_files(path: Path) -> AsyncIterator[StoredHistory]:
    """The histories of one file, or of all ``*.json`` files of a directory.

    Raises ``FileNotFoundError`` where there are none, ``ValueError`` for a file that holds something else.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"No *.json file in {path}")
    for file in files:
        fields = json.loads(file.read_text())
        if not isinstance(fields, dict) or not {"instance", "history"} <= fields.keys():
            raise ValueError(f"{file} holds no history: it needs 'instance' and 'history'")
        yield StoredHistory(fields["instance"], fields["history"], fields.get("input_types"))
