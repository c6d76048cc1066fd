"""What becomes of a failure of the service itself."""

from __future__ import annotations

import logging

import pytest

from edda.endpoints.failures import log_failure, status_of
from edda.exceptions import ShuttingDownError, StorageError, StorageUnavailableError, TransactionLostError


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ShuttingDownError(), 503),
        (StorageUnavailableError("away"), 503),
        (StorageError("refused"), 500),
        (TransactionLostError("lost"), 500),
        (KeyError("a defect"), 500),
    ],
)
def test_only_what_passes_by_itself_is_service_unavailable(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_a_defect_is_logged_with_its_traceback_and_a_passing_failure_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_failure(KeyError("a defect"), "Request failed", path="/")
    log_failure(ShuttingDownError(), "Request failed", path="/")
    assert [(record.levelno, record.exc_info is None) for record in caplog.records] == [
        (logging.ERROR, False),
        (logging.WARNING, True),
    ]
