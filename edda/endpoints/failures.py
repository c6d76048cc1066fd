"""What a client is told when the service itself failed, and what the log is told."""

from __future__ import annotations

import logging

from edda.exceptions import ShuttingDownError, StorageUnavailableError

logger = logging.getLogger(__name__)

# They pass by themselves, and each of many requests meets them: no traceback for each.
_PASSING = (ShuttingDownError, StorageUnavailableError)


def status_of(error: Exception) -> int:
    """503 while the app stops or the database is away, 500 for everything else."""
    return 503 if isinstance(error, _PASSING) else 500


def log_failure(error: Exception, what: str, **extra: str) -> None:
    """One line for what passes by itself, else the traceback."""
    if isinstance(error, _PASSING):
        logger.warning("%s: %s", what, error, extra=extra)
    else:
        logger.error("%s: %s", what, type(error).__name__, exc_info=error, extra=extra)
