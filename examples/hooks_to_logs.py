r"""Every start, step, retry and end as one line of JSON: hooks that write to the log.

Run it from the top of the repository::

    uvicorn --app-dir examples hooks_to_logs:app

Start a workflow whose step fails once::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/me", "type": "fetch", "data": {"page": "news"}}'

The server prints::

    {"what": "started", "workflow": "fetch", "input": {"page": "news"}}
    {"what": "retried", "step": "download:1", "attempt": 1, "error": "no answer"}
    {"what": "recorded", "step": "download:1", "replayed": false}
    {"what": "completed", "workflow": "fetch", "result": "the news"}

A hook is told after the commit; one that raises is logged and changes nothing. A class with some of the
methods is enough. After a crash a line may be missing or come twice: count steps in the database, not here.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from edda import EddaApp, RetryPolicy, WorkflowContext, activity, workflow

logger = logging.getLogger("workflows")
logger.setLevel(logging.INFO)
logger.addHandler(logging.StreamHandler(sys.stdout))


class LogHooks:
    async def on_workflow_start(self, instance_id: str, workflow_name: str, input_data: Any) -> None:
        log("started", workflow=workflow_name, input=input_data)

    async def on_workflow_complete(self, instance_id: str, workflow_name: str, result: Any) -> None:
        log("completed", workflow=workflow_name, result=result)

    async def on_workflow_failed(self, instance_id: str, workflow_name: str, error: Exception) -> None:
        log("failed", workflow=workflow_name, error=str(error))

    async def on_activity_retry(
        self,
        instance_id: str,
        activity_id: str,
        activity_name: str,
        error: Exception,
        attempt: int,
        delay: float,
    ) -> None:
        log("retried", step=activity_id, attempt=attempt, error=str(error))

    async def on_activity_complete(
        self, instance_id: str, activity_id: str, activity_name: str, result: Any, cache_hit: bool
    ) -> None:
        log("recorded", step=activity_id, replayed=cache_hit)


def log(what: str, **fields: Any) -> None:
    logger.info("%s", json.dumps({"what": what, **fields}, default=str))


broken = {"news"}


@activity(retry_policy=RetryPolicy(initial_interval=0.1))
async def download(ctx: WorkflowContext, page: str) -> str:
    """Has no answer at the first attempt."""
    if page in broken:
        broken.remove(page)
        raise OSError("no answer")
    return f"the {page}"


@workflow(event_handler=True)
async def fetch(ctx: WorkflowContext, page: str) -> str:
    return await download(ctx, page)


app = EddaApp("pages", "sqlite:///hooks_to_logs.db", hooks=LogHooks())
