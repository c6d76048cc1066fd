"""Runs a scenario again and again, with something else happening to its worker each time.

A scenario is a function that acts on an app as clients do, and returns when all has ended.
It is played from its beginning again by the worker that takes over, as clients ask again
who got no answer: so everything in it must be harmless when repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import Connection

from edda.app import EddaApp
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.testing.ends import expire_leases
from edda.testing.mortal_worker import End, Fate, Moment, MortalWorker, Play
from tests.support.final_state import State, empty, final_state
from tests.support.rows import Base

T = TypeVar("T")

LEASE_DURATION = 600


@dataclass(frozen=True)
class Scenario:
    """What is played, by which app, and what of the end may differ."""

    name: str
    play: Play
    options: dict[str, Any] = field(default_factory=dict)
    forget: Callable[[State], None] = lambda _: None
    is_resident: bool = True
    """False replays each instance at each wake-up."""


@dataclass(frozen=True)
class Outcome:
    """How a scenario ended: the state of the database, and the effects outside of it."""

    state: State
    effects: Counter[str]


@dataclass(frozen=True)
class Trial:
    """One run of a scenario: what happened to it, at which commit, and how it ended."""

    fate: Fate
    writes: Sequence[str]
    outcome: Outcome


class Crashes:
    """Plays scenarios on one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database = SQLAlchemyStorage(url)
        self._loop = asyncio.new_event_loop()

    def open(self) -> None:
        """Make the tables."""
        self._loop.run_until_complete(self._migrate())
        self._on_database(Base.metadata.create_all)

    async def _migrate(self) -> None:
        await self._database.open(migrate=True)
        await self._database.close()

    def close(self) -> None:
        """Disconnect."""
        self._loop.run_until_complete(self._database.engine.dispose())
        self._loop.close()

    @property
    def is_fast(self) -> bool:
        """Whether the database is in this process."""
        return self._database.dialect.name == "sqlite"

    def undisturbed(self, scenario: Scenario) -> tuple[Outcome, Sequence[Sequence[str]]]:
        """How it ends if nothing happens, and the writes of its commits."""
        self._on_database(empty)
        effects: list[str] = []
        commits = self._finish(scenario, effects)
        return self._outcome(scenario, effects), commits

    def trials(self, scenario: Scenario, moment: Moment, *, first: int = 1, step: int = 1) -> Iterator[Trial]:
        """One run for each commit, or for each of these."""
        for number in count(first, step):
            fate = Fate(moment, number)
            trial = self.trial(scenario, fate)
            if trial is None:
                return
            yield trial

    def trial(self, scenario: Scenario, fate: Fate) -> Trial | None:
        """One run with this fate; None if it was over before."""
        self._on_database(empty)
        effects: list[str] = []
        first = MortalWorker(self._app(scenario), scenario.play, effects, fate)
        with _buried(first):
            end = first.live()
            if end is End.FROZEN:
                self._take_over(scenario, effects)
                assert first.live() is End.DONE
        if end is End.DEAD:
            self._take_over(scenario, effects)
        if not first.fate_is_fulfilled:
            return None
        return Trial(fate, first.commits[fate.number - 1], self._outcome(scenario, effects))

    def _take_over(self, scenario: Scenario, effects: list[str]) -> None:
        self._on_database(expire_leases)
        self._finish(scenario, effects)

    def _finish(self, scenario: Scenario, effects: list[str]) -> Sequence[Sequence[str]]:
        worker = MortalWorker(self._app(scenario), scenario.play, effects)
        with _buried(worker):
            assert worker.live() is End.DONE
        return worker.commits

    def _app(self, scenario: Scenario) -> EddaApp:
        options = dict(scenario.options)
        outbox_options = options.pop("outbox_options", {})
        app = EddaApp(
            "proof",
            self._url,
            use_listen_notify=False,
            leader_lease_duration=LEASE_DURATION,  # nobody is saved by a lease that runs out by itself
            **options,
        )
        app.outbox_options = outbox_options
        if not scenario.is_resident:
            app.resident_limit = 0
        app.strict_replay = True
        return app

    def _outcome(self, scenario: Scenario, effects: list[str]) -> Outcome:
        state = self._on_database(lambda connection: final_state(connection, scenario.forget))
        return Outcome(state, Counter(effects))

    def _on_database(self, work: Callable[[Connection], T]) -> T:
        async def run() -> T:
            async with self._database.engine.begin() as connection:
                if connection.dialect.name == "sqlite":  # which begins nothing by itself
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                return await connection.run_sync(work)

        return self._loop.run_until_complete(run())


@contextmanager
def _buried(worker: MortalWorker) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(AssertionError):
            worker.bury()
        raise
    else:
        worker.bury()
