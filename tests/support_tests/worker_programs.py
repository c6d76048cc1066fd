"""What the workers of test_workers run; each ends by itself only where its name says so."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.reaper import Reaper


def report(*arguments: str) -> None:
    print(os.getpid(), *arguments, os.environ["EDDA_WORKER_TEST"])


async def report_async(text: str) -> None:
    print(text)


def count() -> None:
    for number in itertools.count(1):
        print("step", number)
        time.sleep(0.02)


def fail() -> None:
    raise ValueError("on purpose")


def start_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print("child", child.pid)
    child.wait()


async def wait_for_terminate() -> None:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    print("ready")
    await terminated.wait()
    print("in order")


def start_with_reaper(directory: str) -> None:
    """Like a test session: what it starts is left to the reaper."""
    reaper = Reaper()
    worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    reaper.watch_group(worker.pid)
    reaper.watch_directory(Path(directory))
    print("worker", worker.pid)
    worker.wait()
