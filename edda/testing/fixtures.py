"""The pytest fixture ``workflow_env``: ``pytest_plugins = ["edda.testing.fixtures"]`` in a ``conftest.py``.

For async tests under pytest-asyncio, in its strict and its auto mode, or under anyio's plugin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest

from edda.app import EddaApp
from edda.testing.environment import WorkflowEnvironment


@pytest.fixture
def edda_app() -> EddaApp | None:
    """The app whose handlers and settings ``workflow_env`` takes over: override it to give yours."""
    return None


async def _environment(edda_app: EddaApp | None) -> AsyncIterator[WorkflowEnvironment]:
    async with WorkflowEnvironment(edda_app) as env:
        yield env


# Each of the two plugins runs the fixtures that are its own, in the event loop of its tests.
_under_anyio = pytest.fixture(name="_edda_env_under_anyio")(_environment)
if find_spec("pytest_asyncio") is not None:
    import pytest_asyncio

    _under_asyncio = pytest_asyncio.fixture(name="_edda_env_under_asyncio")(_environment)


@pytest.fixture
def workflow_env(request: pytest.FixtureRequest) -> WorkflowEnvironment:
    """A :class:`~edda.testing.WorkflowEnvironment` that is open during the test."""
    is_anyio = request.node.get_closest_marker("anyio") is not None
    if is_anyio and _takes_all(request.config):
        raise pytest.UsageError("the auto mode of pytest-asyncio takes all tests: mark none with anyio")
    if not is_anyio and find_spec("pytest_asyncio") is None:
        raise pytest.UsageError("workflow_env needs pytest-asyncio, or a test marked with anyio")
    name = "_edda_env_under_anyio" if is_anyio else "_edda_env_under_asyncio"
    environment: WorkflowEnvironment = request.getfixturevalue(name)
    return environment


def _takes_all(config: pytest.Config) -> bool:
    """Whether pytest-asyncio is in its auto mode, in which every async test is its own."""
    if find_spec("pytest_asyncio") is None or not config.pluginmanager.hasplugin("asyncio"):
        return False
    return str(config.getoption("asyncio_mode") or config.getini("asyncio_mode")) in ("auto", "Mode.AUTO")
