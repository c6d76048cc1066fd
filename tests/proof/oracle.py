"""The machine of the oracle: random operations on a database and on the model, which have to agree."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import Connection

from edda.storage.records import LeasedEvent
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Write
from tests.proof import oracle_state
from tests.proof.oracle_chooser import Chooser
from tests.proof.oracle_model import Model
from tests.proof.oracle_operations import (
    OF_OTHERS,
    OF_RECEIVERS,
    OF_RELAYERS,
    OF_RUNS,
    OF_UPKEEP,
    Maker,
    new_instance,
    run_from_the_beginning,
)
from tests.proof.oracle_world import HOUR, Choice, Either

A = TypeVar("A")

LARGEST_BATCH = 8
BETWEEN_LOOKS = 10
SEEDS = st.integers(0, 2**24 - 1)


class Database:
    """A storage that is open in a loop of its own: the machine knows no async."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.Runner()
        self._storage = SQLAlchemyStorage(url)
        self._loop.run(self._storage.open(migrate=True))

    def submit(self, writes: Sequence[Write[Any]]) -> list[Any]:
        """The answers of these writes, which arrive together and share a commit."""

        async def submit() -> list[Any]:
            return await asyncio.gather(*(self._storage.submit(write) for write in writes))

        return self._loop.run(submit())

    def run(self, job: Any, *arguments: Any) -> Any:
        """What the function answers on a connection, in a transaction of its own."""

        def on(connection: Connection) -> Any:
            return job(connection, *arguments)

        async def run() -> Any:
            assert self._storage._writer is not None
            return await self._storage._writer._committer.commit(on)

        return self._loop.run(run())

    def close(self) -> None:
        self._loop.run(self._storage.close())
        self._loop.close()


class Oracle(RuleBasedStateMachine):
    """Each step is a write, or several that share a commit, or hours that pass."""

    database: Database
    done: Counter[str]

    @initialize(seed=SEEDS)
    def begin_empty(self, seed: int) -> None:
        self._first_seed = seed
        self.database.run(oracle_state.empty)
        self.model = Model(self.done)
        self._numbers = itertools.count(1)
        self._leased: list[LeasedEvent] = []
        self._writes = 0
        self._submit([run_from_the_beginning(f"run-{letter}") for letter in "abcdef"])

    @rule(seed=SEEDS)
    def write(self, seed: int) -> None:
        """One write by itself."""
        self._make(seed, OF_RUNS + OF_OTHERS, 1)

    @rule(seed=SEEDS, count=st.integers(2, LARGEST_BATCH))
    def writes_on_channels(self, seed: int, count: int) -> None:
        """What publishers and receivers write at the same time."""
        self._make(seed, OF_RECEIVERS, count)

    @rule(seed=SEEDS, count=st.integers(2, LARGEST_BATCH))
    def writes_of_relayers(self, seed: int, count: int) -> None:
        """What becomes of events that are to be sent."""
        self._make(seed, OF_RELAYERS, count)

    @rule(seed=SEEDS)
    def keep_up(self, seed: int) -> None:
        """What is done to the whole database at the same time."""
        self._make(seed, OF_UPKEEP, 5)

    @rule(seed=SEEDS, count=st.integers(2, LARGEST_BATCH))
    def writes_of_runs(self, seed: int, count: int) -> None:
        """What runs and publishers write at the same time."""
        self._make(seed, OF_RUNS, count)

    @rule(seed=SEEDS, count=st.integers(2, LARGEST_BATCH))
    def writes_of_others(self, seed: int, count: int) -> None:
        """What workers write at the same time."""
        self._make(seed, OF_OTHERS, count)

    @rule(hours=st.sampled_from((1, 3, 6)))
    def pass_time(self, hours: int) -> None:
        """Leases run out and waits become due."""
        self.database.run(oracle_state.pass_time, hours * HOUR)
        self.model.world.now += hours * HOUR

    def _make(self, seed: int, makers: Sequence[Maker], count: int) -> None:
        # Hypothesis likes to draw a number again: the same one shall not mean the same write.
        chance = Random(f"{self._first_seed} {self._writes} {seed}")
        choose = Chooser(self.model.world, chance, self._numbers, self._leased[-10:])
        self._submit([_one_of(makers, choose) for _ in range(count)])

    def _submit(self, writes: Sequence[Write[Any]]) -> None:
        answers = self.database.submit(writes)
        self._leased += [each for answer in answers for each in _events(answer)]
        expected = self.model.apply(writes, answers)
        self._compare(writes, answers, expected)
        self._settle_choices()
        self._writes += 1
        if self._writes % BETWEEN_LOOKS == 0:
            self._compare_rows()

    def _compare(self, writes: Sequence[Write[Any]], answers: Sequence[Any], expected: Sequence[Any]) -> None:
        for write, answer in zip(writes, answers, strict=True):
            note(f"{write}\n    -> {answer}")
        for write, answer, wanted in zip(writes, map(oracle_state.plain, answers), expected, strict=True):
            allowed = wanted.answers if isinstance(wanted, Either) else (wanted,)
            assert answer in allowed, f"{write}\nwas answered {answer}\nand not     {wanted}"

    def _settle_choices(self) -> None:
        """Where fewer messages are there than compete for them the database says who was woken."""
        world = self.model.world
        choices: list[Choice]
        choices, world.choices = world.choices, []
        for choice in choices:
            due = self.database.run(oracle_state.due_now, choice.crowd)
            before = {each for each in choice.crowd if world.is_due(world.instances[each])}
            assert before <= due
            assert len(due) >= choice.messages, f"{choice}: only {due} were woken"
            assert len(due - before) <= choice.messages, f"{choice}: {due} were woken"
            for instance_id in due:
                world.wake(instance_id)

    def _compare_rows(self) -> None:
        rows, expected = self.database.run(oracle_state.rows_of), oracle_state.rows_expected(self.model.world)
        for subject, wanted in expected.items():
            assert rows[subject] == wanted, f"{subject}: {rows[subject]}\nand not {wanted}"

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self._compare_rows()


def _one_of(makers: Sequence[Maker], choose: Chooser) -> Write[Any]:
    """A write that can be made as things are."""
    for _ in range(5):
        if (write := choose.of(makers)(choose)) is not None:
            return write
    return new_instance(choose)


def _events(answer: Any) -> Iterator[LeasedEvent]:
    if isinstance(answer, LeasedEvent):
        yield answer
    elif isinstance(answer, tuple):
        yield from (each for each in answer if isinstance(each, LeasedEvent))


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


def consult(url: str, profile: settings) -> Counter[str]:
    """Run the machine on this database; how often each kind of operation took effect."""
    done: Counter[str] = Counter()
    with opened(url) as database:
        machine = type("OracleOf", (Oracle,), {"database": database, "done": done})
        run_state_machine_as_test(machine, settings=profile)
    return done
