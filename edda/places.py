"""How many instances that others could run as well a worker runs side by side."""

from __future__ import annotations

from collections.abc import Callable


class Places:
    """The places for claimed runs; a run that ends frees its own."""

    def __init__(self, most: int, when_free: Callable[[], None] = lambda: None) -> None:
        self._most = most
        self._taken = 0
        self._when_free = when_free
        self.is_awaited = False
        """Whether instances that are due for longer may be waiting for one."""

    @property
    def free(self) -> int:
        """How many are left."""
        return max(0, self._most - self._taken)

    def take(self) -> None:
        """One more run begins."""
        self._taken += 1

    def take_unless_awaited(self) -> bool:
        """As :meth:`take`, out of turn: only while nobody waits for one. Says whether there was one."""
        if self.is_awaited or not self.free:
            return False
        self.take()
        return True

    def give_back(self, _: object = None) -> None:
        """A run has ended; whoever waited while all were taken is told."""
        was_full = not self.free
        self._taken -= 1
        if was_full:
            self._when_free()
