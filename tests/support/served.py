"""An application under uvicorn in a real process, and what its SQLite file holds."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.workers import Worker, Workers


async def serve(
    workers: Workers, target: str, *, app_dir: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> tuple[Worker, int]:
    """Start ``module:app`` of a folder on a free port, in this working directory; returns the port."""
    server = await workers.start_command(
        *("env", "-C", str(cwd)),
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(app_dir), "--port", "0", target),
        env=env,
    )
    line = await server.wait_for_line(r"running on http://127\.0\.0\.1:(\d+)")
    return server, int(line[1])


def completed(database: Path, workflow_name: str) -> dict[str, Any]:
    """The results of the instances of a workflow by their ids; fails unless all have completed."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT instance_id, status, output_data FROM workflow_instances WHERE workflow_name = ?",
            (workflow_name,),
        ).fetchall()
    assert all(status == "completed" for _, status, _ in rows), rows
    return {instance_id: json.loads(output)["result"] for instance_id, _, output in rows}


def steps(database: Path, instance_id: str) -> list[dict[str, Any]]:
    """The data of the recorded steps of an instance, in the order of recording."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT event_data FROM workflow_history WHERE instance_id = ? ORDER BY id", (instance_id,)
        ).fetchall()
    return [json.loads(data) for (data,) in rows]
