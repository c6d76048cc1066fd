"""Activities that fail before they succeed, and the row they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edda import clock
from edda.app import EddaApp


class Failing:
    """A function that fails so many times before it succeeds."""

    def __init__(self, times: int, error: Callable[[int], Exception] = lambda n: OSError(f"no {n}")) -> None:
        self.times = times
        self.error = error
        self.called_at: list[float] = []

    def __call__(self) -> str:
        self.called_at.append(clock.monotonic())
        if len(self.called_at) <= self.times:
            raise self.error(len(self.called_at))
        return "done"


async def only_step(app: EddaApp, instance_id: str) -> tuple[str, Any]:
    """Kind and data of the first recorded step."""
    row = (await app.storage.get_history(instance_id))[0]
    return str(row["event_type"]), row["event_data"]
