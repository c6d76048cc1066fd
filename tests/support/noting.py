"""A step that leaves a trace in this process, for tests that ask what ran, and in which order."""

from __future__ import annotations

from typing import Any

from edda import WorkflowContext, activity

calls: list[Any] = []


def forget() -> None:
    """Begin a test with nothing called."""
    calls.clear()


@activity
async def note(ctx: WorkflowContext, text: str) -> str:
    calls.append(text)
    return text
