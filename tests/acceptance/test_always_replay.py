"""Every workflow of the tests and examples again, with a replay at each wake-up."""

from __future__ import annotations

import sys

import pytest

from tests.support.workers import Workers

# The files whose workflows sleep, retry, race or wait. On SQLite: what differs between
# databases is below the engine, and is not what a replay could change.
WORKFLOWS = {
    "messages": ["channels", "outbox/test_transactional.py", "test_handlers.py"],
    "activities": ["test_activity.py", "test_activity_step.py", "test_back_off.py", "test_unit_of_work.py"],
    "bodies": [
        "test_children.py",
        "test_concurrency.py",
        "test_context.py",
        "test_determinism.py",
        "test_execution.py",
        "test_hooks.py",
        "test_races.py",
        "test_recur.py",
        "test_recur_chains.py",
        "test_replay.py",
        "test_transaction_block.py",
    ],
    "sagas": [
        "test_cancellation.py",
        "test_cancellation_elsewhere.py",
        "test_cancellation_of_receivers.py",
        "test_compensation.py",
        "test_compensation_scopes.py",
        "test_compensation_step.py",
        "test_rollback.py",
    ],
    "examples": ["test_examples.py"],
}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("files", WORKFLOWS.values(), ids=WORKFLOWS)
async def test_each_workflow_of_the_tests_ends_the_same_when_it_is_always_replayed(
    workers: Workers, files: list[str]
) -> None:
    # What chooses between both ways does the same twice here.
    selection = "not postgresql and not mysql and not replayed-"
    chosen = ["-k", selection, "-p", "no:randomly", "-p", "no:cacheprovider"]
    paths = [f"tests/{file}" for file in files]
    run = await workers.start_command(
        sys.executable, "-m", "pytest", "-q", "--always-replay", *chosen, *paths
    )

    assert await run.wait(within=1400) == 0, run.output
