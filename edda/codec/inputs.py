"""The input of an instance: checked against its function before anything happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edda.codec.binding import FunctionCodec
from edda.codec.json import check_size, dumps


@dataclass(frozen=True, slots=True)
class Input:
    """Keyword arguments as they are stored, and as the function is going to get them."""

    text: str
    types: str | None
    arguments: dict[str, Any]


def encode_input(codec: FunctionCodec, arguments: Mapping[str, Any], name: str, *, limit: int) -> Input:
    """The arguments of the workflow ``name`` as its input.

    Raises ``TypeError`` or pydantic's ``ValidationError`` for arguments that do not fit
    the function, and :class:`~edda.exceptions.PayloadTooLargeError` for more bytes than
    ``limit``.

    >>> async def remind(ctx, text: str) -> None: ...
    >>> encode_input(FunctionCodec(remind), {"text": "pay", "urgent": True}, "remind", limit=100)
    Input(text='{"text":"pay","urgent":true}', types=None, arguments={'text': 'pay'})
    """
    stored = codec.dump_kwargs(arguments)
    loaded = codec.load_kwargs(stored)
    text = dumps(stored.json)
    check_size(text, f"the input of {name!r}", limit=limit)
    return Input(text, dumps(stored.types) if stored.types else None, loaded)
