"""Real processes for tests: started, waited for, frozen and killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.eventually import PATIENCE
from tests.support.reaper import Reaper

PROJECT = Path(__file__).resolve().parents[2]


class Workers:
    """Starts worker processes and sees to it that none outlives the test."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._started: list[Worker] = []

    async def start(
        self, target: str | Path, *arguments: object, env: Mapping[str, str] | None = None
    ) -> Worker:
        """Start a script (a path) or a function (``"package.module:function"``) in a new process.

        Arguments arrive as texts: in ``sys.argv`` of a script, as positional arguments
        of a function. A coroutine function is run to its end.
        """
        program = [str(target)] if isinstance(target, Path) else ["-m", "tests.support.run_function", target]
        return await self.start_command(
            sys.executable, "-u", *program, *(str(argument) for argument in arguments), env=env
        )

    async def start_command(self, *command: str, env: Mapping[str, str] | None = None) -> Worker:
        """Start any command, for instance ``sys.executable, "-m", "uvicorn", ...``."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # One signal then reaches the processes that the worker itself starts.
            start_new_session=True,
        )
        self._reaper.watch_group(process.pid)
        worker = Worker(process, self._reaper)
        self._started.append(worker)
        return worker

    async def close(self) -> None:
        """Kill every worker that still runs."""
        for worker in self._started:
            await worker.kill()


class Worker:
    """One process, its lines of output, and the signals sent to it."""

    def __init__(self, process: asyncio.subprocess.Process, reaper: Reaper) -> None:
        self._process = process
        self._reaper = reaper
        self._lines: list[str] = []
        self._read_up_to = 0
        self._progress = asyncio.Condition()
        self._output_ended = False
        self._collector = asyncio.create_task(self._collect())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything written so far to standard output and standard error."""
        return "\n".join(self._lines)

    @property
    def lines(self) -> list[str]:
        """The lines written so far."""
        return list(self._lines)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def wait_for_line(self, pattern: str, *, within: float = PATIENCE) -> re.Match[str]:
        """Wait for the next line that contains the regular expression; lines before it count as read."""
        try:
            async with asyncio.timeout(within):
                return await self._next_match(re.compile(pattern))
        except TimeoutError:
            raise AssertionError(
                f"no line with {pattern!r} within {within} s; output:\n{self.output}"
            ) from None

    async def wait(self, *, within: float = PATIENCE) -> int:
        """Wait until the process has ended and all its output is read; returns its exit code."""
        try:
            async with asyncio.timeout(within):
                code = await self._process.wait()
                await asyncio.shield(self._collector)
        except TimeoutError:
            raise AssertionError(f"still running after {within} s; output:\n{self.output}") from None
        self._reaper.forget_group(self.pid)
        return code

    async def kill(self) -> None:
        """SIGKILL the process and those it started, and wait for the end."""
        # The leader may be gone while processes it started live on in its group.
        self._signal(signal.SIGKILL)
        await self.wait()

    async def terminate(self) -> int:
        """Ask the process to end with SIGTERM, and wait until it has; returns its exit code."""
        self.ask_to_end()
        return await self.wait()

    def ask_to_end(self) -> None:
        """SIGTERM, and no waiting."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: the process stands still until `thaw`, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: the process goes on as if nothing had been."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def _next_match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        async with self._progress:
            while True:
                while self._read_up_to < len(self._lines):
                    line = self._lines[self._read_up_to]
                    self._read_up_to += 1
                    if match := pattern.search(line):
                        return match
                if self._output_ended:
                    raise AssertionError(
                        f"ended without a line with {pattern.pattern!r}; output:\n{self.output}"
                    )
                await self._progress.wait()

    async def _collect(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            async with self._progress:
                self._lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._progress.notify_all()
        async with self._progress:
            self._output_ended = True
            self._progress.notify_all()
