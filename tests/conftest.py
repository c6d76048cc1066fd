"""Fixtures of the whole suite: databases on real servers, and real worker processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from edda import cancellation
from edda.app import EddaApp
from edda.loops.polling import PollPause
from edda.workflow import _registry
from tests.support import branching, noting, sagas, trips
from tests.support.apps import Apps, always_replay
from tests.support.databases import Databases
from tests.support.eventually import PATIENCE
from tests.support.reaper import Reaper
from tests.support.recycling import RecycledDatabases
from tests.support.server import DatabaseServer
from tests.support.workers import Workers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--always-replay", action="store_true", help="keep no parked run in memory: replay at each wake-up"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--always-replay"):
        EddaApp.resident_limit = 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # What takes minutes begins first: begun last, it would have the other processes wait for it.
    items.sort(key=_turn)
    if not config.getoption("--always-replay"):
        return
    skip = pytest.mark.skip(reason="is about runs that stay in memory")
    for item in items:
        if item.get_closest_marker("resident"):
            item.add_marker(skip)


def _turn(item: pytest.Item) -> int:
    if item.path.name == "test_always_replay.py":
        return 0
    return 1 if item.path.parent.name in ("acceptance", "proof") else 2


@pytest.fixture(autouse=True)
def _workflows_of_other_tests_are_unknown() -> Iterator[None]:
    """What a test defines is gone with it, and replaces no workflow of the same name in another file."""
    before = dict(_registry)
    yield
    _registry.clear()
    _registry.update(before)


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    """What the steps of `tests.support` have noted in other tests is forgotten."""
    for module in (noting, branching, sagas, trips):
        module.forget()


@pytest.fixture(autouse=True)
def _who_cancels_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: after some seconds the call returns, and what it asked for comes later."""
    monkeypatch.setattr(cancellation, "PATIENCE_SECONDS", PATIENCE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in what a test has logged: between processes they cannot travel."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def reaper() -> Iterator[Reaper]:
    reaper = Reaper()
    yield reaper
    reaper.close()


@pytest.fixture(scope="session")
async def databases(reaper: Reaper) -> AsyncIterator[Databases]:
    """Hands out databases of a chosen kind: ``async with databases.fresh("mysql", tmp_path) as url``."""
    databases = Databases(reaper)
    try:
        yield databases
    finally:
        await databases.close()


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
async def database_url(
    request: pytest.FixtureRequest, databases: Databases, tmp_path: Path
) -> AsyncIterator[str]:
    """The URL of a fresh, empty database, once on each kind of database.

    The test fails if it leaves connections open. ``indirect`` parameters choose
    kinds: ``@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)``.
    """
    async with databases.fresh(request.param, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
async def recycled_databases(databases: Databases) -> AsyncIterator[RecycledDatabases]:
    recycled = RecycledDatabases(databases)
    try:
        yield recycled
    finally:
        await recycled.close()


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
async def empty_database_url(
    request: pytest.FixtureRequest, recycled_databases: RecycledDatabases, tmp_path: Path
) -> AsyncIterator[str]:
    """The URL of a database without rows, once on each kind of database; it may have its tables already."""
    async with recycled_databases.use(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look by themselves once an hour: whatever they do sooner they have noticed otherwise."""
    monkeypatch.setattr(PollPause, "__call__", lambda _: 3600.0)


@pytest.fixture
async def apps(empty_database_url: str) -> AsyncIterator[Apps]:
    """Makes apps on the database of the test; those still up at its end are shut down."""
    apps = Apps(empty_database_url)
    try:
        yield apps
    finally:
        await apps.close()


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    """An initialised app on the database of the test."""
    return await apps.start()


@pytest.fixture(params=["resident", "replayed"])
async def any_app(request: pytest.FixtureRequest, app: EddaApp) -> EddaApp:
    """The app, once keeping its parked runs in memory and once replaying at every wake-up."""
    if request.param == "replayed":
        always_replay(app)
    return app


@pytest.fixture(params=["postgresql", "mysql"])
async def private_server(
    request: pytest.FixtureRequest, databases: Databases
) -> AsyncIterator[DatabaseServer]:
    """A server for this test alone, once of each kind: the test may stop, kill and start it."""
    async with databases.private_server(request.param) as server:
        yield server


@pytest.fixture
async def workers(reaper: Reaper) -> AsyncIterator[Workers]:
    """Starts real processes; the ones still alive at the end of the test are killed."""
    workers = Workers(reaper)
    try:
        yield workers
    finally:
        await workers.close()
