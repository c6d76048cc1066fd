"""The lifespan protocol of ASGI."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edda.types import Receive, Send

logger = logging.getLogger(__name__)


async def serve_lifespan(
    receive: Receive, send: Send, *, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> None:
    """Start and stop at the word of the server, and report what fails."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if not await _report(send, "startup", start):
                return
        elif message["type"] == "lifespan.shutdown":
            await _report(send, "shutdown", stop)
            return


async def _report(send: Send, phase: str, act: Callable[[], Awaitable[None]]) -> bool:
    try:
        await act()
    except Exception as error:  # the server needs an answer, whatever went wrong
        logger.exception("%s failed", phase.capitalize())
        await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
        return False
    await send({"type": f"lifespan.{phase}.complete"})
    return True
