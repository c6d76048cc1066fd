"""What a program pays for ``import edda``: nothing that only some apps use."""

from __future__ import annotations

import subprocess
import sys

LOADED = "import sys; {statement}; print(*sys.modules)"
# Each of them takes longer than a dozen of our own modules.
HEAVY = {
    "a2wsgi": "only behind a WSGI server",
    "aiomysql": "a driver",
    "aiosqlite": "a driver",
    "alembic": "only when the schema is not current",
    "asyncpg": "a driver",
    "httpx2": "only where events are sent",
    "nats": "only for that broker",
    "psutil": "only as far as it is installed",
}


def loaded(statement: str) -> set[str]:
    command = [sys.executable, "-c", LOADED.format(statement=statement)]
    return set(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split())


def test_importing_the_library_imports_nothing_that_only_some_apps_use() -> None:
    assert set(HEAVY) & loaded("import edda") == set()


def test_an_app_that_sends_no_events_imports_no_http_client() -> None:
    modules = loaded("import edda; edda.EddaApp(service_name='x', db_url='sqlite:///x.db')")
    assert "httpx2" not in modules
