from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.reaper import Reaper
from tests.support.workers import Worker, Workers

HERE = "tests.support_tests.worker_programs"


async def test_a_function_runs_in_a_process_of_its_own_with_its_arguments(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:report", "first", 2, env={"EDDA_WORKER_TEST": "seen"})
    assert await worker.wait() == 0
    assert worker.lines == [f"{worker.pid} first 2 seen"]
    assert worker.pid != os.getpid()


async def test_a_coroutine_function_is_run_to_its_end(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:report_async", "done")
    assert await worker.wait() == 0
    assert worker.output == "done"


async def test_a_script_runs_with_its_arguments(workers: Workers, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.argv[1:])\nsys.exit(3)\n")
    worker = await workers.start(script, "a", 1)
    assert await worker.wait() == 3
    assert worker.output == "['a', '1']"


async def test_a_line_is_a_signal_and_is_read_once(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:count")
    first = await worker.wait_for_line(r"step (\d+)")
    second = await worker.wait_for_line(r"step (\d+)")
    assert (first[1], second[1]) == ("1", "2")


async def test_a_line_that_does_not_come_in_time_fails_with_the_output(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:count")
    await worker.wait_for_line("step 1")
    with pytest.raises(AssertionError, match=r"no line with 'never'(.|\n)*step 1"):
        await worker.wait_for_line("never", within=0.2)


async def test_a_process_that_ends_without_the_line_fails_at_once_with_its_error(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:fail")
    with pytest.raises(AssertionError, match=r"ended without a line(.|\n)*ValueError: on purpose"):
        await worker.wait_for_line("never")
    assert await worker.wait() == 1


async def test_a_killed_worker_takes_the_processes_it_started_with_it(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:start_child")
    child = int((await worker.wait_for_line(r"child (\d+)"))[1])
    await worker.kill()
    assert await worker.wait() == -9
    await eventually(lambda: assert_gone(child))


async def test_a_frozen_worker_stands_still_until_it_is_thawed(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:count")
    await worker.wait_for_line("step 1")
    worker.freeze()
    await eventually(lambda: assert_status(worker, psutil.STATUS_STOPPED))
    worker.thaw()
    await eventually(lambda: assert_not_stopped(worker))
    await worker.wait_for_line("step")


async def test_terminating_gives_the_worker_the_time_to_end_in_order(workers: Workers) -> None:
    worker = await workers.start(f"{HERE}:wait_for_terminate")
    await worker.wait_for_line("ready")
    assert await worker.terminate() == 0
    assert worker.lines == ["ready", "in order"]


async def test_no_worker_outlives_the_fixture(reaper: Reaper) -> None:
    workers = Workers(reaper)
    worker = await workers.start(f"{HERE}:count")
    frozen = await workers.start(f"{HERE}:count")
    frozen.freeze()
    await workers.close()
    assert not worker.is_running
    assert not frozen.is_running


async def test_workers_and_directories_are_reaped_when_the_tests_are_killed(
    workers: Workers, tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    tests = await workers.start(f"{HERE}:start_with_reaper", directory)
    worker = int((await tests.wait_for_line(r"worker (\d+)"))[1])
    await tests.kill()
    await eventually(lambda: assert_gone(worker))
    await eventually(lambda: assert_missing(directory))


def assert_gone(pid: int) -> None:
    try:
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return


def assert_missing(path: Path) -> None:
    assert not path.exists()


def assert_status(worker: Worker, status: str) -> None:
    assert psutil.Process(worker.pid).status() == status


def assert_not_stopped(worker: Worker) -> None:
    assert psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED
