"""What an initialised app consists of, and the order in which it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edda.creation import EngineOptions
from edda.exceptions import StorageError
from edda.handlers import EventHandlers
from edda.hooks import HookDispatcher
from edda.ingest import EventWorkflow, Ingest
from edda.loops.batch_size import batch_size
from edda.loops.due import DueLoop
from edda.loops.leader import LeaderLoop
from edda.loops.leases import LeaseLoop
from edda.loops.polling import PollPause
from edda.loops.retention import RetentionLoop
from edda.outbox.relayer import OutboxRelayer
from edda.places import Places
from edda.replay import ReplayEngine
from edda.retry import DEFAULT_RETRY_POLICY
from edda.run import Services
from edda.settings import Settings
from edda.storage.news import News
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
        accept_seconds: Callable[[], float],
        concurrency: int,
        strict_replay: bool,
        max_payload_bytes: int,
        resident_limit: int,
        instance_retention_seconds: float | None,
        relayer: OutboxRelayer | None,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self.relayer = relayer
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
        places = Places(concurrency, when_free=lambda: self._wake_in(0.0))
        self.engine = ReplayEngine(
            services,
            EngineOptions(
                settings.service_name, settings.db_url, settings.lease_seconds, residents=resident_limit
            ),
            wake_in=self._wake_in,
            own_workflows=[handlers.workflow],
            places=places,
        )
        self.ingest = Ingest(
            storage=storage,
            engine=self.engine,
            service_name=settings.service_name,
            handlers=handlers,
            event_workflow=event_workflow,
            within=accept_seconds,
            concurrency=concurrency,
        )
        self._due = DueLoop(
            storage,
            engine=self.engine,
            worker_id=worker_id,
            lease_seconds=settings.lease_seconds,
            batch=batch_size(settings.max_workflows_per_batch),
            places=places,
            poll_pause=PollPause(told_interval=settings.told_poll_interval, news=storage),
        )
        self._leases = LeaseLoop(self.engine.leases, lease_seconds=settings.lease_seconds)
        self.leader = self._make_leader(worker_id)
        self.retention = RetentionLoop(
            storage,
            older_than=settings.retention_seconds,
            leads=self.leader.leads,
            instances_older_than=instance_retention_seconds,
        )

    def _wake_in(self, seconds: float) -> None:
        self._due.wake_in(seconds)

    def _make_leader(self, worker_id: str) -> LeaderLoop:
        return LeaderLoop(
            self._storage,
            worker_id=worker_id,
            lease_seconds=self._settings.leader_lease_duration,
            heartbeat_seconds=self._settings.leader_heartbeat_interval,
            elected=self._begin_to_lead,
        )

    def _begin_to_lead(self) -> None:
        self.retention.begin()

    def _hear(self, news: News) -> None:
        if news.everything and not self.leader.leads():  # it may be the leader that has resigned
            self.leader.wake()
        if not self.engine.resuming.hear(news.woken) or news.due:
            self._due.wake()
        if news.cancelled:
            self._leases.wake()
        if news.outbox and self.relayer is not None:
            self.relayer.wake()
        if news.channels:
            self.engine.look_for_messages(news.channels)

    async def start(self) -> None:
        """Open the storage, then begin to renew leases and to pick up work."""
        try:
            await self._storage.open(migrate=self._settings.auto_migrate)
            if self.relayer is not None:
                await self.relayer.start()
        except BaseException:
            self._threads.shutdown(wait=False)
            await self._storage.close()
            raise
        self._storage.listen(self._hear)
        self._storage.accompany(self.engine.resuming.accompany)
        self._storage.listen_to_others()
        self._leases.start()
        self._due.start()
        self.leader.start()
        self.retention.start()
        announce_engine(self.engine)

    async def stop(self, drain_seconds: float) -> None:
        """Stop claiming, resign, drain, hand leases back, and only then stop renewing and disconnect."""
        withdraw_engine(self.engine)
        await asyncio.gather(self._due.stop(), self.retention.stop(), self.leader.stop())
        await self.engine.drain(drain_seconds)
        self._storage.listen(None)
        self._storage.accompany(None)
        # Nobody here watches the timers any more that no other worker may have seen yet.
        with contextlib.suppress(StorageError):
            await self._storage.alert_others()
        if self.relayer is not None:  # it may still send what the last steps have recorded
            await self.relayer.stop()
        await self._leases.stop()
        await self._storage.close()
        # A thread that still runs an activity whose run was cancelled must not hold up the stop.
        self._threads.shutdown(wait=False, cancel_futures=True)
