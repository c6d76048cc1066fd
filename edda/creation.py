"""New instances: their arguments checked, their rows prepared, their definitions stored once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edda.codec.inputs import Input, encode_input
from edda.exceptions import ShuttingDownError
from edda.ids import new_instance_id
from edda.run import Run, Services
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
        given = self._encode(workflow, arguments)
        timeout = workflow.lock_timeout_seconds if lock_timeout is None else lock_timeout
        new = self._new(workflow, given, instance_id or new_instance_id(workflow.name), timeout)
        return new if leased else replace(new, lease=None), given.arguments

    def prepare_successor(
        self, run: Run, workflow: AnyWorkflow, arguments: Mapping[str, Any]
    ) -> tuple[NewInstance, dict[str, Any]]:
        """As :meth:`prepare`, for the instance that continues the one of this run."""
        given = self._encode(workflow, arguments)
        new = self._new(workflow, given, new_instance_id(workflow.name), run.lock_timeout_seconds)
        return replace(new, continued_from=run.instance_id, chain_id=run.chain_id), given.arguments

    def _encode(self, workflow: AnyWorkflow, arguments: Mapping[str, Any]) -> Input:
        limit = self._services.max_payload_bytes
        return encode_input(workflow.codec, arguments, workflow.name, limit=limit)

    def _new(
        self, workflow: AnyWorkflow, given: Input, instance_id: str, lock_timeout: float | None
    ) -> NewInstance:
        return NewInstance(
            instance_id,
            workflow.name,
            workflow.source_hash,
            self._options.service_name,
            given.text,
            lock_timeout_seconds=lock_timeout,
            lease=Lease(instance_id, self._services.worker_id, 1, self.lease_seconds(lock_timeout)),
            input_types=given.types,
        )

    def lease_seconds(self, lock_timeout: float | None) -> float:
        """How long the lease of an instance with this lock timeout lasts."""
        timeout = self._options.default_lock_timeout if lock_timeout is None else lock_timeout
        return min(self._options.lease_seconds, timeout)

    def is_registered(self, workflow: AnyWorkflow) -> bool:
        """Whether this process has stored the source of this version of the workflow."""
        return (workflow.name, workflow.source_hash) in self._registered

    async def register_definition(self, workflow: AnyWorkflow) -> None:
        """Store the source of the workflow, once per version in this process."""
        if not self.is_registered(workflow):
            await self._storage.submit(definition_of(workflow))
            self._registered.add((workflow.name, workflow.source_hash))


def definition_of(workflow: AnyWorkflow) -> DefinitionRegistered:
    """The version of the workflow that this process runs."""
    return DefinitionRegistered(workflow.name, workflow.source_hash, workflow.source_code)
