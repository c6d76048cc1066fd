"""The application object: wires storage, engine, loops and endpoint, and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self

from edda.cloudevent import Event
from edda.codec.json import DEFAULT_MAX_BYTES
from edda.endpoints.authentication import Authenticate
from edda.endpoints.routes import Endpoint
from edda.exceptions import InvalidEventError, ShuttingDownError
from edda.handlers import EventHandlers, Handler
from edda.ids import new_worker_id
from edda.lifespan import serve_lifespan
from edda.outbox.relayer import OutboxRelayer
from edda.replay import ReplayEngine
from edda.retry import RetryPolicy
from edda.searching import Search
from edda.settings import Settings
from edda.storage.protocol import StorageProtocol
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import Receive, Scope, Send
from edda.worker import Worker
from edda.workflow import Workflow, activated, find_workflow

__all__ = ["EddaApp"]


class EddaApp:
    """One worker: an ASGI application that receives events and runs durable workflows.

    State lives in the database of ``db_url``: ``sqlite:///file.db``, ``postgresql://…``
    or ``mysql://…``. Several processes with the same URL share the work.

    ::

        app = EddaApp("order-service", "sqlite:///orders.db")   # then: uvicorn module:app

    Everybody who can reach the app may post events and cancel instances, unless ``authenticate``
    says otherwise: :func:`edda.bearer_token`, :func:`edda.hmac_signature`, or a function of yours.

    Raises ``ValueError`` for options that cannot work. ``max_body_size`` (bytes),
    ``body_seconds`` (the longest a client may take for a request body), ``accept_seconds`` (the
    longest an event waits for the database before it is refused with 503), ``authenticate``,
    ``max_concurrent_workflows`` (resumed instances run at once), ``event_retry_policy``
    (for ``on_event`` handlers), ``drain_seconds`` (the longest orderly stop),
    ``resident_limit`` (parked runs that stay in memory; 0 replays at every wake-up, to
    test that workflows can be replayed), ``strict_replay`` (arguments that differ from
    the recorded ones are an error, not a warning), ``max_payload_bytes`` (JSON text of
    an input, a step or a result; 8 MiB), ``instance_retention_days`` (instances that ended
    longer ago are removed with their history; None: never) and ``outbox_options`` (keyword arguments for the
    :class:`~edda.OutboxRelayer` that ``outbox_enabled`` starts) are class attributes that an instance or a
    subclass may override before it is initialised.
    """

    max_body_size = 1_048_576
    body_seconds = 10.0
    accept_seconds = 10.0
    authenticate: Authenticate | None = None
    max_concurrent_workflows = 100
    drain_seconds = 10.0
    event_retry_policy: RetryPolicy | None = None
    strict_replay = False
    max_payload_bytes = DEFAULT_MAX_BYTES
    resident_limit = 1000
    instance_retention_days: float | None = None
    outbox_options: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        service_name: str,
        db_url: str,
        outbox_enabled: bool = False,  # noqa: FBT001, FBT002
        broker_url: str | None = None,
        hooks: object | None = None,
        default_retry_policy: RetryPolicy | None = None,
        message_retention_days: int = 7,
        pool_size: int = 5,
        max_overflow: int = 10,
        pool_timeout: int = 30,
        pool_recycle: int = 3600,
        pool_pre_ping: bool = True,  # noqa: FBT001, FBT002
        use_listen_notify: bool | None = None,  # noqa: FBT001
        notify_fallback_interval: int = 30,
        max_workflows_per_batch: int | str = 10,
        leader_heartbeat_interval: int = 15,
        leader_lease_duration: int = 45,
        *,
        auto_migrate: bool = True,
    ) -> None:
        self.settings = Settings(
            service_name=service_name,
            db_url=db_url,
            outbox_enabled=outbox_enabled,
            broker_url=broker_url,
            default_retry_policy=default_retry_policy,
            message_retention_days=message_retention_days,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            pool_recycle=pool_recycle,
            pool_pre_ping=pool_pre_ping,
            use_listen_notify=use_listen_notify,
            notify_fallback_interval=notify_fallback_interval,
            max_workflows_per_batch=max_workflows_per_batch,
            leader_heartbeat_interval=leader_heartbeat_interval,
            leader_lease_duration=leader_lease_duration,
            auto_migrate=auto_migrate,
        )
        self.service_name = service_name
        self.db_url = db_url
        self.outbox_enabled = outbox_enabled
        self.broker_url = broker_url
        self.hooks = hooks
        self.default_retry_policy = default_retry_policy
        self.worker_id = new_worker_id(service_name)
        self.event_handlers: dict[str, list[Handler]] = {}
        self.storage: StorageProtocol = self._make_storage()
        self._worker: Worker | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._endpoint = Endpoint(self._accept, self._cancel, self)

    def _make_storage(self) -> StorageProtocol:
        settings = self.settings
        return SQLAlchemyStorage(
            settings.db_url,
            notifications=settings.use_listen_notify is not False,
            stall_seconds=settings.stall_seconds,
            pool_size=settings.pool_size,
            max_overflow=settings.max_overflow,
            pool_timeout=settings.pool_timeout,
            pool_recycle=settings.pool_recycle,
            pool_pre_ping=settings.pool_pre_ping,
        )

    def _make_relayer(self) -> OutboxRelayer | None:
        if not self.outbox_enabled or self.broker_url is None:
            return None
        return OutboxRelayer(self.storage, self.broker_url, **self.outbox_options)

    @property
    def outbox_relayer(self) -> OutboxRelayer | None:
        """The relayer of the initialised app, else None; None also without ``outbox_enabled``."""
        return None if self._worker is None else self._worker.relayer

    @property
    def replay_engine(self) -> ReplayEngine | None:
        """The engine of the initialised app, else None."""
        return None if self._worker is None else self._worker.engine

    async def initialize(self) -> None:
        """Migrate the schema, connect, and begin to pick up work. Harmless when repeated.

        Concurrent callers share one initialisation. When it fails, everything opened is
        closed again, all of them get the error, and a later call tries anew. Raises
        ``ValueError`` for a database URL or option that cannot work, ``ImportError`` when
        the driver is not installed, :class:`~edda.exceptions.StorageError` when the
        database cannot be reached or its schema does not fit.
        """
        if self._worker is not None:
            return
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
            self._starting.add_done_callback(self._started)
        # Shielded: a caller that is cancelled must not take the others' initialisation along.
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        if self._stopping is not None:
            await asyncio.wait({self._stopping})
        self.settings.check_notifications()
        # Here and not only when the app was made: it may have been made before the process was forked.
        self.worker_id = new_worker_id(self.service_name)
        worker = Worker(
            self.settings,
            self.storage,
            worker_id=self.worker_id,
            hooks=self.hooks,
            handlers=EventHandlers(self.service_name, self.event_handlers, lambda: self.event_retry_policy),
            event_workflow=self._event_workflow,
            accept_seconds=lambda: self.accept_seconds,
            concurrency=self.max_concurrent_workflows,
            strict_replay=self.strict_replay,
            max_payload_bytes=self.max_payload_bytes,
            resident_limit=self.resident_limit,
            instance_retention_seconds=self.settings.retention_of_instances(self.instance_retention_days),
            relayer=self._make_relayer(),
        )
        await worker.start()
        self._worker = worker

    def _started(self, _: object) -> None:
        self._starting = None

    async def shutdown(self) -> None:
        """Let running workflows reach their next step, hand every lease back, and disconnect.

        What has not reached a step after ``drain_seconds`` is cancelled and goes on
        elsewhere from its last recorded step. Harmless when repeated, concurrent callers
        share one stop, and one that is cancelled does not end it; the app can be
        initialised again afterwards.
        """
        if self._starting is not None:
            await asyncio.wait({self._starting})
        worker, self._worker = self._worker, None
        if worker is not None:
            self._stopping = asyncio.get_running_loop().create_task(worker.stop(self.drain_seconds))
            self._stopping.add_done_callback(self._stopped)
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    def _stopped(self, _: object) -> None:
        self._stopping = None

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.shutdown()

    @contextmanager
    def activate(self) -> Iterator[Self]:
        """Workflows started in this block belong to this app; needed only where there are several.

        Raises ``RuntimeError`` when the app is not initialised.
        """
        with activated(self._require_worker().engine):
            yield self

    def on_event(self, event_type: str, proto_type: object | None = None) -> Callable[[Handler], Handler]:
        """Register a function for events of this type; several for one type all run.

        The function gets the event; it may be sync or async. It runs from the stored
        event: again after a crash, and with back-off when it raises.

        ::

            @app.on_event("order.created")
            async def handle(event):
                await order_saga.start(order_id=event.data["order_id"])
        """

        def register(handler: Handler) -> Handler:
            if not callable(handler):
                raise TypeError(f"on_event({event_type!r}) decorates functions, not {handler!r}")
            if proto_type is not None:
                handler._proto_type = proto_type  # type: ignore[attr-defined]  # noqa: SLF001 - the published name
            self.event_handlers.setdefault(event_type, []).append(handler)
            return handler

        return register

    async def handle_cloudevent(self, event: object, wait: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take an event in, as if it had been posted: stored when this returns.

        ``event`` is a CloudEvent of the cloudevents library or an
        :class:`edda.cloudevent.Event`. With ``wait``, return after every handler and
        every instance it started has completed, failed or parked. Raises ``TypeError``
        or pydantic's ``ValidationError``, with nothing stored, when the data does not
        fit the workflow it starts.
        """
        try:
            runs = await self._require_worker().ingest.accept([Event.of(event)])
        except InvalidEventError as error:
            raise (error.__cause__ or error) from None
        if wait and runs:
            await asyncio.wait(runs)

    async def find_instances(
        self,
        *,
        input_filters: Mapping[str, Any] | None = None,
        status: str | None = None,
        workflow_name: str | None = None,
        instance_id: str | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        limit: int = 50,
        page_token: str | None = None,
    ) -> dict[str, Any]:
        """The instances for which all of these hold, the newest first, a page at a time.

        ``input_filters`` are values by path into the input, ``{"order.id": "A-1"}``: equal and of the same
        JSON type; None also where nothing is. ``workflow_name`` and ``instance_id``: any part, in any case.
        ``started_after`` and ``started_before`` are inclusive; without a zone they are UTC. Returns
        ``instances`` (each as ``app.storage.get_instance`` returns it), ``has_more``, and
        ``next_page_token``, which gives the next page of the same search. Raises ``ValueError`` for a
        criterion that makes no sense.

        Example::

            page = await app.find_instances(status="failed", input_filters={"order_id": "ORD-1"})
            for instance in page["instances"]:
                print(instance["instance_id"], instance["output_data"])
        """
        self._require_worker()
        search = Search.of(
            input_filters=input_filters,
            status=status,
            workflow_name=workflow_name,
            instance_id=instance_id,
            started_after=started_after,
            started_before=started_before,
            limit=limit,
            page_token=page_token,
        )
        return await self.storage.find_instances(search)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface: ``lifespan`` and ``http``; anything else is ``NotImplementedError``."""
        match scope["type"]:
            case "lifespan":
                await serve_lifespan(receive, send, start=self.initialize, stop=self.shutdown)
            case "http":
                await self._endpoint(scope, receive, send)
            case other:
                raise NotImplementedError(f"Unsupported scope type: {other}")

    async def _accept(self, events: Sequence[Event]) -> None:
        if self._stopping is not None:
            raise ShuttingDownError
        await self.initialize()  # servers without lifespan, mounted apps
        await self._require_worker().ingest.accept(events)

    async def _cancel(self, instance_id: str) -> bool:
        if self._stopping is not None:
            raise ShuttingDownError
        await self.initialize()  # as above
        return await self._require_worker().engine.cancel_workflow(instance_id, cancelled_by="api_user")

    def _event_workflow(self, event_type: str) -> Workflow[Any, Any] | None:
        if self.event_handlers.get(event_type):
            return None
        workflow = find_workflow(event_type)
        return workflow if workflow is not None and workflow.event_handler else None

    def _require_worker(self) -> Worker:
        if self._worker is None:
            raise RuntimeError(
                "EddaApp is not initialized; call initialize() or use it as an async context manager"
            )
        return self._worker
