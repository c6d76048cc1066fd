"""Durable execution for async Python: workflows that survive crashes, kept in your own database."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from edda.activity import activity
from edda.app import EddaApp
from edda.channels import (
    ChannelMessage,
    EventTimeoutError,
    ReceivedEvent,
    publish,
    receive,
    send_event,
    send_to,
    sleep,
    sleep_until,
    subscribe,
    unsubscribe,
    wait_event,
    wait_timer,
    wait_until,
)
from edda.compensation import compensation, on_failure, pivot, register_compensation
from edda.concurrency import gather
from edda.context import WorkflowContext
from edda.endpoints.authentication import bearer_token, hmac_signature
from edda.exceptions import RetryExhaustedError, TerminalError
from edda.hooks import HooksBase, WorkflowHooks
from edda.outbox import OutboxRelayer, send_event_transactional
from edda.races import RaceResult, race
from edda.retry import RetryPolicy
from edda.workflow import workflow
from edda.wsgi import create_wsgi_app

__all__ = [
    "ChannelMessage",
    "EddaApp",
    "EventTimeoutError",
    "HooksBase",
    "OutboxRelayer",
    "RaceResult",
    "ReceivedEvent",
    "RetryExhaustedError",
    "RetryPolicy",
    "TerminalError",
    "WorkflowContext",
    "WorkflowHooks",
    "activity",
    "bearer_token",
    "compensation",
    "create_wsgi_app",
    "gather",
    "hmac_signature",
    "on_failure",
    "pivot",
    "publish",
    "race",
    "receive",
    "register_compensation",
    "send_event",
    "send_event_transactional",
    "send_to",
    "sleep",
    "sleep_until",
    "subscribe",
    "unsubscribe",
    "wait_event",
    "wait_timer",
    "wait_until",
    "workflow",
]

try:
    __version__ = version("edda-durable")
except PackageNotFoundError:
    __version__ = "0.0.0"
