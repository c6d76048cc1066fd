"""The only place that makes identifiers and randomness."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import uuid

HANDLERS_SUFFIX = ".on_event"


def handlers_workflow_name(service_name: str) -> str:
    """The name of the workflow that runs the event handlers of a service."""
    return service_name + HANDLERS_SUFFIX


def new_instance_id(workflow_name: str) -> str:
    """A fresh id of the form ``{workflow_name}-{32 hex digits}``.

    The digits begin with the time in milliseconds, so that rows of one period lie
    together in the index and inserting stays cheap in a large table.
    """
    millis = time.time_ns() // 1_000_000
    return f"{workflow_name}-{millis & 0xFFFFFFFFFFFF:012x}{secrets.token_hex(10)}"


def derived_instance_id(workflow_name: str, *parts: str) -> str:
    """The id that belongs to these parts: the same each time, different for others."""
    digest = derived_key(workflow_name, *parts)
    return f"{workflow_name}-{digest[:32]}"


def derived_key(*parts: str) -> str:
    """64 hex digits that identify this sequence of texts (SHA-256 over a prefix-free form)."""
    framed = b"".join(b"%d:%s" % (len(raw), raw) for raw in (part.encode() for part in parts))
    return hashlib.sha256(framed).hexdigest()


def derived_uuid(*parts: str) -> uuid.UUID:
    """The UUID, in the form of version 4, that belongs to these parts: the same each time."""
    return uuid.UUID(hex=derived_key(*parts)[:32], version=4)


def new_uuid() -> uuid.UUID:
    """A random UUID."""
    return uuid.UUID(bytes=secrets.token_bytes(16), version=4)


def new_worker_id(service_name: str) -> str:
    """``{service_name}-{pid}-{8 hex digits}``: unique for each app object and process."""
    return f"{service_name}-{os.getpid()}-{secrets.token_hex(4)}"


def new_key() -> str:
    """64 hex digits that are like no other."""
    return secrets.token_hex(32)


def fraction() -> float:
    """A random number from 0 up to 1, for spreading retries in time."""
    return secrets.randbelow(1 << 53) / (1 << 53)
