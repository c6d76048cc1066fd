"""What commits tell other processes: the news of a batch as a short text, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection

from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.news import FLAGS, News
from edda.storage.writes import Announced

# PostgreSQL takes less than 8000 bytes.
LONGEST_PAYLOAD = 7900
_DUE = "due"
_SENDER, _TRUE, _CHANNELS, _WOKEN = "from", "news", "channels", "woken"


def announce(
    connection: Connection, dialect: Dialect, writes: Sequence[Announced], attempt: Attempt
) -> list[None]:
    """Send these payloads with the commit."""
    for payload in dict.fromkeys(write.payload for write in writes):
        dialect.notify(connection, payload)
    return [None] * len(writes)


def encode(sender: str, news: News) -> str:
    """The news as text; what is too long for a notification becomes news of everything."""
    payload = _encode(sender, news)
    if len(payload) > LONGEST_PAYLOAD:
        payload = _encode(sender, News.of_everything())
    return payload


def _encode(sender: str, news: News) -> str:
    said = [flag for flag in FLAGS if getattr(news, flag)]
    content: dict[str, Any] = {_SENDER: sender, _TRUE: said}
    if news.woken and not news.due:
        # To those who know nothing of this, and to those who have none of them, something is due.
        content[_WOKEN] = sorted(news.woken)
        said.append(_DUE)
    if news.channels:
        content[_CHANNELS] = sorted(news.channels)
    # In ASCII, which every encoding of a database has.
    return json.dumps(content, separators=(",", ":"))


def decode(payload: str) -> tuple[str, News] | None:
    """Sender and news, or None for a text that is none of ours: anybody can notify."""
    try:
        content = from_json(payload)
    except ValueError:
        return None
    if not isinstance(content, Mapping) or not isinstance(sender := content.get(_SENDER), str):
        return None
    said, channels, woken = (_texts(content.get(key)) for key in (_TRUE, _CHANNELS, _WOKEN))
    if woken:
        said.discard(_DUE)
    return sender, News(**{flag: flag in said for flag in FLAGS}, channels=channels, woken=woken)


def _texts(value: object) -> set[str]:
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
