"""Short ways to make workflows fail and to see what was compensated."""

from __future__ import annotations

from typing import Any

import pytest

from edda import TerminalError, WorkflowContext, activity, on_failure
from edda.app import EddaApp
from edda.workflow import Workflow
from tests.support.eventually import eventually

done: list[str] = []


def forget() -> None:
    """Before each test: nothing is done or undone."""
    done.clear()


async def undo(ctx: WorkflowContext, name: str) -> None:
    done.append(f"undo {name}")


@activity
@on_failure(undo)
async def do(ctx: WorkflowContext, name: str) -> None:
    done.append(f"do {name}")


class Recorder:
    """Hooks that note their names and what they are about, without instance ids."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)

        def note(instance_id: str, *arguments: Any) -> None:
            told = arguments[:2] if "activity" in name else arguments[:1]
            self.calls.append((name, *map(str, told)))

        return note

    async def ends_with(self, *call: str) -> None:
        """Wait until this is the last call: hooks are told after the commit, and so after a row shows it."""

        def check() -> None:
            assert self.calls[-1:] == [call]

        await eventually(check)


@activity
async def broken(ctx: WorkflowContext) -> None:
    """The step that fails."""
    raise TerminalError("broken")


async def failed_id(workflow: Workflow[Any, Any], **arguments: Any) -> str:
    """Start a workflow that fails; returns the id of its instance."""
    with pytest.raises(Exception) as raised:
        await workflow.start(**arguments)
    instance_id = raised.value.instance_id  # type: ignore[attr-defined]
    assert isinstance(instance_id, str)
    return instance_id


async def outcomes(app: EddaApp, instance_id: str) -> list[tuple[str, str, Any]]:
    """Id, kind and data of each compensation that has an outcome, in the order of recording."""
    kinds = ("CompensationExecuted", "CompensationFailed")
    history = await app.storage.get_history(instance_id)
    return [
        (str(row["activity_id"]), str(row["event_type"]), row["event_data"])
        for row in history
        if row["event_type"] in kinds
    ]


async def compensated(app: EddaApp, instance_id: str) -> list[str]:
    """The functions that were executed as compensations, in the order of recording."""
    return [
        data["activity_name"]
        for _, kind, data in await outcomes(app, instance_id)
        if kind == "CompensationExecuted"
    ]
