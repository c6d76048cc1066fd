"""What a step passes before its first effect: nothing may happen that contradicts the history."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from edda.variables import Setting


class Gate(Protocol):
    """Holds a step back for as long as it may turn out that the code does not match the history."""

    async def passed(self) -> None:
        """Return when the step may have effects; raises the signal if the run ends instead."""
        ...


def behind(gate: Gate) -> Setting[Gate | None]:
    """A block in which effects wait for this gate."""
    return Setting(_gate, gate)


async def may_begin() -> None:
    """Return when the step that the caller performs may have effects."""
    gate = _gate.get()
    if gate is not None:
        await gate.passed()


_gate: ContextVar[Gate | None] = ContextVar("edda_gate", default=None)
