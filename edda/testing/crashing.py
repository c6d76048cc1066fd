"""A scenario of the user again and again, its worker dying at another of its commits each time."""

from __future__ import annotations

import asyncio
import difflib
import logging
import pprint
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import edda.clock
from edda.app import EddaApp
from edda.ids import new_key
from edda.testing.ends import end_of, expire_leases
from edda.testing.mortal_worker import End, Fate, Moment, MortalWorker
from edda.testing.movable_clock import MovableClock
from edda.testing.surroundings import Memory, Surroundings
from edda.testing.twin import TwinApp

Scenario = Callable[[Surroundings], Awaitable[None]]
Check = Callable[[Surroundings], Awaitable[Any]]

_logger = logging.getLogger("edda")

_MOMENTS = (Moment.BEFORE, Moment.AFTER)
_PATIENCE = 30.0
# Nobody is saved by a lease that runs out by itself.
_LEASE_SECONDS = 86_400


@dataclass(frozen=True)
class CrashReport:
    """What was done: the writes of each commit of an undisturbed run, and how often a worker died."""

    commits: list[list[str]]
    crashes: int


@dataclass
class _Play:
    """One run of the scenario from its beginning to its end, by as many workers as that takes."""

    database: Path
    clock: MovableClock
    memory: Memory
    end: Any = None

    @property
    def effects(self) -> Counter[tuple[str, str]]:
        """The calls of what was replaced by fakes."""
        return Counter(
            (fake.name, f"{call.instance_id} {call.arguments!r}")
            for fake in self.memory.fakes
            for call in fake.calls
        )


def crash_at_every_write(
    scenario: Scenario,
    check: Check | None = None,
    *,
    app: EddaApp | None = None,
    metadata: Any = None,
    **options: Any,
) -> CrashReport:
    """Show that a scenario ends the same, at whichever commit its worker dies.

    ``scenario`` gets an environment, as :class:`~edda.testing.WorkflowEnvironment` offers it,
    starts instances, delivers events and waits for the end. It is run undisturbed, and then for
    each commit twice more: the worker dies before it, and right after it. Another worker takes
    over, and the scenario is played from its beginning, as clients ask again who got no answer:
    what it does through ``env`` or ``workflow.start()`` is recognised. The end is compared with
    the undisturbed one: status, output and steps of all instances, outbox events, the calls of
    ``env.fake`` (what was under way may be called once more), and what ``check(env)`` returns.
    ``metadata``: a SQLAlchemy ``MetaData`` whose tables are created. ``app`` and ``options`` are
    as for ``WorkflowEnvironment``.

    Runs in a thread of its own, on SQLite in a temporary directory. Raises ``AssertionError``,
    with the commit and the difference, for the first end that differs; errors of the scenario
    and of ``check`` come through.

    >>> from edda import WorkflowContext, activity, workflow
    >>> @activity
    ... async def charge_once(ctx: WorkflowContext, amount: int) -> str:
    ...     return f"receipt for {amount}"
    >>> @workflow
    ... async def purchase(ctx: WorkflowContext) -> str:
    ...     return await charge_once(ctx, 12)
    >>> async def scenario(env):
    ...     await env.result(await env.start(purchase))
    >>> crash_at_every_write(scenario).crashes >= 4
    True
    """
    return _in_thread(lambda: _Crashes(scenario, check, app, metadata, options).at_all())


def crash_at(
    step: str,
    scenario: Scenario,
    check: Check | None = None,
    *,
    app: EddaApp | None = None,
    metadata: Any = None,
    **options: Any,
) -> CrashReport:
    """As :func:`crash_at_every_write`, but only where this step is recorded: ``"charge_card:1"``.

    Raises ``LookupError``, with the steps there are, when the undisturbed run records no such step.
    """
    return _in_thread(lambda: _Crashes(scenario, check, app, metadata, options).at_step(step))


def _in_thread(work: Callable[[], CrashReport]) -> CrashReport:
    # Workers have event loops of their own, and the caller may be running in one.
    with ThreadPoolExecutor(1, thread_name_prefix="edda-crashes") as thread:
        return thread.submit(work).result()


class _Crashes:
    def __init__(
        self,
        scenario: Scenario,
        check: Check | None,
        app: EddaApp | None,
        metadata: Any,
        options: dict[str, Any],
    ) -> None:
        self._scenario = scenario
        self._check = check
        self._original = app
        self._metadata = metadata
        self._options = {"leader_lease_duration": _LEASE_SECONDS, **options}
        self._name = new_key()

    def at_all(self) -> CrashReport:
        with tempfile.TemporaryDirectory(prefix="edda-") as directory:
            self._prepare(Path(directory))
            commits = self._undisturbed()
            crashes = 0
            for moment in _MOMENTS:
                number = 1
                while self._strike(Fate(moment, number)):
                    number += 1
                crashes += number - 1
            return CrashReport(commits, crashes)

    def at_step(self, step: str) -> CrashReport:
        with tempfile.TemporaryDirectory(prefix="edda-") as directory:
            self._prepare(Path(directory))
            commits = self._undisturbed()
            found = [number for number, writes in enumerate(commits, 1) if f"StepRecorded {step}" in writes]
            if not found:
                steps = sorted({one.partition(" ")[2] for writes in commits for one in writes} - {""})
                raise LookupError(f"No step {step!r} is recorded. There are: {', '.join(steps)}")
            fates = [Fate(moment, number) for moment in _MOMENTS for number in found]
            return CrashReport(commits, sum(self._strike(fate) for fate in fates))

    def _prepare(self, directory: Path) -> None:
        self._template, self._database = directory / "template.db", directory / "trial.db"
        asyncio.run(self._create_tables())

    async def _create_tables(self) -> None:
        storage = self._app(self._template).storage
        await storage.open(migrate=True)
        if self._metadata is not None:
            await storage.change(self._metadata.create_all)
        await storage.close()

    def _undisturbed(self) -> list[list[str]]:
        self._expected, commits = self._played()
        again, _ = self._played()
        if difference := _difference(self._expected, again):
            raise AssertionError(f"The scenario itself ends in different ways:\n{difference}")
        return commits

    def _played(self) -> tuple[_Play, list[list[str]]]:
        play = self._new_play()
        worker = self._worker(play, None)
        self._live(worker, play)
        return play, [list(writes) for writes in worker.commits]

    def _strike(self, fate: Fate) -> bool:
        """Play it with this fate; False if it is over before."""
        play = self._new_play()
        first = self._worker(play, fate)
        if self._live(first, play) is End.DEAD:
            play.clock = play.clock.copy()
            with edda.clock.replaced_by(play.clock):
                asyncio.run(self._expire_leases(play))
            play.clock = play.clock.copy()
            self._live(self._worker(play, None), play)
        if not first.fate_is_fulfilled:
            return False
        if difference := _difference(self._expected, play):
            writes = ", ".join(first.commits[fate.number - 1])
            raise AssertionError(
                f"The worker {fate.moment.value} commit {fate.number} ({writes}):\n{difference}"
            )
        return True

    def _new_play(self) -> _Play:
        for old in self._database.parent.glob(f"{self._database.name}*"):
            old.unlink()
        shutil.copy(self._template, self._database)
        return _Play(self._database, MovableClock(), Memory(self._name))

    def _app(self, database: Path) -> TwinApp:
        return TwinApp(self._original, f"sqlite:///{database}", **self._options)

    def _worker(self, play: _Play, fate: Fate | None) -> MortalWorker:
        async def act(app: EddaApp) -> None:
            await self._act(play, app)

        return _QuietWorker(self._app(play.database), act, [], fate)

    async def _act(self, play: _Play, app: EddaApp) -> None:
        world = Surroundings(cast("TwinApp", app), play.clock, patience=_PATIENCE, memory=play.memory)
        async with world.played():
            await self._scenario(world)
            await world.wait_until_idle()
            checked = None if self._check is None else await self._check(world)
            play.end = {**await end_of(app), "check": checked}

    def _live(self, worker: MortalWorker, play: _Play) -> End:
        with edda.clock.replaced_by(play.clock), _level_restored():
            try:
                end = worker.live()
            except BaseException:
                with suppress(AssertionError):
                    worker.bury()
                raise
            worker.bury()
        return end

    async def _expire_leases(self, play: _Play) -> None:
        storage = self._app(play.database).storage
        await storage.open(migrate=False)
        await storage.change(expire_leases)
        await storage.close()


class _QuietWorker(MortalWorker):
    """A worker of which nothing is heard once it is dead: its tasks would log that they cannot go on."""

    def _fall_silent(self) -> None:
        _logger.setLevel(logging.CRITICAL + 1)
        super()._fall_silent()


@contextmanager
def _level_restored() -> Iterator[None]:
    level = _logger.level
    try:
        yield
    finally:
        _logger.setLevel(level)


def _difference(expected: _Play, found: _Play) -> str:
    """What differs between two ends, "" if nothing that matters."""
    if expected.end != found.end:
        before, after = (pprint.pformat(play.end, width=100).splitlines() for play in (expected, found))
        lines = difflib.unified_diff(before, after, "undisturbed", "after the crash", lineterm="", n=2)
        return "\n".join(lines)
    if expected.effects.keys() != found.effects.keys():
        missing = expected.effects.keys() - found.effects.keys()
        added = found.effects.keys() - expected.effects.keys()
        return f"Calls of activities: missing {sorted(missing)}, added {sorted(added)}"
    repeated = {call: more for call, more in (found.effects - expected.effects).items() if more > 1}
    return f"Calls of activities that were repeated more than once: {repeated}" if repeated else ""
