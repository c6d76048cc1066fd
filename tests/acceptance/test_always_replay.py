"""Every workflow of the tests and examples again, with a replay at each wake-up."""

from __future__ import annotations

import sys

import pytest

from tests.support.workers import Workers

# The files whose workflows sleep, retry, race or wait. On SQLite: what differs between
# databases is below the engine, and is not what a replay could change.
WORKFLOWS = [
    "tests/channels",
    "tests/outbox/test_transactional.py",
    "tests/test_activity.py",
    "tests/test_activity_step.py",
    "tests/test_back_off.py",
    "tests/test_cancellation.py",
    "tests/test_cancellation_elsewhere.py",
    "tests/test_cancellation_of_receivers.py",
    "tests/test_children.py",
    "tests/test_compensation.py",
    "tests/test_compensation_scopes.py",
    "tests/test_compensation_step.py",
    "tests/test_concurrency.py",
    "tests/test_context.py",
    "tests/test_determinism.py",
    "tests/test_examples.py",
    "tests/test_execution.py",
    "tests/test_handlers.py",
    "tests/test_hooks.py",
    "tests/test_races.py",
    "tests/test_recur.py",
    "tests/test_recur_chains.py",
    "tests/test_replay.py",
    "tests/test_rollback.py",
    "tests/test_transaction_block.py",
    "tests/test_unit_of_work.py",
]


@pytest.mark.timeout(1500)
async def test_each_workflow_of_the_tests_ends_the_same_when_it_is_always_replayed(workers: Workers) -> None:
    # What chooses between both ways does the same twice here.
    selection = "not postgresql and not mysql and not replayed-"
    chosen = ["-k", selection, "-p", "no:randomly", "-p", "no:cacheprovider"]
    run = await workers.start_command(
        sys.executable, "-m", "pytest", "-q", "--always-replay", *chosen, *WORKFLOWS
    )

    assert await run.wait(within=1400) == 0, run.output
