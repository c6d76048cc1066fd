"""Apps for tests: made on one database, shut down at the end, and what tests ask of their instances."""

from __future__ import annotations

from typing import Any

from edda.app import EddaApp
from edda.replay import ReplayEngine
from edda.types import JSONObject
from tests.support.eventually import eventually


class Apps:
    """Makes apps on one database and shuts down those that are still up at the end."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self._made: list[EddaApp] = []

    def make(self, service_name: str = "tests", **options: Any) -> EddaApp:
        """An app that is not initialised; ``options`` go to its constructor."""
        app = EddaApp(service_name, options.pop("db_url", self.database_url), **options)
        self._made.append(app)
        return app

    async def start(self, service_name: str = "tests", **options: Any) -> EddaApp:
        """An initialised app, which hears of others where it ever will."""
        app = self.make(service_name, **options)
        await app.initialize()
        await hears_others(app)
        return app

    async def close(self) -> None:
        for app in self._made:
            await app.shutdown()


async def hears_others(app: EddaApp) -> None:
    """Wait until the app listens, so that nothing of its beginning is left to be counted or waited for."""
    told = app.db_url.startswith("postgres") and app.settings.use_listen_notify is not False

    def check() -> None:
        assert app.storage.hears_others == told
        assert app._require_worker().leader.has_asked

    await eventually(check)


def engine_of(app: EddaApp) -> ReplayEngine:
    """The engine of an initialised app."""
    assert app.replay_engine is not None
    return app.replay_engine


def look_for_work(app: EddaApp) -> None:
    """Have the worker look for what is due, after a statement that went past all who would tell it."""
    app._require_worker()._due.wake()


async def stop_claiming(*apps: EddaApp) -> None:
    """Have these workers run only what they run already, and what they are told to."""
    for app in apps:
        assert app._worker is not None
        await app._worker._due.stop()
        app._worker._due._places.is_awaited = True  # nor do they go on out of turn


def go_on_claiming(app: EddaApp) -> None:
    """Have the worker look for what is due again, and now."""
    app._require_worker()._due.start()


def always_replay(app: EddaApp) -> None:
    """Keep no parked run in memory from now on: each wake-up replays the history."""
    engine = engine_of(app)
    engine._residents._limit = 0
    for execution in engine._residents.take_all():
        engine.dismiss(execution)


async def instance(app: EddaApp, instance_id: str) -> JSONObject:
    """The row of an instance that exists."""
    row = await app.storage.get_instance(instance_id)
    assert row is not None, f"no instance {instance_id}"
    return row


async def reached(app: EddaApp, instance_id: str, status: str = "completed") -> JSONObject:
    """Wait until the instance has this status; returns its row."""

    async def check() -> JSONObject:
        row = await instance(app, instance_id)
        assert row["status"] == status, row
        return row

    return await eventually(check)


async def result_of(app: EddaApp, instance_id: str) -> Any:
    """Wait until the instance is completed; returns what its function returned."""
    row = await reached(app, instance_id)
    assert isinstance(row["output_data"], dict)
    return row["output_data"]["result"]


async def steps_of(app: EddaApp, instance_id: str) -> list[tuple[str, str]]:
    """The ids and kinds of the recorded steps, in the order of recording."""
    rows = await app.storage.get_history(instance_id)
    return [(str(row["activity_id"]), str(row["event_type"])) for row in rows]
