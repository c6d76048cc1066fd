"""What has become of the instances of an app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edda.app import EddaApp
from edda.codec.errors import load_error
from edda.codec.values import Encoded, ValueCodec
from edda.exceptions import WorkflowCancelledException
from edda.types import EventType, Status
from edda.workflow import find_workflow

_PAGE = 1000


@dataclass(frozen=True)
class Outcome:
    """How an instance ended."""

    returned: Any = None
    raised: BaseException | None = None

    def value(self) -> Any:
        """Return what it returned, or raise what it raised."""
        if self.raised is not None:
            raise self.raised
        return self.returned


class Inspector:
    """Looks at the instances of one app."""

    def __init__(self, app: EddaApp) -> None:
        self._app = app

    async def instance(self, instance_id: str) -> dict[str, Any]:
        """The instance as the storage shows it; ``LookupError`` if there is none."""
        found: dict[str, Any] | None = await self._app.storage.get_instance(instance_id)
        if found is None:
            raise LookupError(f"There is no instance {instance_id!r}")
        return found

    async def history(self, instance_id: str) -> list[dict[str, Any]]:
        """Its steps, from the archive if it recurred."""
        instance = await self.instance(instance_id)
        storage = self._app.storage
        load = storage.get_archived_history if instance["status"] == "recurred" else storage.get_history
        return list(await load(instance_id))

    async def outcome(self, instance_id: str) -> Outcome | None:
        """How it ended, or the last of its chain; None while it has not."""
        instance = await self.instance(instance_id)
        match Status(instance["status"]):
            case Status.COMPLETED:
                return Outcome(returned=_result(instance))
            case Status.FAILED:
                return Outcome(raised=await self._error(instance_id))
            case Status.CANCELLED:
                return Outcome(raised=WorkflowCancelledException(f"{instance_id} was cancelled"))
            case Status.RECURRED:
                return await self.outcome(await self._successor(instance))
        if instance["last_error"] is not None:
            return Outcome(raised=RuntimeError(f"{instance_id} is set aside: {instance['last_error']}"))
        return None

    async def _error(self, instance_id: str) -> BaseException:
        for row in await self.history(instance_id):
            if row["event_type"] == EventType.WORKFLOW_FAILED:
                return load_error(row["event_data"]["exception"])
        raise LookupError(f"{instance_id} failed, but its history does not say how")

    async def _successor(self, instance: dict[str, Any]) -> str:
        for other in await self.instances(workflow_name=instance["workflow_name"]):
            if other["continued_from"] == instance["instance_id"]:
                return str(other["instance_id"])
        raise LookupError(f"Nothing continues {instance['instance_id']}")

    async def instances(self, **criteria: Any) -> list[dict[str, Any]]:
        """All instances that match, the newest first."""
        found: list[dict[str, Any]] = []
        token = None
        while True:
            page = await self._app.find_instances(**criteria, limit=_PAGE, page_token=token)
            found += page["instances"]
            token = page["next_page_token"]
            if not page["has_more"]:
                return found

    async def who_waits(self) -> str:
        """The instances that have not ended, and where they are."""
        live = [each for each in await self.instances() if not Status(each["status"]).is_terminal]
        lines = [
            f"{each['instance_id']} is {each['status']} at {each['current_activity_id']}" for each in live
        ]
        return "; ".join(lines) or "No instance is live."


def _result(instance: dict[str, Any]) -> Any:
    output = instance["output_data"]
    workflow = find_workflow(instance["workflow_name"])
    codec = ValueCodec() if workflow is None else workflow.codec.result
    return codec.load(Encoded(output["result"], output.get("types")))
