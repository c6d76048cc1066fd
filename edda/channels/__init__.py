"""Time and messages: durable timers, channels, events."""

from __future__ import annotations

from edda.channels.events import wait_event
from edda.channels.messages import ChannelMessage, ReceivedEvent
from edda.channels.outgoing import send_event
from edda.channels.publishing import publish, send_to
from edda.channels.receiving import receive
from edda.channels.subscribing import subscribe, unsubscribe
from edda.channels.timers import sleep, sleep_until, wait_timer, wait_until
from edda.exceptions import ChannelModeConflictError, EventTimeoutError

__all__ = [
    "ChannelMessage",
    "ChannelModeConflictError",
    "EventTimeoutError",
    "ReceivedEvent",
    "publish",
    "receive",
    "send_event",
    "send_to",
    "sleep",
    "sleep_until",
    "subscribe",
    "unsubscribe",
    "wait_event",
    "wait_timer",
    "wait_until",
]
