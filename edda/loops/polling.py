"""How often a worker looks by itself for what nobody has told it."""

from __future__ import annotations

from edda.ids import fraction
from edda.storage.protocol import NewsPort

# Polls of several workers drift apart, so that they do not all ask at once.
_INTERVAL, _JITTER = 1.0, 0.3
_TOLD_JITTER = 0.1


class PollPause:
    """The seconds until the next look: few, unless notifications tell what there is to see."""

    def __init__(self, *, told_interval: float, news: NewsPort) -> None:
        self._told_interval = told_interval
        self._news = news

    def __call__(self) -> float:
        """Asked anew before each pause, since notifications come and go."""
        if self._news.hears_others:
            return self._told_interval * (1 + _TOLD_JITTER * fraction())
        return _INTERVAL * (1 + _JITTER * fraction())
