"""Keeps a transaction of a run apart from the steps that the same run commits through the writer.

Outcomes enter the body in the order in which they are recorded. Steps that share the
writer's commits are numbered and answered in one order. A transaction with the user's
statements commits on another connection: its row could be numbered before a step that
is answered first. So its commit waits for the steps under way, and those that come wait
for it, until its outcome has a place in the queue into the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CommitOrder:
    """Many may share the way at once, or one has it alone; who comes first goes first."""

    def __init__(self) -> None:
        self._sharing = 0
        self._is_taken = False
        self._may_change = asyncio.Event()

    async def share(self) -> None:
        """Return when nobody has the way alone, or asked for that before; :meth:`leave` follows."""
        while self._is_taken:
            self._may_change.clear()
            await self._may_change.wait()
        self._sharing += 1

    def leave(self) -> None:
        """One of those that share is done."""
        self._sharing -= 1
        if self._is_taken:
            self._may_change.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else is on the way in this block."""
        while self._is_taken:
            self._may_change.clear()
            await self._may_change.wait()
        self._is_taken = True
        try:
            while self._sharing:
                self._may_change.clear()
                await self._may_change.wait()
            yield
        finally:
            self._is_taken = False
            self._may_change.set()
