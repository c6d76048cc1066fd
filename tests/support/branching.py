"""Activities for workflows that do several things at once, and what the test sees of them."""

from __future__ import annotations

import asyncio

from edda import RetryPolicy, WorkflowContext, activity
from tests.support.noting import calls as calls
from tests.support.noting import note as note

LONG = 3600.0
ended: list[str] = []
_gates: dict[str, asyncio.Event] = {}
_begun: dict[str, asyncio.Event] = {}


def forget() -> None:
    """Begin a test with every gate shut."""
    ended.clear()
    _gates.clear()
    _begun.clear()


def gate(name: str) -> asyncio.Event:
    """What :func:`gated` waits for."""
    return _gates.setdefault(name, asyncio.Event())


def begun(name: str) -> asyncio.Event:
    """Set once :func:`gated` was called with this name."""
    return _begun.setdefault(name, asyncio.Event())


@activity
async def gated(ctx: WorkflowContext, name: str) -> str:
    """Returns when the test opens its gate."""
    calls.append(name)
    begun(name).set()
    try:
        await gate(name).wait()
    finally:
        ended.append(name)
    return name


@activity(retry_policy=RetryPolicy(max_attempts=1))
async def broken(ctx: WorkflowContext, text: str) -> None:
    calls.append(text)
    raise OSError(text)


def ids(steps: list[tuple[str, str]]) -> list[str]:
    """The ids alone of what :func:`tests.support.apps.steps_of` returns."""
    return [step for step, _ in steps]
