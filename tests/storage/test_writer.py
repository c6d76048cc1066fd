from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from edda.exceptions import StorageError
from edda.storage import writer as writer_module
from edda.storage.batch import Applied
from edda.storage.committers import Committer
from edda.storage.dialects.base import Attempt, ContentionError, Failure
from edda.storage.news import News
from edda.storage.writer import MAX_BATCH, GroupCommitWriter, reason
from edda.storage.writes import Write
from tests.support.eventually import eventually

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Note(Write[str]):
    """A write of the tests, answered with its own text."""

    text: str
    perhaps: str | None = None

    def unanswered(self, answer: str) -> Note:
        return replace(self, perhaps=answer)


class Conflict(Exception):
    pass


class Outage(Exception):
    pass


class FakeCommitter(Committer):
    """Commits in memory: records batches, waits for permission, and fails as told."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], Attempt]] = []
        self.answered_before: list[str | None] = []
        self.failures: list[BaseException | None] = []
        self.refused: set[str] = set()
        self.batches_before_refusing = 0
        self.permission = asyncio.Event()
        self.permission.set()
        self.resets = 0
        self.closed = False
        self.cuts: list[float | None] = []
        self.news: list[News] = []

    async def commit(self, job: Callable[[Any], T], *, cut_after: float | None = None) -> T:
        self.cuts.append(cut_after)
        result = job(self)
        await self.permission.wait()
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return result

    def apply(self, _connection: object, writes: Sequence[Write[Any]], attempt: Attempt) -> Applied:
        texts = [write.text for write in writes if isinstance(write, Note)]
        self.batches.append((texts, attempt))
        self.answered_before += [write.perhaps for write in writes if isinstance(write, Note)]
        bad = self.refused.intersection(texts)
        if bad and len(self.batches) > self.batches_before_refusing:
            raise ValueError(f"not this one: {bad.pop()}\nand details")
        return Applied([f"stored {text}" for text in texts], News(due="due" in texts))

    async def reset(self) -> None:
        self.resets += 1

    async def close(self) -> None:
        self.closed = True


def classify(error: BaseException) -> Failure:
    if isinstance(error, Conflict | ContentionError):
        return Failure.CONFLICT
    return Failure.UNREACHABLE if isinstance(error, Outage | ConnectionError) else Failure.REFUSED


@pytest.fixture
def committer(monkeypatch: pytest.MonkeyPatch) -> FakeCommitter:
    monkeypatch.setattr(writer_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE", 0.005)
    return FakeCommitter()


@pytest.fixture
async def writer(committer: FakeCommitter) -> AsyncIterator[GroupCommitWriter]:
    writer = GroupCommitWriter(committer, committer.apply, classify, committer.news.append)
    writer.start()
    yield writer
    await writer.close()


def submitted(writer: GroupCommitWriter, *texts: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(writer.submit(Note(text))) for text in texts]


async def held_up(writer: GroupCommitWriter, committer: FakeCommitter) -> asyncio.Task[str]:
    """A write whose commit is under way and waits for permission."""
    committer.permission.clear()
    (task,) = submitted(writer, "first")
    await eventually(lambda: _assert(len(committer.batches) == 1))
    return task


def _assert(condition: bool) -> None:
    assert condition


async def test_news_are_told_after_the_commit_that_made_them(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.permission.clear()
    (task,) = submitted(writer, "due")
    await eventually(lambda: _assert(len(committer.batches) == 1))
    assert committer.news == []
    committer.permission.set()
    await task
    assert committer.news == [News(due=True)]


# -- grouping ----------------------------------------------------------------------------


async def test_each_submitter_gets_its_own_answer(writer: GroupCommitWriter) -> None:
    answers = await asyncio.gather(*submitted(writer, "a", "b", "c"))
    assert answers == ["stored a", "stored b", "stored c"]


async def test_what_arrives_during_a_commit_is_committed_together(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    first = await held_up(writer, committer)
    rest = submitted(writer, "b", "c", "d")
    await asyncio.sleep(0)
    committer.permission.set()
    assert await asyncio.gather(first, *rest) == ["stored first", "stored b", "stored c", "stored d"]
    assert [texts for texts, _ in committer.batches] == [["first"], ["b", "c", "d"]]


async def test_an_idle_writer_commits_at_once(writer: GroupCommitWriter, committer: FakeCommitter) -> None:
    for n in range(3):
        await writer.submit(Note(str(n)))
    assert [texts for texts, _ in committer.batches] == [["0"], ["1"], ["2"]]


async def test_no_batch_is_larger_than_the_limit(writer: GroupCommitWriter, committer: FakeCommitter) -> None:
    await asyncio.gather(*submitted(writer, *(str(n) for n in range(MAX_BATCH + 7))))
    assert [len(texts) for texts, _ in committer.batches] == [MAX_BATCH, 7]


# -- submitters that go away -------------------------------------------------------------


async def test_cancelling_a_submitter_harms_nobody(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    first = await held_up(writer, committer)
    waiting, other = submitted(writer, "waiting", "other")
    await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    committer.permission.set()
    assert await other == "stored other"
    assert await writer.submit(Note("later")) == "stored later"
    assert [texts for texts, _ in committer.batches] == [["first"], ["other"], ["later"]]


# -- failures ----------------------------------------------------------------------------


async def test_one_bad_write_fails_alone(writer: GroupCommitWriter, committer: FakeCommitter) -> None:
    committer.refused = {"bad", "worse"}
    texts = ["a", "b", "bad", "c", "d", "worse", "e"]
    answers = await asyncio.gather(*submitted(writer, *texts), return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [answer for answer in answers if isinstance(answer, str)] == [f"stored {text}" for text in "abcde"]
    assert [type(error) for error in errors] == [StorageError] * 2
    assert str(errors[0]) == "The database refused the write: not this one: bad"
    assert isinstance(errors[0].__cause__, ValueError)


async def test_a_conflict_is_tried_again_with_more_care(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.failures = [Conflict(), Conflict()]
    assert await writer.submit(Note("a")) == "stored a"
    assert [attempt for _, attempt in committer.batches] == [
        Attempt.FIRST,
        Attempt.REPEATED,
        Attempt.REPEATED,
    ]
    assert committer.resets == 0


async def test_after_an_outage_the_commit_may_have_happened(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.failures = [Outage(), Conflict()]
    assert await writer.submit(Note("a")) == "stored a"
    assert [attempt for _, attempt in committer.batches] == [
        Attempt.FIRST,
        Attempt.UNCERTAIN,
        Attempt.UNCERTAIN,
    ]
    assert committer.answered_before == [None, "stored a", "stored a"]
    assert committer.resets == 1


async def test_a_driver_that_cancels_itself_does_not_end_the_writer(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.failures = [asyncio.CancelledError()]
    assert await writer.submit(Note("a")) == "stored a"
    assert [attempt for _, attempt in committer.batches] == [Attempt.FIRST, Attempt.UNCERTAIN]
    assert await writer.submit(Note("b")) == "stored b"


async def test_a_batch_divided_after_an_outage_stays_uncertain(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.failures = [Outage()]
    committer.refused, committer.batches_before_refusing = {"bad"}, 1
    answers = await asyncio.gather(*submitted(writer, "a", "b", "bad"), return_exceptions=True)
    assert answers[:2] == ["stored a", "stored b"]
    assert [attempt for _, attempt in committer.batches[1:]] == [Attempt.UNCERTAIN] * 5


async def test_a_write_fails_when_the_outage_outlasts_its_time(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    committer.failures = [Outage("gone")] * 10_000
    short = asyncio.create_task(writer.submit(Note("short"), within=0.02))
    with pytest.raises(StorageError, match="did not take the write in time: gone"):
        await short
    patient = asyncio.create_task(writer.submit(Note("patient"), within=60))
    queued = asyncio.create_task(writer.submit(Note("queued"), within=0.02))
    with pytest.raises(StorageError, match="in time"):
        await queued
    committer.failures.clear()
    assert await patient == "stored patient"


async def test_a_commit_is_cut_off_no_later_than_its_writes_can_wait(
    writer: GroupCommitWriter, committer: FakeCommitter
) -> None:
    await writer.submit(Note("a"), within=5)
    await writer.submit(Note("b"), within=1000)
    await writer.submit(Note("c"), within=0.001)
    assert committer.cuts == [pytest.approx(5, abs=1), 10, 1]


async def test_a_defect_of_the_writer_leaves_nobody_waiting(
    writer: GroupCommitWriter, committer: FakeCommitter, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("a defect")

    committer.failures = [Outage()]
    committer.reset = broken  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await writer.submit(Note("a"))
    assert "The writer failed" in caplog.text
    assert await writer.submit(Note("b")) == "stored b"


# -- the end -----------------------------------------------------------------------------


async def test_closing_finishes_what_is_queued(writer: GroupCommitWriter, committer: FakeCommitter) -> None:
    first = await held_up(writer, committer)
    (queued,) = submitted(writer, "queued")
    await asyncio.sleep(0)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    committer.permission.set()
    assert list(await asyncio.gather(first, queued)) == ["stored first", "stored queued"]
    await closing
    assert committer.closed


async def test_closing_does_not_wait_for_ever(
    writer: GroupCommitWriter, committer: FakeCommitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "CLOSING_SECONDS", 0.02)
    first = await held_up(writer, committer)
    (queued,) = submitted(writer, "queued")
    await asyncio.sleep(0)
    await writer.close()
    for task in (first, queued):
        with pytest.raises(StorageError, match="before this write was committed"):
            await task


async def test_a_closed_writer_takes_nothing(writer: GroupCommitWriter) -> None:
    await writer.close()
    await writer.close()
    with pytest.raises(StorageError, match="closed"):
        await writer.submit(Note("a"))


def test_a_reason_is_one_short_line() -> None:
    assert reason(ValueError("first\nsecond")) == "first"
    assert reason(TimeoutError()) == "TimeoutError"
    assert len(reason(ValueError("x" * 10_000))) == 200
