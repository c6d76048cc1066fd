from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edda.loops.polling import PollPause
from edda.storage.news import News


@dataclass
class Hearing:
    """A storage that hears others, or not."""

    hears_others: bool

    def listen(self, listener: Callable[[News], None] | None) -> None: ...

    def listen_to_others(self) -> None: ...

    async def alert_others(self) -> None: ...


def test_a_worker_that_is_told_nothing_looks_each_second() -> None:
    pause = PollPause(told_interval=30, news=Hearing(hears_others=False))
    pauses = [pause() for _ in range(200)]
    assert min(pauses) >= 1
    assert max(pauses) <= 1.3
    assert len(set(pauses)) > 1


def test_a_worker_that_is_told_looks_as_rarely_as_it_may() -> None:
    pause = PollPause(told_interval=30, news=Hearing(hears_others=True))
    pauses = [pause() for _ in range(200)]
    assert min(pauses) >= 30
    assert max(pauses) <= 33
    assert len(set(pauses)) > 1


def test_it_is_asked_anew_each_time() -> None:
    hearing = Hearing(hears_others=True)
    pause = PollPause(told_interval=30, news=hearing)
    assert pause() >= 30
    hearing.hears_others = False
    assert pause() <= 1.3
