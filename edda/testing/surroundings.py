"""What a test does to an app: it moves the time, delivers events and messages, and looks at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from edda.activity import Activity
from edda.channels.publishing import publish_once
from edda.clock import monotonic
from edda.cloudevent import Event
from edda.ids import derived_instance_id, derived_uuid, new_key
from edda.testing.fakes import UNSET, FakeActivity, activity_of
from edda.testing.inspecting import Inspector
from edda.testing.movable_clock import MovableClock
from edda.testing.stillness import JUST_AFTER, Stillness
from edda.testing.twin import TwinApp
from edda.workflow import Workflow, deriving_start_ids

# After longer jumps the leader has cleaned up at least once.
_CLEANS_UP_WITHIN = 3600.0


@dataclass
class Memory:
    """What has been asked of the surroundings: asked again, in the same order, it is recognised."""

    name: str = field(default_factory=new_key)
    fakes: list[FakeActivity] = field(default_factory=list)
    moves: list[float] = field(default_factory=list)
    """The monotonic instants to which the clock was to be moved."""


class Surroundings:
    """The world around one app: what a test does with a :class:`~edda.testing.WorkflowEnvironment`."""

    def __init__(
        self,
        app: TwinApp,
        clock: MovableClock,
        *,
        patience: float,
        memory: Memory | None = None,
    ) -> None:
        self.app = app
        self._clock = clock
        self._patience = patience
        self._still = Stillness(app, clock, patience)
        self._inspector = Inspector(app)
        self._exit = contextlib.AsyncExitStack()
        self._memory = memory or Memory()
        self._asked = self._faked = self._moved = 0

    @contextlib.asynccontextmanager
    async def _skipping_back_offs(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self._still.skip_back_offs(), name="edda test clock")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    @contextlib.asynccontextmanager
    async def played(self) -> AsyncIterator[None]:
        """While a scenario is played in it: what this starts gets the same ids each time."""
        async with self._exit, self._skipping_back_offs():
            with deriving_start_ids(self._memory.name):
                yield

    def _next_key(self) -> str:
        self._asked += 1
        return f"{self._memory.name}:{self._asked}"

    # -- time -------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time of the environment, in UTC: what ``ctx.now()`` would give."""
        return self._clock.now()

    async def wait_until_idle(self) -> None:
        """Return when every instance has ended or waits for a time or a message."""
        await self._still.wait_until_still()

    async def skip_to_next_timer(self) -> timedelta:
        """Jump to the first time that anything waits for, and wait until what follows is over.

        A timer, a timeout, a back-off, or the lease of a worker that is gone. Returns how far
        that was. Raises ``LookupError`` when nothing waits for a time.
        """
        await self.wait_until_idle()
        before = self.now
        target = self._move_again()
        if target is None:
            due = await self._still.seconds_until_due()
            if due is None:
                raise LookupError(f"Nothing waits for a time. {await self._inspector.who_waits()}")
            target = self._move_to(monotonic() + due + JUST_AFTER)
        self._clock.jump(max(0.0, target - monotonic()))
        skipped = self.now - before
        await self.wait_until_idle()
        return skipped

    async def advance(self, by: timedelta | float) -> None:
        """Let so much time pass (seconds, or a timedelta): what is due on the way happens in its order.

        Each at its own time: a workflow that sleeps a day thirty times wakes thirty times
        when thirty days pass. Afterwards old rows have been removed, as the retention says.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else float(by)
        if seconds < 0:
            raise ValueError(f"time does not go backwards: {by!r}")
        target = self._move_again() or self._move_to(monotonic() + seconds)
        await self.wait_until_idle()
        while (due := await self._still.seconds_until_due()) is not None and monotonic() + due < target:
            self._clock.jump(due + JUST_AFTER)
            await self.wait_until_idle()
        self._clock.jump(max(0.0, target - monotonic()))
        await self.wait_until_idle()
        if seconds >= _CLEANS_UP_WITHIN:
            await self.app.clean_up(self._patience)

    def _move_again(self) -> float | None:
        """Where the clock was to be moved when this was asked before."""
        self._moved += 1
        moves = self._memory.moves
        return moves[self._moved - 1] if self._moved <= len(moves) else None

    def _move_to(self, target: float) -> float:
        self._memory.moves.append(target)
        return target

    # -- the world around it ------------------------------------------------------------------

    async def start(self, workflow: Workflow[Any, Any], /, **arguments: Any) -> str:
        """Start an instance; returns its id when it has ended or waits, however it ended.

        As ``workflow.start()``, which works here as well, but an error of the workflow is
        left to :meth:`result`. Wrong arguments are raised.
        """
        instance_id = derived_instance_id(workflow.name, self._next_key())
        engine = self.app.replay_engine
        if engine is None:
            raise RuntimeError("the test environment is not open: use it as an async context manager")
        try:
            await engine.start(workflow, arguments, None, instance_id=instance_id)
        except Exception:
            record = await self.app.storage.get_instance(instance_id)
            if record is None or record["status"] != "failed":
                raise
        return instance_id

    async def send_event(
        self, event_type: str, data: Any = None, *, source: str = "/test", **attributes: Any
    ) -> None:
        """Deliver a CloudEvent, as if it had been posted, and wait until all that it causes is over.

        ``attributes`` are further ones, ``subject="o-1"`` for instance; ``id`` is made up
        unless it is among them.
        """
        event_id = str(derived_uuid(self._next_key()))
        await self.wait_until_idle()
        event = Event({"id": event_id, "source": source, "type": event_type, **attributes}, data)
        await self.app.handle_cloudevent(event, wait=True)
        await self.wait_until_idle()

    async def publish(self, channel: str, data: Any, metadata: dict[str, Any] | None = None) -> None:
        """Publish a message on a channel, and wait until all that it causes is over."""
        message_id = str(derived_uuid(self._next_key()))
        await self.wait_until_idle()
        await publish_once(self.app.storage, channel, data, metadata, message_id=message_id)
        await self.wait_until_idle()

    async def send_to(
        self,
        instance_id: str,
        data: Any,
        channel: str = "__direct__",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Send a message that only this instance can see, and wait until all that it causes is over."""
        message_id = str(derived_uuid(self._next_key()))
        await self.wait_until_idle()
        await publish_once(
            self.app.storage, channel, data, metadata, message_id=message_id, target=instance_id, direct=True
        )
        await self.wait_until_idle()

    def fake(
        self,
        activity: Activity[Any, Any] | str,
        *,
        returns: Any = UNSET,
        does: Callable[..., Any] | None = None,
        raises: BaseException | type[BaseException] | None = None,
        times: int | None = None,
    ) -> FakeActivity:
        """Replace an activity, given itself or by its name, until the environment is left.

        The fake ``returns`` a value, or ``does`` what a sync or async function with the
        parameters of the activity does. It ``raises`` an error: in the first so many
        ``times``, or always. Given none of them, the activity itself is called. Calls are
        recorded in any case: ``fake.calls[0].arguments``. Raises ``LookupError``, with the
        names there are, for an unknown or ambiguous name.

        ::

            charge = env.fake(charge_card, returns="receipt", raises=ConnectionError("down"), times=2)
        """
        if self._faked == len(self._memory.fakes):
            self._memory.fakes.append(
                FakeActivity(activity_of(activity), returns=returns, does=does, raises=raises, times=times)
            )
        fake = self._memory.fakes[self._faked]
        self._faked += 1
        fake.install()
        self._exit.callback(fake.remove)
        return fake

    async def create_tables(self, metadata: Any) -> None:
        """Create your own tables, those of a SQLAlchemy ``MetaData``, in the database of the environment."""
        await self.app.storage.change(metadata.create_all)

    # -- what has become of it ----------------------------------------------------------------

    async def result(self, instance_id: str) -> Any:
        """Return what the workflow returned, or raise what it raised, jumping to timers until it has ended.

        Of a workflow that recurs, what the last of the chain returned. Raises
        :class:`~edda.WorkflowCancelledException` for a cancelled one, ``LookupError`` for an
        unknown one and for one that waits for what does not come, and ``RuntimeError`` for
        one that is set aside because its code does not match its history.
        """
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            await self.wait_until_idle()
            outcome = await self._inspector.outcome(instance_id)
            if outcome is not None:
                return outcome.value()
            due = await self._still.seconds_until_due()
            if due is None or asyncio.get_running_loop().time() > deadline:
                raise LookupError(f"{instance_id} does not end. {await self._inspector.who_waits()}")
            self._clock.jump(due + JUST_AFTER)

    async def instance(self, instance_id: str) -> dict[str, Any]:
        """The instance as ``app.storage.get_instance`` returns it; ``LookupError`` if it is unknown."""
        return await self._inspector.instance(instance_id)

    async def instances(self, **criteria: Any) -> list[dict[str, Any]]:
        """All instances that match the criteria of ``app.find_instances``, the newest first."""
        return await self._inspector.instances(**criteria)

    async def history(self, instance_id: str) -> list[dict[str, Any]]:
        """Its recorded steps in order, also of one that recurred; ``LookupError`` if it is unknown."""
        return await self._inspector.history(instance_id)

    async def outbox(self) -> list[dict[str, Any]]:
        """The events recorded for the outbox and not sent, the oldest first."""
        return await self.app.storage.get_pending_outbox_events(limit=1000)
