"""The life cycle of an app, and several apps in one process."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import StorageError, StorageUnavailableError
from edda.workflow import set_replay_engine
from tests.support.apps import Apps, engine_of, instance, reached, result_of
from tests.support.asgi import request
from tests.support.eventually import until
from tests.support.noting import calls, note

LONG = 3 * 3600  # a lease that is not handed back outlasts the test


@workflow
async def noting(ctx: WorkflowContext, text: str) -> str:
    return await note(ctx, text)


@workflow
async def napping(ctx: WorkflowContext, seconds: float) -> str:
    await sleep(ctx, seconds)
    return "rested"


async def test_the_constructor_opens_nothing_and_shows_its_options(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/edda.db"
    app = EddaApp("orders", url)

    assert (app.service_name, app.db_url, app.hooks, app.default_retry_policy) == ("orders", url, None, None)
    assert (app.replay_engine, app.event_handlers, app.max_body_size) == (None, {}, 1_048_576)
    assert re.fullmatch(r"orders-\d+-[0-9a-f]{8}", app.worker_id)
    assert not list(tmp_path.iterdir())


async def test_before_initialisation_start_and_resume_say_what_is_missing() -> None:
    with pytest.raises(RuntimeError) as starting:
        await noting.start(text="a")
    with pytest.raises(RuntimeError) as resuming:
        await noting.resume("noting-1")

    text = "Replay engine not initialized. Ensure EddaApp is properly initialized before {} workflows."
    assert str(starting.value) == text.format("starting")
    assert str(resuming.value) == text.format("resuming")


async def test_after_shutdown_start_is_refused(apps: Apps) -> None:
    app = await apps.start()
    await app.shutdown()
    with pytest.raises(RuntimeError, match="Replay engine not initialized"):
        await noting.start(text="a")
    assert app.replay_engine is None


async def test_initialize_and_shutdown_may_be_repeated(apps: Apps) -> None:
    app = apps.make()
    await app.shutdown()
    await app.initialize()
    engine = app.replay_engine
    await app.initialize()
    assert app.replay_engine is engine
    await app.shutdown()
    await app.shutdown()


async def test_concurrent_callers_share_one_initialisation(database_url: str) -> None:
    app = EddaApp("tests", database_url)
    await asyncio.gather(*(app.initialize() for _ in range(50)))
    async with app:
        assert await result_of(app, await noting.start(text="a")) == "a"


async def test_a_caller_that_is_cancelled_does_not_take_the_initialisation_along(apps: Apps) -> None:
    app = apps.make()
    caller = asyncio.create_task(app.initialize())
    other = asyncio.create_task(app.initialize())
    await until(lambda: app._starting is not None)
    caller.cancel()
    await other
    assert app.replay_engine is not None


async def test_the_app_works_after_each_of_several_cycles(apps: Apps) -> None:
    app = apps.make()
    for _ in range(3):
        async with app:
            instance_id = await napping.start(seconds=0.1)
            assert await result_of(app, instance_id) == "rested"
            assert sorted(loops_running()) == ["edda due", "edda leader", "edda leases", "edda retention"]
        assert loops_running() == []


def loops_running() -> list[str]:
    """The names of the loops of all apps; other tasks come and go, also inside the loops."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("edda ") and not name.startswith("edda run ")]


async def test_no_task_survives_the_shutdown(apps: Apps) -> None:
    before = asyncio.all_tasks()
    async with apps.make():
        await napping.start(seconds=3600)
        await noting.start(text="a")
    assert asyncio.all_tasks() <= before


async def test_an_orderly_stop_leaves_no_warning(apps: Apps, caplog: pytest.LogCaptureFixture) -> None:
    async with apps.make():
        await noting.start(text="a")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_initialisation_during_the_shutdown_follows_it(apps: Apps) -> None:
    app = await apps.start()
    stopping = asyncio.create_task(app.shutdown())
    await until(lambda: app.replay_engine is None)

    await app.initialize()

    assert stopping.done()
    assert await result_of(app, await noting.start(text="a")) == "a"


async def test_a_shutdown_during_the_initialisation_follows_it(apps: Apps) -> None:
    app = apps.make()
    before = asyncio.all_tasks()
    starting = asyncio.create_task(app.initialize())
    await until(lambda: app._starting is not None)

    await app.shutdown()
    await starting

    assert app.replay_engine is None
    assert asyncio.all_tasks() - before <= {starting}


async def test_a_second_caller_of_shutdown_returns_when_the_app_has_stopped(apps: Apps) -> None:
    app = await apps.start()
    first = asyncio.create_task(app.shutdown())
    await until(lambda: app.replay_engine is None)

    await app.shutdown()

    with pytest.raises(StorageError, match="not open"):
        await app.storage.append_history("i", "s", "ActivityCompleted", {})
    await first


async def test_a_parked_instance_goes_on_after_the_next_initialisation(apps: Apps) -> None:
    app = await apps.start()
    instance_id = await napping.start(seconds=0.3)
    await app.shutdown()
    await app.initialize()
    assert await result_of(app, instance_id) == "rested"


async def test_a_failed_initialisation_leaves_nothing_behind_and_may_be_repeated(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    folder = tmp_path / "missing"
    app = EddaApp("tests", f"sqlite:///{folder}/edda.db")
    results = await asyncio.gather(app.initialize(), app.initialize(), return_exceptions=True)
    assert [type(result) for result in results] == [StorageUnavailableError] * 2
    assert app.replay_engine is None
    assert asyncio.all_tasks() <= before

    folder.mkdir()
    async with app:
        assert await result_of(app, await noting.start(text="a")) == "a"


async def test_notifications_on_another_database_are_refused_before_anything_is_created(
    tmp_path: Path,
) -> None:
    app = EddaApp("tests", f"sqlite:///{tmp_path}/edda.db", use_listen_notify=True)
    with pytest.raises(ValueError) as caught:
        await app.initialize()
    assert str(caught.value) == (
        "use_listen_notify=True requires PostgreSQL database. Current database URL starts with: sqlite"
    )
    assert not list(tmp_path.iterdir())


async def test_without_migration_a_missing_schema_is_an_error(database_url: str) -> None:
    app = EddaApp("tests", database_url, auto_migrate=False)
    with pytest.raises(StorageError):
        await app.initialize()
    async with EddaApp("tests", database_url):
        pass
    async with app:
        assert app.replay_engine is not None


async def test_shutdown_stops_an_activity_of_which_nothing_is_recorded(apps: Apps) -> None:
    app = await apps.start(leader_lease_duration=LONG)
    app.drain_seconds = 0.05
    release = asyncio.Event()

    @activity
    async def stuck(ctx: WorkflowContext) -> str:
        calls.append(ctx.instance_id)
        await release.wait()
        return "done"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await stuck(ctx)

    running = asyncio.create_task(flow.start())
    await until(lambda: bool(calls))
    await app.shutdown()
    with pytest.raises(RuntimeError, match=r"^EddaApp is shutting down$") as caught:
        await running

    other = await apps.start()
    assert caught.value.instance_id == calls[0]  # type: ignore[attr-defined]
    release.set()
    assert await result_of(other, calls[0]) == "done"
    assert len(calls) == 2
    assert len(await other.storage.get_history(calls[0])) == 1


async def test_shutdown_lets_a_step_end_and_hands_the_lease_back_at_once(apps: Apps) -> None:
    first, second = [await apps.start(leader_lease_duration=LONG) for _ in range(2)]
    release = asyncio.Event()

    @activity
    async def slow(ctx: WorkflowContext) -> str:
        calls.append("slow")
        await release.wait()
        return "slow"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        text = await slow(ctx)
        return text + await note(ctx, "note")

    with first.activate():
        running = asyncio.create_task(flow.start())
    await until(lambda: calls == ["slow"])
    stopping = asyncio.create_task(first.shutdown())
    await until(lambda: first.replay_engine is None)
    release.set()
    await stopping
    with pytest.raises(RuntimeError, match="EddaApp is shutting down") as caught:
        await running

    assert await result_of(second, caught.value.instance_id) == "slownote"  # type: ignore[attr-defined]
    assert calls == ["slow", "note"]


async def test_starts_of_two_apps_on_two_databases_land_in_the_right_one(apps: Apps, tmp_path: Path) -> None:
    here = await apps.start()
    there = await apps.start(db_url=f"sqlite:///{tmp_path}/other.db")

    async def start(app: EddaApp) -> str:
        with app.activate():
            return await noting.start(text="a")

    ids = await asyncio.gather(*(start(app) for app in (here, there) * 5))
    for index, instance_id in enumerate(ids):
        own, other = (here, there) if index % 2 == 0 else (there, here)
        assert (await instance(own, instance_id))["status"] == "completed"
        assert await other.storage.get_instance(instance_id) is None


async def test_with_two_databases_a_bare_start_asks_for_a_choice(apps: Apps, tmp_path: Path) -> None:
    app = await apps.start()
    await apps.start(db_url=f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(RuntimeError) as caught:
        await noting.start(text="a")
    assert str(caught.value) == "More than one EddaApp is initialized; use app.activate() to choose one"

    set_replay_engine(engine_of(app))
    try:
        await reached(app, await noting.start(text="a"))
    finally:
        set_replay_engine(None)


async def test_of_several_apps_on_one_database_the_first_one_runs_a_bare_start(apps: Apps) -> None:
    first = await apps.start("first")
    await apps.start("second")
    assert (await instance(first, await noting.start(text="a")))["owner_service"] == "first"


async def test_inside_a_run_a_start_belongs_to_the_app_of_the_run(apps: Apps, tmp_path: Path) -> None:
    await apps.start()
    there = await apps.start(db_url=f"sqlite:///{tmp_path}/other.db")

    @activity
    async def start_other(ctx: WorkflowContext) -> str:
        return await noting.start(text="inner")

    @workflow
    async def outer(ctx: WorkflowContext) -> str:
        return await start_other(ctx)

    with there.activate():
        outer_id = await outer.start()
    await reached(there, await result_of(there, outer_id))


async def test_activate_needs_an_initialised_app(apps: Apps) -> None:
    with pytest.raises(RuntimeError, match="not initialized"), apps.make().activate():
        pass


async def test_other_scopes_are_refused_without_initialising(tmp_path: Path) -> None:
    app = EddaApp("tests", f"sqlite:///{tmp_path}/edda.db")

    async def never(*_: Any) -> Any:
        raise AssertionError("no message is expected")

    with pytest.raises(NotImplementedError, match=r"^Unsupported scope type: websocket$"):
        await app({"type": "websocket"}, never, never)
    assert app.replay_engine is None


async def test_a_request_initialises_an_app_that_no_lifespan_did(apps: Apps) -> None:
    app = apps.make()
    headers = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}
    response = await request(app, "POST", "/", headers=headers)
    assert response.status == 202
    assert app.replay_engine is not None
