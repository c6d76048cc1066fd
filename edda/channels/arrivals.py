"""An accepted event as a message: on the channel that is named like its type."""

from __future__ import annotations

import uuid

from edda.channels.messages import check_channel, dump_payload
from edda.clock import now
from edda.cloudevent import Event
from edda.codec.json import DEFAULT_MAX_BYTES
from edda.storage.message_writes import MessagePublished
from edda.types import JSONObject

_SHOWN = ("type", "source", "id", "time", "datacontenttype", "subject")
_INNER = frozenset({*_SHOWN, "specversion", "data", "data_base64"})
# Extension attribute: the one instance that is to see the event.
_TARGET = "eddainstanceid"


def message_of(event: Event) -> MessagePublished:
    """The message that waiting workflows get; ValueError if the type cannot name a channel."""
    channel = check_channel(event["type"])
    described: JSONObject = {f"ce_{name}": event.get(name) for name in _SHOWN}
    extensions: JSONObject = {name: value for name, value in event.items() if name not in _INNER}
    if extensions:
        described["ce_extensions"] = extensions
    stored = dump_payload(event.data, described, limit=DEFAULT_MAX_BYTES, published_at=now().isoformat())
    target = event.get(_TARGET)
    return MessagePublished(
        str(uuid.uuid4()),
        channel,
        stored.data,
        stored.metadata,
        types=stored.types,
        target=None if target is None else str(target),
    )
