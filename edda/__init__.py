"""Durable execution for async Python: workflows that survive crashes, kept in your own database."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from edda.activity import activity
from edda.app import EddaApp
from edda.channels import sleep, sleep_until, wait_timer, wait_until
from edda.concurrency import gather
from edda.context import WorkflowContext
from edda.exceptions import RetryExhaustedError, TerminalError
from edda.hooks import HooksBase, WorkflowHooks
from edda.races import RaceResult, race
from edda.retry import RetryPolicy
from edda.workflow import workflow

__all__ = [
    "EddaApp",
    "HooksBase",
    "RaceResult",
    "RetryExhaustedError",
    "RetryPolicy",
    "TerminalError",
    "WorkflowContext",
    "WorkflowHooks",
    "activity",
    "gather",
    "race",
    "sleep",
    "sleep_until",
    "wait_timer",
    "wait_until",
    "workflow",
]

try:
    __version__ = version("edda-durable")
except PackageNotFoundError:
    __version__ = "0.0.0"
