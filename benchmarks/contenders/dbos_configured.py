"""How DBOS is configured wherever it is measured; runs in an environment of its own."""

# mypy: disable-error-code="import-not-found"
# (dbos is found in an environment of its own.)

from __future__ import annotations

from dbos import DBOS


def configure(db_url: str) -> None:
    """Its defaults, but for more connections and less logging."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": db_url,
            "sys_db_pool_size": 40,
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
