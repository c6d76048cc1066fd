"""An environment is opened and left."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from edda import clock
from edda.testing import WorkflowEnvironment


async def test_there_is_one_at_a_time() -> None:
    async with WorkflowEnvironment():
        with pytest.raises(RuntimeError, match="one test environment at a time"):
            await WorkflowEnvironment().__aenter__()
    async with WorkflowEnvironment():
        pass


async def test_the_clock_is_that_of_the_machine_afterwards() -> None:
    async with WorkflowEnvironment(start_time=datetime(2030, 1, 1, tzinfo=UTC)) as env:
        await env.advance(86_400)
        assert env.now.year == 2030
    assert clock.now().year != 2030


async def test_one_that_cannot_be_opened_leaves_the_clock_alone() -> None:
    with pytest.raises(ValueError, match="instance_retention_days"):
        env = WorkflowEnvironment()
        env.app.instance_retention_days = -1
        await env.__aenter__()
    async with WorkflowEnvironment():
        pass


async def test_it_is_of_no_use_unless_it_is_open() -> None:
    env = WorkflowEnvironment()
    with pytest.raises(RuntimeError, match="not open"):
        await env.wait_until_idle()


def test_the_library_imports_nothing_of_it_and_it_needs_no_pytest() -> None:
    program = (
        "import sys, edda; assert not any(name.startswith('edda.testing') for name in sys.modules)\n"
        "import edda.testing; assert 'pytest' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
