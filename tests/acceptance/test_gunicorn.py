"""Several processes of one app under a pre-forking server."""

from __future__ import annotations

import signal
import sys

import psutil
import pytest

from tests.support.cluster import PROGRAMS, Cluster, post_event
from tests.support.eventually import eventually
from tests.support.workers import Worker

UVICORN = ("--worker-class", "uvicorn_worker.UvicornWorker", f"{PROGRAMS}:make_app()")
WSGI = (f"{PROGRAMS}:make_wsgi_app()",)


async def gunicorn(cluster: Cluster, *arguments: str, ready: str) -> tuple[Worker, int]:
    """A gunicorn with two worker processes, both of them ready, and its port."""
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", *arguments]
    server, line = await cluster.run(*command, line=r"Listening at: http://127\.0\.0\.1:(\d+)")
    for _ in range(2):
        await server.wait_for_line(ready)
    return server, int(line[1])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_killed_process_of_a_pre_forking_server_loses_no_event(cluster: Cluster) -> None:
    server, port = await gunicorn(cluster, *UVICORN, ready="Application startup complete")
    master = psutil.Process(server.pid)
    first, second = (child.pid for child in master.children())
    for number in range(10):
        assert await post_event(port, "order_placed", str(number), {"seconds": 0.05}) == 202
    psutil.Process(first).send_signal(signal.SIGKILL)

    def check_replaced() -> None:
        pids = {child.pid for child in master.children()}
        assert len(pids) == 2
        assert pids >= {second}
        assert first not in pids

    await eventually(check_replaced)
    await cluster.expire_leases(first)
    await server.wait_for_line("Application startup complete")
    for number in range(20):  # half of them are not new
        assert await post_event(port, "order_placed", str(number), {"seconds": 0.05}) == 202
    await cluster.all_end(20)
    await cluster.check_steps(3)
    assert {effect.pid for effect in cluster.effects()} & {first, second}
    assert await server.terminate() == 0
    assert {row["lease_owner"] for row in (await cluster.instances()).values()} == {None}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("arguments", [[*WSGI], ["--preload", *WSGI]], ids=["", "preload"])
async def test_each_process_of_a_wsgi_server_is_a_worker(
    cluster: Cluster, arguments: tuple[str, ...]
) -> None:
    server, port = await gunicorn(cluster, *arguments, ready="Booting worker with pid")
    children = {child.pid for child in psutil.Process(server.pid).children()}
    sent = 0

    async def post_until_both_have_worked() -> None:
        nonlocal sent
        assert await post_event(port, "order_placed", str(sent), {"seconds": 0.01}) == 202
        sent += 1
        assert {effect.pid for effect in cluster.effects()} == children

    await eventually(post_until_both_have_worked)
    await cluster.all_end(sent)
    await cluster.check_steps(3)
    assert await server.terminate() == 0
    assert {row["lease_owner"] for row in (await cluster.instances()).values()} == {None}
