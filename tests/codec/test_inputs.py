from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from edda.codec.binding import FunctionCodec
from edda.codec.inputs import Input, encode_input
from edda.exceptions import PayloadTooLargeError


async def remind(ctx: Any, due: date, text: str = "") -> None: ...


CODEC = FunctionCodec(remind)


def test_arguments_are_stored_as_json_and_given_as_their_types() -> None:
    given = encode_input(CODEC, {"due": "2024-02-29", "more": (1,)}, "remind", limit=100)
    assert given == Input('{"due":"2024-02-29","more":[1]}', '{"/more":"tuple"}', {"due": date(2024, 2, 29)})


@pytest.mark.parametrize("arguments", [{}, {"due": date(2024, 2, 29), "text": object()}, {"text": "x"}])
def test_what_the_function_would_not_take_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        encode_input(CODEC, arguments, "remind", limit=100)


def test_an_input_over_the_limit_is_refused_by_name() -> None:
    with pytest.raises(PayloadTooLargeError, match="the input of 'remind'"):
        encode_input(CODEC, {"due": date(2024, 2, 29), "text": "x" * 100}, "remind", limit=100)
