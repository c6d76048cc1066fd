"""The context that every workflow and activity receives as its first argument."""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from edda.codec.binding import FunctionCodec
from edda.codec.inputs import encode_input
from edda.determinism import WorkflowLogger, derive_random, derive_uuid, read_time
from edda.exceptions import EddaError, RecurException, TerminalError
from edda.journal import Journal
from edda.run import Run
from edda.scope import ActivityScope, activity_scope
from edda.storage.protocol import AsyncSession, Session, StorageProtocol
from edda.transaction_block import transaction_block
from edda.unit_of_work import UnitOfWork, current_unit

__all__ = ["WorkflowContext"]


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
        self._codec: FunctionCodec | None = None

    @classmethod
    def of_run(cls, run: Run, codec: FunctionCodec | None = None) -> WorkflowContext:
        """The context of a run that the engine drives, with the codec of the function that may recur."""
        services = run.services
        context = cls(
            run.instance_id,
            run.workflow_name,
            services.storage,
            services.worker_id,
            hooks=services.hooks.observer,
        )
        context._journal = run.journal
        context._run, context._codec = run, codec
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
    def session(self) -> AsyncSession:
        """The session of the transaction that commits with this activity or block.

        Its first statement begins the transaction. What goes through it, the record of
        the activity, and everything the library writes here commit together or not at
        all. Do not commit or roll back yourself. Raises ``RuntimeError`` outside an
        activity and ``ctx.transaction()``, and in tasks created inside them: a session
        is not to be shared.

        ::

            @activity
            async def create_order(ctx, order_id: str) -> None:
                ctx.session.add(Order(id=order_id))
        """
        return self._require_unit().session

    @property
    def sync_session(self) -> Session:
        """As :attr:`session`, for sync activities: a plain :class:`sqlalchemy.orm.Session`."""
        return self._require_unit().session.sync_session

    def _require_unit(self) -> UnitOfWork:
        unit = current_unit()
        if unit is None:
            raise RuntimeError(
                "ctx.session must be accessed inside a transaction. "
                "Use @activity (default) or async with ctx.transaction()"
            )
        return unit

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """A block whose effects commit together at its end, or are undone by any exception.

        Inside an activity or another block it is a savepoint. In the body it is a
        recorded step: on replay the durable operations in it return what is recorded, and
        statements through :attr:`session` are rolled back, so that they are not repeated.

        ::

            async with ctx.transaction():
                await reserve(ctx, item)
                await charge(ctx, amount)
        """
        return transaction_block(self.run)

    def in_transaction(self) -> bool:
        """Whether the calling task is inside an activity or ``ctx.transaction()``."""
        return current_unit() is not None

    def register_post_commit(self, callback: Callable[[], Awaitable[object]]) -> None:
        """Call an async function after the outermost transaction has committed.

        Callbacks run in order, outside the transaction; what one raises is logged. Those
        of a rolled-back transaction or savepoint are dropped. Raises ``RuntimeError``
        outside a transaction.
        """
        unit = current_unit()
        if unit is None:
            raise RuntimeError("Cannot register post-commit callback: not in a transaction")
        unit.callbacks.append(callback)

    async def recur(self, /, **kwargs: Any) -> NoReturn:
        """End this instance and go on as a new one of the same workflow, with these arguments.

        For loops without end, whose history would grow without bound. In one transaction
        the instance becomes ``recurred``, its history moves to the archive
        (``app.storage.get_archived_history()``), and the successor begins with an empty
        one; its ``continued_from`` is the id of this instance. Inside an activity or
        :meth:`transaction` what happened there is rolled back.

        Never returns: it raises :class:`~edda.exceptions.RecurException`, a signal that
        ``except Exception`` does not see. Raises ``TypeError``, pydantic's
        ``ValidationError`` or :class:`~edda.exceptions.PayloadTooLargeError` when the
        workflow could not be started with these arguments; then nothing has happened.
        Raises :class:`~edda.TerminalError` in a compensation, whose workflow is over.

        ::

            @workflow
            async def watch(ctx: WorkflowContext, seen: int = 0) -> None:
                for _ in range(100):
                    await check(ctx)
                    await sleep(ctx, 60)
                await ctx.recur(seen=seen + 100)
        """
        await self.run.check()
        if self._codec is None:
            raise TerminalError("ctx.recur cannot be called in a compensation: its workflow is over")
        limit = self.run.services.max_payload_bytes
        encode_input(self._codec, kwargs, self.workflow_name, limit=limit)
        raise RecurException(kwargs)

    def heartbeat(self, details: Any = None) -> None:
        """Report the progress of a long activity; its next attempt finds it in :attr:`heartbeat_details`.

        ``details`` is any value an activity may return. It is stored in the background, at
        most once a second, and when the attempt fails; sync activities may call it too.
        Raises ``RuntimeError`` outside an activity and ``TypeError`` for what cannot be
        stored.

        ::

            @activity
            async def copy(ctx, names: list[str]) -> None:
                done = ctx.heartbeat_details or 0
                for number, name in enumerate(names[done:], start=done + 1):
                    await copy_one(name)
                    ctx.heartbeat(number)
        """
        self._require_activity().heartbeat.report(details)

    @property
    def heartbeat_details(self) -> Any:
        """What the last :meth:`heartbeat` of this activity reported, in this attempt or an earlier one."""
        return self._require_activity().heartbeat.details

    def _require_activity(self) -> ActivityScope:
        scope = activity_scope(self.run)
        if scope is None:
            raise RuntimeError("ctx.heartbeat is for activities; the body of a workflow is durable as it is")
        return scope

    def now(self) -> Coroutine[Any, Any, datetime]:
        """The time, aware and in UTC: recorded as the step ``now:{n}``, the same on replay.

        In an activity it is the time of the attempt, and no step.

        ::

            began = await ctx.now()
        """
        return read_time(self.run)

    def uuid4(self) -> uuid.UUID:
        """A random UUID: another one at each call, the same one in each replay.

        It follows from the instance and the number of the call. In an activity, calls
        count from one in each attempt: all attempts get the same, as a key for other
        systems has to be.

        ::

            await charge(ctx, amount, key=str(ctx.uuid4()))
        """
        return derive_uuid(self.run)

    def random(self) -> random.Random:
        """A random generator: seeded differently at each call, the same in each replay.

        For choices and jitter, not for secrets. Numbering as in :meth:`uuid4`.

        ::

            first = ctx.random().choice(servers)
        """
        return derive_random(self.run)

    @cached_property
    def logger(self) -> WorkflowLogger:
        """The logger ``edda.workflow.{workflow_name}``, silent while recorded steps return.

        Its records carry ``instance_id`` and ``workflow_name``; use it in activities too.

        ::

            ctx.logger.info("order %s is paid", order_id)
        """
        return WorkflowLogger(self.workflow_name, self.instance_id, self._journal)

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
