"""The context that every workflow and activity receives as its first argument."""

from __future__ import annotations

from contextvars import ContextVar

from edda.exceptions import EddaError
from edda.journal import Journal
from edda.run import Run
from edda.storage.protocol import StorageProtocol


class WorkflowContext:
    """Identity and state of one run; the first parameter of every workflow and activity.

    The library makes it. ``instance_id`` and ``workflow_name`` say which durable
    execution this is, ``worker_id`` who runs it, ``hooks`` who observes it.
    """

    def __init__(
        self,
        instance_id: str,
        workflow_name: str,
        storage: StorageProtocol,
        worker_id: str,
        is_replaying: bool = False,  # noqa: FBT001, FBT002 - the published signature
        hooks: object | None = None,
    ) -> None:
        self.instance_id = instance_id
        self.workflow_name = workflow_name
        self.worker_id = worker_id
        self.hooks = hooks
        self._storage = storage
        self._journal = Journal()
        self._journal.replaying = is_replaying
        self._run: Run | None = None

    @classmethod
    def of_run(cls, run: Run) -> WorkflowContext:
        """The context of a run that the engine drives."""
        services = run.services
        context = cls(
            run.instance_id,
            run.workflow_name,
            services.storage,
            services.worker_id,
            hooks=services.hooks.observer,
        )
        context._journal = run.journal
        context._run = run
        return context

    @property
    def storage(self) -> StorageProtocol:
        """The storage behind this run, for internal use."""
        return self._storage

    @property
    def run(self) -> Run:
        """The run behind this context, for internal use."""
        if self._run is None:
            msg = f"{self!r} belongs to no run; durable operations need the context that a workflow was given"
            raise EddaError(msg)
        return self._run

    @property
    def is_replaying(self) -> bool:
        """True while recorded steps are being returned, False from the first that is not."""
        return self._journal.replaying

    @property
    def executed_activity_ids(self) -> set[str]:
        """The ids of the steps that this run has called so far."""
        return set(self._journal.called)

    def __repr__(self) -> str:
        return (
            f"WorkflowContext(instance_id={self.instance_id!r}, workflow_name={self.workflow_name!r}, "
            f"executed_activities={len(self._journal.called)}, is_replaying={self.is_replaying})"
        )


current_context: ContextVar[WorkflowContext | None] = ContextVar("edda_current_context", default=None)
