"""``POST /cancel/{instance_id}``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edda.endpoints.asgi import Answer
from edda.endpoints.failures import log_failure, status_of

Cancel = Callable[[str], Awaitable[bool]]

_PREFIX = "/cancel/"


def instance_to_cancel(path: str) -> str | None:
    """The instance that a path below the mount point asks to cancel, "" if it names none; else None.

    >>> instance_to_cancel("/cancel/order-1"), instance_to_cancel("/cancel"), instance_to_cancel("/")
    ('order-1', '', None)
    """
    if path.startswith(_PREFIX):
        return path.removeprefix(_PREFIX)
    return "" if path == _PREFIX.rstrip("/") else None


async def cancel_instance(instance_id: str, cancel: Cancel) -> Answer:
    """Cancel it and say what became of that; ``cancel`` returns whether it was live."""
    if not instance_id:
        return Answer(400, {"error": "Missing instance_id"})
    try:
        cancelled = await cancel(instance_id)
    except Exception as error:  # noqa: BLE001 - whatever failed, the client must not be left hanging
        log_failure(error, f"Cancelling {instance_id} failed", instance_id=instance_id)
        return Answer(status_of(error), {"error": str(error), "type": type(error).__name__})
    if cancelled:
        return Answer(200, {"status": "cancelled", "instance_id": instance_id})
    text = "Cannot cancel workflow (not found or already completed/failed/cancelled)"
    return Answer(400, {"error": text})
