"""New instances: their arguments checked, their rows prepared, their definitions stored once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edda.codec.json import check_size, dumps
from edda.exceptions import ShuttingDownError
from edda.ids import new_instance_id
from edda.run import Services
from edda.storage.records import Lease
from edda.storage.writes import DefinitionRegistered, NewInstance
from edda.workflow import Workflow

AnyWorkflow = Workflow[Any, Any]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How long leases are, and how many parked executions stay in memory."""

    service_name: str
    db_url: str
    lease_seconds: float = 30.0
    default_lock_timeout: float = 300.0
    residents: int = 1000


class Creation:
    """Makes the rows of new instances for one worker."""

    def __init__(self, services: Services, options: EngineOptions) -> None:
        self._services = services
        self._storage = services.storage
        self._options = options
        self._registered: set[tuple[str, str]] = set()
        self.closed = False

    def prepare(
        self,
        workflow: AnyWorkflow,
        arguments: dict[str, Any],
        *,
        leased: bool,
        lock_timeout: float | None = None,
        instance_id: str | None = None,
    ) -> tuple[NewInstance, dict[str, Any]]:
        """Check the arguments; returns the instance to be stored and the arguments as the body sees them.

        Raises ``TypeError`` or pydantic's ``ValidationError`` for arguments that do not
        fit, :class:`~edda.exceptions.PayloadTooLargeError` for too many bytes, and
        :class:`ShuttingDownError` once the engine drains.
        """
        if self.closed:
            raise ShuttingDownError
        stored = workflow.codec.dump_kwargs(arguments)
        loaded = workflow.codec.load_kwargs(stored)
        text = dumps(stored.json)
        check_size(text, f"the input of {workflow.name!r}", limit=self._services.max_payload_bytes)
        instance_id = instance_id or new_instance_id(workflow.name)
        timeout = workflow.lock_timeout_seconds if lock_timeout is None else lock_timeout
        lease = (
            Lease(instance_id, self._services.worker_id, 1, self._lease_seconds(timeout)) if leased else None
        )
        new = NewInstance(
            instance_id,
            workflow.name,
            workflow.source_hash,
            self._options.service_name,
            text,
            lock_timeout_seconds=timeout,
            lease=lease,
            input_types=dumps(stored.types) if stored.types else None,
        )
        return new, loaded

    def _lease_seconds(self, lock_timeout: float | None) -> float:
        timeout = self._options.default_lock_timeout if lock_timeout is None else lock_timeout
        return min(self._options.lease_seconds, timeout)

    async def register_definition(self, workflow: AnyWorkflow) -> None:
        """Store the source of the workflow, once per version in this process."""
        key = (workflow.name, workflow.source_hash)
        if key not in self._registered:
            await self._storage.submit(definition_of(workflow))
            self._registered.add(key)


def definition_of(workflow: AnyWorkflow) -> DefinitionRegistered:
    """The version of the workflow that this process runs."""
    return DefinitionRegistered(workflow.name, workflow.source_hash, workflow.source_code)
