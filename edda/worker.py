"""What an initialised app consists of, and the order in which it starts and stops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from edda.creation import EngineOptions
from edda.handlers import EventHandlers
from edda.hooks import HookDispatcher
from edda.ingest import EventWorkflow, Ingest
from edda.loops.due import DueLoop
from edda.loops.leases import LeaseLoop
from edda.replay import ReplayEngine
from edda.retry import DEFAULT_RETRY_POLICY
from edda.run import Services
from edda.settings import Settings
from edda.storage.protocol import StorageProtocol
from edda.workflow import announce_engine, withdraw_engine

# Sync activities wait for something outside most of the time, so there may be many more than cores.
_THREADS = 64


class Worker:
    """Engine, loops and ingest over one storage."""

    def __init__(
        self,
        settings: Settings,
        storage: StorageProtocol,
        *,
        worker_id: str,
        hooks: object | None,
        handlers: EventHandlers,
        event_workflow: EventWorkflow,
        concurrency: int,
        strict_replay: bool,
        max_payload_bytes: int,
        resident_limit: int,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="edda-activity")
        services = Services(
            storage=storage,
            worker_id=worker_id,
            hooks=HookDispatcher(hooks),
            default_retry_policy=settings.default_retry_policy or DEFAULT_RETRY_POLICY,
            threads=self._threads,
            strict_replay=strict_replay,
            max_payload_bytes=max_payload_bytes,
        )
        self.engine = ReplayEngine(
            services,
            EngineOptions(
                settings.service_name, settings.db_url, settings.lease_seconds, residents=resident_limit
            ),
            wake_in=self._wake_in,
            own_workflows=[handlers.workflow],
        )
        self.ingest = Ingest(
            storage=storage,
            engine=self.engine,
            service_name=settings.service_name,
            handlers=handlers,
            event_workflow=event_workflow,
            concurrency=concurrency,
        )
        self._due = DueLoop(
            storage,
            engine=self.engine,
            worker_id=worker_id,
            lease_seconds=settings.lease_seconds,
            batch=settings.batch,
            concurrency=concurrency,
        )
        self._leases = LeaseLoop(self.engine.leases, lease_seconds=settings.lease_seconds)

    def _wake_in(self, seconds: float) -> None:
        self._due.wake_in(seconds)

    async def start(self) -> None:
        """Open the storage, then begin to renew leases and to pick up work."""
        try:
            await self._storage.open(migrate=self._settings.auto_migrate)
        except BaseException:
            self._threads.shutdown(wait=False)
            await self._storage.close()
            raise
        self._leases.start()
        self._due.start()
        announce_engine(self.engine)

    async def stop(self, drain_seconds: float) -> None:
        """Stop claiming, drain, hand leases back, and only then stop renewing and disconnect."""
        withdraw_engine(self.engine)
        await self._due.stop()
        await self.engine.drain(drain_seconds)
        await self._leases.stop()
        await self._storage.close()
        # A thread that still runs an activity whose run was cancelled must not hold up the stop.
        self._threads.shutdown(wait=False, cancel_futures=True)
