"""Everything that knows SQL; the rest of the package sees protocol, records and writes."""

from __future__ import annotations

from edda.storage.protocol import StorageProtocol
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage

__all__ = ["SQLAlchemyStorage", "StorageProtocol"]
