"""The interpreters of the contenders: the peers get a virtual environment each."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cells import Contender
from benchmarks.measurement import HERE

ENVIRONMENTS = HERE / ".envs"
INSTALL_LIMIT = 600.0
# The distribution that is measured, then what it needs to reach the databases.
REQUIREMENTS = {
    Contender.EDDA_FRAMEWORK: ("edda-framework", "asyncpg", "aiomysql", "cryptography", "uvicorn"),
    Contender.DBOS: ("dbos",),
}
VERSIONS_OF = {
    Contender.OURS: ("sqlalchemy", "asyncpg", "aiomysql", "uvicorn", "httpx2"),
    Contender.FLOOR: ("sqlalchemy", "asyncpg", "aiomysql", "uvicorn", "httpx2"),
    Contender.EDDA_FRAMEWORK: ("edda-framework", "sqlalchemy", "asyncpg", "aiomysql", "uvicorn"),
    Contender.DBOS: ("dbos", "sqlalchemy", "psycopg"),
}
ASK_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter with a contender in it, and the versions that it will measure."""

    python: Path
    versions: dict[str, str]


class NotInstalledError(Exception):
    """The peer cannot be measured here; the message says why."""


async def environment(contender: Contender, *, install: bool) -> Environment:
    """The interpreter of a contender; with ``install``, the peer is installed first if it is missing."""
    if contender not in REQUIREMENTS:
        python = Path(sys.executable)
        return Environment(python, await _versions(python, contender))
    folder = ENVIRONMENTS / contender.value
    python = folder / "bin" / "python"
    if not _finished(folder).exists():
        if not install:
            raise NotInstalledError("installing was switched off")
        await _install(folder, python, REQUIREMENTS[contender])
    return Environment(python, await _versions(python, contender))


def _finished(folder: Path) -> Path:
    """Written last, so that an interrupted installation is not taken for a whole one."""
    return folder / ".installed"


async def _install(folder: Path, python: Path, requirements: tuple[str, ...]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        await _run(sys.executable, "-m", "venv", str(folder))
        await _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
    except NotInstalledError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _finished(folder).touch()


async def _versions(python: Path, contender: Contender) -> dict[str, str]:
    output = await _run(str(python), "-c", ASK_VERSIONS, *VERSIONS_OF[contender])
    return dict(json.loads(output))


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, complaints = await asyncio.wait_for(process.communicate(), INSTALL_LIMIT)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotInstalledError(f"not installed within {INSTALL_LIMIT:.0f} s") from None
    if process.returncode != 0:
        raise NotInstalledError(last_error(complaints.decode(errors="replace")))
    return output.decode()


def last_error(complaints: str) -> str:
    """The line that tells most: pip's last error, else the last line."""
    lines = [line.strip() for line in complaints.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return ([*lines, *errors] or ["no reason given"])[-1].removeprefix("ERROR: ")[:200]
