"""What goes through channels: payloads and metadata, as they are stored and as receivers see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from edda.codec.json import check_size, dumps, loads
from edda.codec.values import Encoded, ValueCodec
from edda.types import JSONObject

# So that a step id made of it, or a channel of one instance alone, still fits its column.
LONGEST_NAME = 200

_CODEC = ValueCodec()


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """A message as it is received; ``published_at`` is when it was published, in UTC."""

    id: str
    channel: str
    data: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    published_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event as ``wait_event`` returns it: its data and the attributes of a CloudEvent.

    A message that was no CloudEvent has the source ``"unknown"`` and its own id.
    """

    data: Any
    type: str
    source: str
    id: str
    time: str | None = None
    datacontenttype: str | None = None
    subject: str | None = None
    extensions: dict[str, Any] = field(default_factory=dict)


def check_channel(channel: object) -> str:
    """The name of a channel; ``TypeError`` or ``ValueError`` if it cannot be one."""
    if not isinstance(channel, str):
        raise TypeError(f"the name of a channel is a str, not {channel!r}")
    if not 0 < len(channel) <= LONGEST_NAME:
        raise ValueError(
            f"the name of a channel has 1 to {LONGEST_NAME} characters, not {len(channel)}: {channel[:50]!r}"
        )
    return channel


class StoredPayload(NamedTuple):
    """A payload and its metadata as JSON texts; ``types`` says what plain JSON has lost."""

    data: str
    types: str | None
    metadata: str


def dump_payload(data: Any, metadata: dict[str, Any] | None, *, limit: int, **added: str) -> StoredPayload:
    """What a publisher gave, as it is stored; the caller's dict is not changed.

    A model is stored as its JSON form. ``added`` goes into the metadata unless it is
    there. Raises ``TypeError`` for what cannot be stored and
    :class:`~edda.exceptions.PayloadTooLargeError` for more than ``limit`` bytes.
    """
    if isinstance(data, BaseModel):
        data = data.model_dump(mode="json", by_alias=True)
    if metadata is not None and not isinstance(metadata, dict):
        raise TypeError(f"metadata is a dict, not {metadata!r}")
    encoded = _CODEC.dump(data, "data")
    text = dumps(encoded.json)
    described = dumps(_CODEC.dump(added | (metadata or {}), "metadata").json)
    check_size(text, "the payload of a message", limit=limit)
    check_size(described, "the metadata of a message", limit=limit)
    return StoredPayload(text, dumps(encoded.types) if encoded.types else None, described)


def load_message(event_data: str | JSONObject) -> ChannelMessage:
    """The message in the row that recorded it."""
    fields = cast("dict[str, Any]", loads(event_data) if isinstance(event_data, str) else event_data)
    return ChannelMessage(
        id=fields["id"],
        channel=fields["channel"],
        data=_CODEC.load(Encoded(fields["data"], fields.get("types"))),
        metadata=fields["metadata"],
        published_at=datetime.fromisoformat(fields["published_at"]),
    )


def as_event(message: ChannelMessage, event_type: str, data: Any) -> ReceivedEvent:
    """The message as an event of the awaited type, with this data."""
    metadata = message.metadata
    return ReceivedEvent(
        data=data,
        type=event_type,
        source=metadata.get("ce_source") or "unknown",
        id=metadata.get("ce_id") or message.id,
        time=metadata.get("ce_time"),
        datacontenttype=metadata.get("ce_datacontenttype"),
        subject=metadata.get("ce_subject"),
        extensions=metadata.get("ce_extensions") or {},
    )
