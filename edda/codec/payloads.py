"""Payloads of events: any JSON value, model or other value that has a JSON form, or bytes."""

from __future__ import annotations

import base64
from typing import Any

from edda.codec.json import dumps, loads
from edda.codec.values import ValueCodec
from edda.types import DataForm, JSONValue

_CODEC = ValueCodec()


def plain_payload(value: Any, where: str) -> JSONValue | bytes:
    """The value as it leaves the process: JSON, or bytes as they are.

    Raises TypeError naming the place of what has no JSON form. NaN and the infinities
    included: other systems could not read them.

    >>> from datetime import date
    >>> plain_payload({"due": date(2024, 2, 29)}, "event_data")
    {'due': '2024-02-29'}
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return _CODEC.dump(value, where).json


def dump_payload(plain: JSONValue | bytes) -> tuple[str, DataForm]:
    r"""The payload as text for a column, and how it stands there.

    >>> dump_payload(b"\x00\x01")
    ('AAE=', <DataForm.BASE64: 'base64'>)
    """
    if isinstance(plain, bytes):
        return base64.b64encode(plain).decode(), DataForm.BASE64
    return dumps(plain), DataForm.JSON


def load_payload(text: str, form: DataForm) -> Any:
    r"""The payload that was dumped.

    >>> load_payload("AAE=", DataForm.BASE64)
    b'\x00\x01'
    """
    return base64.b64decode(text) if form is DataForm.BASE64 else loads(text)
