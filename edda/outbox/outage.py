"""Whether the broker is away: then one event asks for it now and then, instead of all of them."""

from __future__ import annotations

import logging

from edda.outbox.answers import Answer, Postponed, Published

# One event that nobody takes is no outage; so many failures without a success between them are.
_FAILURES = 3

logger = logging.getLogger(__name__)


class Outage:
    """What the answers to the last events say about the broker."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def is_on(self) -> bool:
        """Whether the broker seems to be away."""
        return self._failures >= _FAILURES

    def note(self, answer: Answer) -> bool:
        """Learn from an answer; True if it ends an outage."""
        match answer:
            case Postponed(broker_away=True):
                self._failures += 1
                if self._failures == _FAILURES:
                    logger.warning("The broker cannot be reached: %s", answer.error)
            case Published():
                ended, self._failures = self.is_on, 0
                if ended:
                    logger.info("The broker can be reached again")
                return ended
        return False
