"""Ends the processes of the tests when the tests themselves are killed.

Fixtures stop what they start. That does not help when pytest dies from SIGKILL,
so one small process waits for the end of its standard input, which comes with
every kind of death, and then kills the groups and removes the directories that
were left to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


class Reaper:
    """Keeps the list of what must not outlive the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-E", "-S", __file__],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def watch_group(self, group: int) -> None:
        """Kill this process group when the tests die."""
        self._tell(f"+group {group}")

    def forget_group(self, group: int) -> None:
        """The group has ended; its number may soon belong to somebody else."""
        self._tell(f"-group {group}")

    def watch_directory(self, directory: Path) -> None:
        """Remove this directory when the tests end, in whatever way."""
        self._tell(f"+directory {directory}")

    def close(self) -> None:
        """Reap now what is left, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


def main(lines: Iterable[str]) -> None:
    """Follow the orders until there are no more, then reap."""
    groups: set[int] = set()
    directories: list[str] = []
    for line in lines:
        order, _, subject = line.rstrip("\n").partition(" ")
        if order == "+group":
            groups.add(int(subject))
        elif order == "-group":
            groups.discard(int(subject))
        else:
            directories.append(subject)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.stdin)
